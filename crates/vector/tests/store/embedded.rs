//! The embedded store under the contract, and how the other tests open it.

use std::path::Path;
use std::sync::Arc;

use ragstone_core::IndexSpec;
use ragstone_core::ports::VectorIndexes;
use ragstone_vector::{EdgeConfig, EdgeIndexes, EdgeStore};
use tempfile::TempDir;

use crate::contract::{Fixture, spec};

/// Embedded indexes in a directory of their own.
pub(crate) struct Embedded {
    directory: TempDir,
    shards: usize,
}

impl Fixture for Embedded {
    const RESHARDS: bool = true;

    fn name(&self) -> String {
        format!("the embedded store, {} shards", self.shards)
    }

    async fn start(shards: usize) -> Result<Self, String> {
        Ok(Self { directory: tempfile::tempdir().map_err(|error| error.to_string())?, shards })
    }

    async fn open(&self) -> Arc<dyn VectorIndexes> {
        let config = EdgeConfig { shards: self.shards as u32, ..config(self.directory.path()) };
        Arc::new(EdgeIndexes::open(config).await.unwrap())
    }
}

pub(crate) fn config(directory: &Path) -> EdgeConfig {
    EdgeConfig { path: directory.join("index"), shard_timeout_ms: 20_000, ..EdgeConfig::default() }
}

/// The directory of the tests' index.
pub(crate) fn index_directory(directory: &Path) -> std::path::PathBuf {
    directory.join("index").join(spec().name.as_str())
}

/// The tests' index in `directory`; it is closed and unlocked when it is dropped.
pub(crate) async fn open(directory: &Path) -> Arc<EdgeStore> {
    open_with(config(directory), spec()).await
}

pub(crate) async fn open_with(config: EdgeConfig, spec: IndexSpec) -> Arc<EdgeStore> {
    let indexes = EdgeIndexes::open(config).await.unwrap();
    indexes.create(&spec).await.unwrap();
    indexes.store(Some(&spec.name)).await.unwrap()
}
