//! Directories of the first layout, in which the shards of a single index lay beside the lock.
//!
//! That layout named the model of an index but not its revision. The rule: the first index that is made for a model of
//! that name, with vectors of that length, takes the shards over as they are. Until then they stay where they are.

use std::path::Path;

use ragstone_core::{Error, IndexSpec, Result, Topology};
use serde::{Deserialize, Serialize};

use crate::edge::files;
use crate::edge::manifest::{CLEAN, MANIFEST, Manifest};

/// The only format that had this layout.
const FORMAT: u32 = 1;

/// An index of the first layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Legacy {
    format: u32,
    shards: Vec<String>,
    dimension: usize,
    /// The name of the model, in spite of its own.
    model_revision: String,
    /// What its shards are being moved into, once that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_by: Option<IndexSpec>,
}

impl Legacy {
    /// The one in `path`, if any. A move that a crash broke off is brought to its end first.
    ///
    /// # Errors
    /// `Internal` when its manifest is damaged.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>> {
        let file = path.join(MANIFEST);
        let Some(text) = files::read(&file)? else {
            return Ok(None);
        };
        let legacy: Self = serde_json::from_str(&text)
            .map_err(|error| Error::internal(format!("{} is not readable", file.display())).with_source(error))?;
        if legacy.format != FORMAT {
            return Err(Error::conflict(format!("{} has the unknown format {}", file.display(), legacy.format)));
        }
        if let Some(spec) = legacy.taken_by.clone() {
            legacy.hand_over(path, &spec)?;
            return Ok(None);
        }
        tracing::warn!(model = %legacy.model_revision, dimension = legacy.dimension,
            "the vector index has the layout of an earlier version: it is taken over by the first index for that model");
        Ok(Some(legacy))
    }

    /// Whether an index that is made for `spec` takes it over.
    pub(crate) fn fits(&self, spec: &IndexSpec) -> bool {
        self.dimension == spec.dimension && self.model_revision == spec.model
    }

    /// Whether one of its shards has this name.
    pub(crate) fn has_shard(&self, name: &str) -> bool {
        self.shards.iter().any(|shard| shard == name)
    }

    /// Moves the shards into the directory of the index for `spec`.
    pub(crate) fn take_over(mut self, path: &Path, spec: &IndexSpec) -> Result<()> {
        // An earlier attempt to make this index may have left empty shards.
        files::remove_directory(&path.join(spec.name.as_str()))?;
        // First on disk, where it goes: whatever happens afterwards, `find` goes on with it.
        self.taken_by = Some(spec.clone());
        let text = serde_json::to_vec_pretty(&self)
            .map_err(|error| Error::internal("the manifest cannot be written").with_source(error))?;
        files::write(&path.join(MANIFEST), &text)?;
        self.hand_over(path, spec)
    }

    /// Every step may have been done before.
    fn hand_over(&self, path: &Path, spec: &IndexSpec) -> Result<()> {
        let index = path.join(spec.name.as_str());
        files::make_directory(&index)?;
        for name in self.shards.iter().map(String::as_str).chain([CLEAN]) {
            if path.join(name).exists() {
                files::rename(&path.join(name), &index.join(name))?;
            }
        }
        Manifest::new(spec.clone(), Topology { shards: self.shards.clone(), moving_to: None }).write(&index)?;
        files::remove(&path.join(MANIFEST))?;
        tracing::info!(index = %spec.name, "the vector index of an earlier version was taken over");
        Ok(())
    }
}
