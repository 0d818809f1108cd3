//! Qdrant's own gRPC API over the engine it is made of: a cluster of peers in this process, with faults on demand. Of its REST
//! API there is what snapshots of shards need; a snapshot has a format of its own.
//!
//! Codes, messages and the rules of sharding and replication follow the server of version 1.18. What is not
//! implemented answers `Unimplemented` and names it; nothing is ignored that would change an answer.

mod aliases;
mod archive;
mod cluster;
mod collection;
mod collections;
mod errors;
mod faults;
mod filters;
mod indexes;
mod points;
mod reads;
mod replica;
mod rest;
mod routing;
mod schema;
mod server;
mod shard;
mod snapshots;
mod state;
mod values;
mod writes;

pub use cluster::QdrantCluster;
pub use state::{ClusterConfig, PemPair};

/// What the health check answers as its version.
pub const VERSION: &str = "1.18.3-testkit";
