//! The files beside an index's shards: the manifest, and the mark of a clean end.

use std::path::Path;

use ragstone_core::{Error, IndexSpec, Result, Topology};
use serde::{Deserialize, Serialize};

use crate::edge::files;

/// The manifest's name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The mark's name.
pub(crate) const CLEAN: &str = "clean";
/// Version of everything on disk that this crate decides: placement, payload, analysers, files.
const FORMAT: u32 = 2;

/// What an index is, as its directory says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// What it holds.
    pub(crate) spec: IndexSpec,
    /// Its shards; each is a directory of that name.
    pub(crate) topology: Topology,
    /// Shards that nothing is placed on any more and whose directories are to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired: Vec<String>,
}

impl Manifest {
    /// An index with these shards.
    pub(crate) fn new(spec: IndexSpec, topology: Topology) -> Self {
        Self { format: FORMAT, spec, topology, retired: Vec::new() }
    }

    /// That of this directory; `None` where there is none.
    ///
    /// # Errors
    /// `Internal` when it is damaged; `Conflict` when another version wrote it.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        /// What every version of the manifest has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = directory.join(MANIFEST);
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        let damaged = |error| Error::internal(format!("{} is not readable", path.display())).with_source(error);
        let Format { format } = serde_json::from_str(&text).map_err(damaged)?;
        if format != FORMAT {
            return Err(Error::conflict(format!(
                "the vector index in {} has format {format}, this version reads {FORMAT}: use the version that made it, \
                 or remove the index and ingest the documents again",
                directory.display()
            )));
        }
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Writes it, all of it or nothing.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("the manifest cannot be written").with_source(error))?;
        files::write(&directory.join(MANIFEST), &text)
    }
}

/// Whether an index that holds `found` will do where `wanted` is asked for.
///
/// # Errors
/// `Conflict`, naming both.
pub(crate) fn check(found: &IndexSpec, wanted: &IndexSpec) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let what = |spec: &IndexSpec| {
        format!("model {} in revision {} with vectors of dimension {}", spec.model, spec.revision, spec.dimension)
    };
    Err(Error::conflict(format!(
        "the index {} was made for {}, and cannot hold those of {}: configure the model it was made with, or remove the \
         index and ingest the documents again",
        found.name,
        what(found),
        what(wanted)
    )))
}

/// Marks that everything was flushed and closed.
pub(crate) fn mark_clean(directory: &Path) -> Result<()> {
    files::write(&directory.join(CLEAN), b"")
}

/// Takes that mark away; whether it was there.
pub(crate) fn take_clean_mark(directory: &Path) -> Result<bool> {
    files::remove(&directory.join(CLEAN))
}
