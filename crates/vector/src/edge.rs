//! The embedded store: every index is a directory with N shards of `qdrant-edge`.

mod census;
mod config;
mod directory;
mod engine;
#[cfg(test)]
mod faults;
mod files;
mod filter;
mod gate;
mod indexes;
mod layout;
mod legacy;
mod maintenance;
mod manifest;
mod recovery;
mod reshard;
mod shard;
mod store;
mod transfer;
#[cfg(test)]
mod under_way;

pub use config::EdgeConfig;
pub use indexes::EdgeIndexes;
pub use store::{EdgeStore, StoredPoint};
