//! The files beside the shards: the manifest, the lock that keeps a second process out, and the mark of a clean end.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use ragstone_core::{Error, ErrorCode, IndexSpec, Result};
use serde::{Deserialize, Serialize};

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "lock";
const CLEAN: &str = "clean";
/// Version of everything on disk that this crate decides: placement, payload, analysers.
const FORMAT: u32 = 1;

/// What an index was made with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    shards: Vec<String>,
    dimension: usize,
    model_revision: String,
}

/// Takes the lock of the directory, which lasts as long as the file is open and ends with the process.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    fs::create_dir_all(directory).map_err(|error| io(directory, error))?;
    let path = directory.join(LOCK);
    let options = File::options().write(true).create(true).truncate(false).open(&path);
    let file = options.map_err(|error| io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::conflict(format!(
            "the vector index in {} is in use by another process: stop it, or choose another path",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io(&path, error)),
    }
}

/// Compares the directory's manifest with what is asked for. `false`: there is none yet.
pub(crate) fn check(directory: &Path, shards: &[String], spec: &IndexSpec) -> Result<bool> {
    let path = directory.join(MANIFEST);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(&path, error)),
    };
    let found: Manifest = serde_json::from_str(&text)
        .map_err(|error| Error::internal(format!("{} is not readable", path.display())).with_source(error))?;
    let wanted = manifest(shards, spec);
    let difference = if found.format != wanted.format {
        format!("has format {}, this version writes {FORMAT}", found.format)
    } else if found.dimension != wanted.dimension {
        format!("holds vectors of dimension {}, the embedding model makes {}", found.dimension, wanted.dimension)
    } else if found.model_revision != wanted.model_revision {
        format!("was made with model revision {}, now it is {}", found.model_revision, wanted.model_revision)
    } else if found.shards != wanted.shards {
        let remedy = "set shards to the old number, or begin with a new data directory";
        let (old, new) = (found.shards.len(), wanted.shards.len());
        return Err(Error::conflict(format!(
            "the vector index in {} has {old} shards, {new} are configured: {remedy}",
            directory.display()
        )));
    } else {
        return Ok(true);
    };
    Err(Error::conflict(format!(
        "the vector index in {} {difference}: configure what it was made with, or begin with a new data directory and \
         ingest the documents again",
        directory.display()
    )))
}

/// Writes the manifest, all of it or nothing.
pub(crate) fn write(directory: &Path, shards: &[String], spec: &IndexSpec) -> Result<()> {
    let text = serde_json::to_vec_pretty(&manifest(shards, spec))
        .map_err(|error| Error::internal("the manifest cannot be written").with_source(error))?;
    let path = directory.join(MANIFEST);
    let temporary = path.with_extension("json.tmp");
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|error| io(&path, error))?;
    sync_directory(directory)
}

/// Marks that everything was flushed and closed.
pub(crate) fn mark_clean(directory: &Path) -> Result<()> {
    let path = directory.join(CLEAN);
    File::create(&path).and_then(|file| file.sync_all()).map_err(|error| io(&path, error))?;
    sync_directory(directory)
}

/// Takes that mark away; whether it was there.
pub(crate) fn take_clean_mark(directory: &Path) -> Result<bool> {
    let path = directory.join(CLEAN);
    match fs::remove_file(&path) {
        Ok(()) => sync_directory(directory).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(&path, error)),
    }
}

fn manifest(shards: &[String], spec: &IndexSpec) -> Manifest {
    Manifest {
        format: FORMAT,
        shards: shards.to_vec(),
        dimension: spec.dimension,
        model_revision: spec.revision.clone(),
    }
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| io(directory, error))
}

fn io(path: &Path, error: std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorCode::StorageFull,
        _ => ErrorCode::Unavailable,
    };
    Error::new(code, format!("cannot use {}", path.display())).with_source(error)
}
