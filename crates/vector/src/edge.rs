//! The embedded store: N shards of `qdrant-edge` in one directory.

mod config;
mod engine;
#[cfg(test)]
mod faults;
mod filter;
mod maintenance;
mod manifest;
mod recovery;
mod shard;
mod store;

pub use config::EdgeConfig;
pub use store::{EdgeStore, StoredPoint};
