//! What the embedded store is configured with.

use std::path::PathBuf;

use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most shards one index may have.
pub(crate) const MAX_SHARDS: u32 = 64;

/// Settings of the embedded vector store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeConfig {
    /// Directory of the indexes. Only one process may use it at a time.
    pub path: PathBuf,
    /// Number of shards of a new index, 1 to 64, searched in parallel. One that exists keeps its own until it is resharded.
    pub shards: u32,
    /// A shard that has not answered a search after this many milliseconds is left out and named.
    pub shard_timeout_ms: u64,
    /// How many shard searches may run at the same time; further ones wait.
    pub max_parallel_searches: u32,
    /// New chunks are refused (507) while the disk has less free space than this, in MiB.
    pub min_free_disk_mib: u64,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(".ragstone/index"),
            shards: 2,
            shard_timeout_ms: 1000,
            max_parallel_searches: 32,
            min_free_disk_mib: 256,
        }
    }
}

impl EdgeConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(1..=MAX_SHARDS).contains(&self.shards) {
            return Err(Error::invalid(format!("shards is {}; it must lie between 1 and {MAX_SHARDS}", self.shards)));
        }
        if self.shard_timeout_ms == 0 {
            return Err(Error::invalid("shard_timeout_ms must be at least 1"));
        }
        if self.max_parallel_searches == 0 {
            return Err(Error::invalid("max_parallel_searches must be at least 1"));
        }
        Ok(())
    }

    /// The names of a new index's shards, `s0`, `s1` and so on.
    pub(crate) fn shard_names(&self) -> Vec<String> {
        (0..self.shards).map(|n| format!("s{n}")).collect()
    }
}
