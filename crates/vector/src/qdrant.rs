//! The indexes of chunks in Qdrant: [`QdrantIndexes`] over any number of peers, and [`QdrantStore`], one of them.
//!
//! - **Collections.** An index is the collection `<prefix>-<index>` with the vectors `dense` (cosine) and `bm25` (sparse, IDF);
//!   the alias `<prefix>` names the one that serves. What it was made for and where its shards are is in its metadata.
//! - **Shards** are Qdrant's user-defined shard keys; all chunks of a document are on one, found by rendezvous hashing
//!   as in the embedded store. A Qdrant without cluster mode has one shard and no keys.
//! - **Connections** are our own, one lazily made channel for each peer under the generated stubs of `qdrant-client`: the
//!   client's pool knows neither private certificate authorities nor a deadline for each call.
//! - **Search** (`search.rs`): one batch for each shard at the same time, answered by a healthy replica (`view.rs`) that is
//!   not busy (`balance.rs`) and does not keep failing (`ejection.rs`); by another one when that fails, and by a second one
//!   too when it is slow (`fanout.rs`). A shard without an answer in time is left out and named. Lists are merged and
//!   fused as in the embedded store.
//! - **Access.** A search takes no other filter than one made from the caller's tenant and groups (`filter.rs`).
//! - **Writes** (`write.rs`) wait for all healthy replicas, so that the next search sees them whoever answers it.
//! - **Changing the shards** goes on under searches and writes (`reshard.rs`).
//! - **Backups** hold a snapshot of each shard (`save.rs`, `saved.rs`); bringing them in (`draft.rs`) ends with a look at what is
//!   in them (`stock.rs`). Only these use Qdrant's REST API (`rest.rs`).

mod balance;
mod collection;
mod config;
mod convert;
mod draft;
mod ejection;
mod error;
mod fanout;
mod fields;
mod filter;
mod indexes;
mod layout;
mod peers;
mod reshard;
mod rest;
mod rpc;
mod save;
mod saved;
mod scan;
mod search;
mod setup;
mod stock;
mod store;
mod view;
mod write;

pub use config::{Balance, Consistency, ConsistencyShare, EjectionConfig, HedgeConfig, QdrantConfig, WriteOrder};
pub use draft::IndexDraft;
pub use indexes::QdrantIndexes;
pub use saved::SavedIndex;
pub use stock::Stock;
pub use store::QdrantStore;
