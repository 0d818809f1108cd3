//! The directory of all indexes: which there are, which one serves, and what is left of removed ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ragstone_core::{Error, IndexName, IndexSpec, Result};

use crate::edge::legacy::Legacy;
use crate::edge::manifest::{self, MANIFEST, Manifest};
use crate::edge::{EdgeConfig, EdgeStore, files};

/// The file that names the index which serves.
const SERVING: &str = "serving";
/// How the name of a directory begins that is being removed; no index has such a name.
const REMOVED: &str = ".removed-";
/// Names that files have, for good or while they are written.
const RESERVED: [&str; 6] = [files::LOCK, SERVING, MANIFEST, manifest::CLEAN, "serving.tmp", "manifest.json.tmp"];
/// An index that is there.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// It serves.
    Open(Arc<EdgeStore>),
    /// It could not be opened; the others serve all the same.
    Broken(Broken),
}

/// Why an index could not be opened.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// Where at least its manifest can be read.
    pub(crate) spec: Option<IndexSpec>,
    reason: Arc<Error>,
    pub(crate) tried: Instant,
}

impl Broken {
    fn new(spec: Option<IndexSpec>, name: &IndexName, reason: Error) -> Self {
        tracing::error!(index = %name, error = %reason.chain(), "an index cannot be opened");
        Self { spec, reason: Arc::new(reason), tried: Instant::now() }
    }

    /// What whoever asks for the index is told.
    pub(crate) fn error(&self, name: &IndexName) -> Error {
        Error::unavailable(format!("the index {name} cannot be opened: {}", self.reason.message))
            .with_source(self.reason.chain())
    }
}

/// Whether an index may have this name.
pub(crate) fn check_name(name: &IndexName, legacy: Option<&Legacy>) -> Result<()> {
    if RESERVED.contains(&name.as_str()) || legacy.is_some_and(|legacy| legacy.has_shard(name.as_str())) {
        return Err(Error::invalid(format!("'{name}' cannot be the name of an index")));
    }
    Ok(())
}

/// Nothing has this name.
pub(crate) fn missing(name: &IndexName) -> Error {
    Error::not_found(format!("there is no index {name}"))
}

/// Names of the indexes in the directory. What is left of removed ones goes.
pub(crate) fn indexes(config: &EdgeConfig) -> Result<Vec<IndexName>> {
    let path = &config.path;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| files::io(path, error))? {
        let entry = entry.map_err(|error| files::io(path, error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with(REMOVED) {
            files::remove_directory(&entry.path())?;
        } else if let Ok(name) = IndexName::new(name)
            && entry.path().join(MANIFEST).exists()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens the index of this name.
pub(crate) fn open(config: &EdgeConfig, name: &IndexName, lock: &Arc<std::fs::File>) -> Entry {
    let directory = config.path.join(name.as_str());
    let spec = match Manifest::read(&directory) {
        Ok(Some(manifest)) => manifest.spec,
        Ok(None) => return Entry::Broken(Broken::new(None, name, missing(name))),
        Err(error) => return Entry::Broken(Broken::new(None, name, error)),
    };
    match EdgeStore::open(directory, config, &spec, Arc::clone(lock)) {
        Ok(store) => Entry::Open(Arc::new(store)),
        Err(error) => Entry::Broken(Broken::new(Some(spec), name, error)),
    }
}

/// Which index serves, as the directory says.
pub(crate) fn serving(config: &EdgeConfig, indexes: &BTreeMap<IndexName, Entry>) -> Result<Option<IndexName>> {
    let path = config.path.join(SERVING);
    let Some(text) = files::read(&path)? else {
        return Ok(None);
    };
    let name = IndexName::new(text)
        .map_err(|error| Error::internal(format!("{} is not readable", path.display())).with_source(error))?;
    if indexes.contains_key(&name) {
        return Ok(Some(name));
    }
    tracing::error!(index = %name, "the index that is to serve is gone: the next one that is made serves");
    Ok(None)
}

/// Lets this index serve after the next start.
pub(crate) fn set_serving(config: &EdgeConfig, name: &IndexName) -> Result<()> {
    files::write(&config.path.join(SERVING), name.as_str().as_bytes())
}

/// Takes the index out of the directory in one step, so that half of it is never found. What remains to be removed.
pub(crate) fn set_aside(config: &EdgeConfig, name: &IndexName) -> Result<PathBuf> {
    let (directory, aside) = (config.path.join(name.as_str()), config.path.join(format!("{REMOVED}{name}")));
    files::remove_directory(&aside)?;
    if directory.exists() {
        files::rename(&directory, &aside)?;
    }
    Ok(aside)
}
