//! The vector store: indexes of chunks, searched by meaning and by words, behind [`ragstone_core::ports::VectorIndexes`].
//!
//! [`EdgeIndexes`] keeps them in a directory with the embedded engine `qdrant-edge`, `QdrantIndexes` in Qdrant.
//!
//! - **Placement.** All chunks of a document live on one shard, found by rendezvous hashing.
//! - **Search.** Shards are asked in parallel, each within its time; a late or failed one is left out and named. Dense
//!   (cosine) and BM25 lists are merged over the shards by score, then fused by reciprocal rank.
//! - **Access.** No search runs without a filter made from the caller's tenant and groups.
//! - **Replacing a document.** `upsert_staged` stores invisibly, `publish` switches versions in one moment for readers,
//!   `remove_versions` cleans up (and flushes first, so that a crash never leaves a document without a version).
//!   A version's chunks are numbered from 0; `publish` refuses with `NotFound` when one is missing.
//! - **Indexes.** One for each revision of a model. One serves; another can be filled beside it and take over.
//! - **Resharding.** `begin_reshard`, `move_document` for every document, `finish_reshard`: each can be repeated, also after
//!   a crash; searches and writes go on. Whatever is written meanwhile has its document moved first.
//!
//! What follows is about the embedded store only:
//!
//! - **Durability.** What `flush` has covered survives anything. A crash loses the rest: staged chunks are then removed,
//!   and an unfinished replacement falls back to the version before. Whoever resumes a job after a restart stores its
//!   chunks again (storing twice changes nothing).
//! - **A broken shard** is out of service for half a minute, then opened again from disk in the background. Documents
//!   on a shard whose files are damaged are missing until its directory is removed and the index rebuilt. An index of
//!   which no shard can be opened does not keep the others from serving.
//! - **The engine's log** is written but never replayed or shortened by the engine; old files are removed when a shard
//!   is opened, and a shard whose log has grown large is reopened in the background.

mod analyzers;
mod bm25;
mod edge;
mod fusion;
mod payload;
mod qdrant;
mod question;

pub use edge::{EdgeConfig, EdgeIndexes, EdgeStore, StoredPoint};
pub use qdrant::{
    Balance, Consistency, ConsistencyShare, EjectionConfig, HedgeConfig, IndexDraft, QdrantConfig, QdrantIndexes,
    QdrantStore, SavedIndex, Stock, WriteOrder,
};
