//! Indexes in Qdrant, against a cluster that speaks its API in this process, and, where `RAGSTONE_TEST_QDRANT` names the URLs
//! of a real one, against that too (its REST API is looked for on the ports below, or where `RAGSTONE_TEST_QDRANT_REST` says). One
//! binary, as each links the whole engine.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../contract/mod.rs"]
mod contract;

mod common;
mod documents;
mod fixtures;
mod moving;
mod replicas;
mod setup;
mod snapshots;

/// What every implementation must do, with two replicas of each shard.
mod cluster {
    use crate::contract::contract;
    use crate::fixtures::Cluster;

    contract!(Cluster);
}

/// The same without cluster mode: one shard, no keys.
mod single {
    use crate::contract::contract;
    use crate::fixtures::Single;

    contract!(Single);
}

/// The same against a real Qdrant.
mod real {
    use crate::contract::contract;
    use crate::fixtures::Real;

    contract!(Real);
}
