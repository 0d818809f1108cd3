//! The port traits: every backing part stands behind one of these, chosen by configuration.

mod catalog;
mod ledger;
mod rate_limit;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use uuid::Uuid;

pub use catalog::{
    Accepted, Catalog, DocumentFilter, JobFilter, Lease, LeasedJob, LiveDocument, LiveText, NewVersion, Page,
    PageRequest, Record, Unfinished, VersionText,
};
pub use ledger::Ledger;
pub use rate_limit::{Charge, Decision, Limit, MAX_LEVEL, RateLimiter, Settlement, Standing};
pub use write::{Idempotency, Write};

use crate::{
    ChatRequest, ChatStream, Chunk, DocumentId, IndexName, IndexSpec, Metadata, Result, SearchResult, TenantId,
    Topology, VectorQuery, point_id,
};

/// A chunk with its vector and everything a search needs to filter and show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Whose document.
    pub tenant: TenantId,
    /// Which document.
    pub document_id: DocumentId,
    /// Which version.
    pub version: u64,
    /// The chunk.
    pub chunk: Chunk,
    /// The document's title.
    pub title: String,
    /// The document's metadata.
    pub metadata: Metadata,
    /// Who may read it; empty: everyone in the tenant.
    pub groups: Vec<String>,
    /// ISO 639-3 code of the text's language, where known: chooses stemmer and stop words of BM25.
    pub language: Option<String>,
    /// How much the chunk's text looks like orders to a language model, 0 to 1.
    pub injection_score: f32,
    /// The embedding; its length is the store's dimension.
    pub vector: Vec<f32>,
}

impl Point {
    /// The store's id of this point.
    #[must_use]
    pub fn id(&self) -> Uuid {
        point_id(&self.tenant, &self.document_id, self.version, self.chunk.index)
    }
}

/// The indexes of one store. Derived data: each can always be rebuilt from the catalog.
#[async_trait]
pub trait VectorIndexes: Send + Sync {
    /// Makes the index, or finds it as it was made before. The first one serves at once.
    ///
    /// # Errors
    /// `Conflict` when something else is there under its name: vectors of another length, another model.
    async fn create(&self, spec: &IndexSpec) -> Result<()>;

    /// Every index that was made and not removed, by name.
    async fn list(&self) -> Result<Vec<IndexSpec>>;

    /// The index of this name; `None`: the one that serves, where there is one.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name, or none serves yet.
    async fn open(&self, name: Option<&IndexName>) -> Result<Arc<dyn VectorStore>>;

    /// Which index serves.
    async fn serving(&self) -> Result<Option<IndexName>>;

    /// Lets this index serve from now on, in one moment for every search that does not name one.
    ///
    /// # Errors
    /// `NotFound`.
    async fn serve(&self, name: &IndexName) -> Result<()>;

    /// Removes the index with all it holds; removing what is not there is fine.
    ///
    /// # Errors
    /// `Conflict` when it serves.
    async fn remove(&self, name: &IndexName) -> Result<()>;

    /// Whether the store answers: `Err` says what is wrong and, where a setting is to blame, names it.
    async fn check(&self) -> Result<()>;

    /// Flushes and lets go of everything; nothing is asked of it afterwards.
    async fn close(&self) -> Result<()>;
}

/// One index of chunks.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// What it holds.
    fn spec(&self) -> &IndexSpec;

    /// Finds the best live chunks the caller may read. Shards that fail or are late are left out and named.
    ///
    /// # Errors
    /// `InvalidArgument` for a vector of another dimension; `Unavailable` when no shard answered.
    async fn search(&self, query: VectorQuery) -> Result<SearchResult>;

    /// Stores points *staged*: invisible to searches until published. Storing twice changes nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for a wrong dimension or a vector that is not finite or all zero; nothing is stored then.
    async fn upsert_staged(&self, points: Vec<Point>) -> Result<()>;

    /// Makes a staged version of `chunks` chunks visible; from then on readers see it and no older one.
    ///
    /// # Errors
    /// `NotFound` when some of its chunks are not stored: a crash may lose staged ones.
    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()>;

    /// Removes every point of the document whose version is lower than `below`, staged ones too.
    async fn remove_versions(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()>;

    /// Returns when everything accepted before for this document is on disk, and the next search sees it.
    async fn flush(&self, tenant: &TenantId, document: &DocumentId) -> Result<()>;

    /// How many documents have a live version. It counts: not for the path of a request.
    async fn live_documents(&self) -> Result<u64>;

    /// Names of the shards that cannot serve now; empty when all is well.
    async fn unhealthy_shards(&self) -> Vec<String>;

    /// The shards as they are now, read anew.
    async fn topology(&self) -> Result<Topology>;

    /// Makes new shards where needed and lets writes go to their places among `shards` from now on, while searches ask
    /// old and new ones. Doing it again with the same shards changes nothing. On return every reader and writer knows.
    ///
    /// # Errors
    /// `Conflict` while documents are moving to other shards; `InvalidArgument` for names that cannot be;
    /// `Unprocessable` where the store has a fixed number of shards.
    async fn begin_reshard(&self, shards: &[String]) -> Result<()>;

    /// Brings the live version of a document to the shard it belongs to; no search misses or doubles it meanwhile.
    /// Nobody else may write this document at the same time. Whether it had to move.
    async fn move_document(&self, tenant: &TenantId, document: &DocumentId) -> Result<bool>;

    /// Ends the move: removes the shards that nothing is placed on any more.
    ///
    /// # Errors
    /// `Conflict` when documents are still there.
    async fn finish_reshard(&self) -> Result<()>;
}

/// What a text is embedded for; some models want another prefix for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EmbedKind {
    /// A question.
    Query,
    /// A passage of a document.
    Passage,
}

/// An embedding model's fixed facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderInfo {
    /// Model id, for example `all-MiniLM-L6-v2`.
    pub model: String,
    /// Changes whenever vectors change: hash of weights and tokenizer.
    pub revision: String,
    /// Length of a vector.
    pub dimension: usize,
    /// The longest text it reads, in its tokens, special ones not counted.
    pub max_tokens: usize,
}

/// Turns texts into unit-length vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// The model's facts.
    fn info(&self) -> &EmbedderInfo;

    /// One vector for each text, in order; dropping the future cancels what has not started.
    ///
    /// # Errors
    /// `InvalidArgument` for a text longer than the model reads (nothing is silently cut), `RateLimited` when the
    /// queue is full.
    async fn embed(&self, texts: Vec<String>, kind: EmbedKind) -> Result<Vec<Vec<f32>>>;
}

/// Scores passages against a question.
#[async_trait]
pub trait Reranker: Send + Sync {
    /// One score for each passage, in order; higher is better.
    async fn rerank(&self, question: &str, passages: &[String]) -> Result<Vec<f32>>;
}

/// Writes answers.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Its name, as answers and metrics carry it.
    fn name(&self) -> &str;

    /// Starts an answer; tokens arrive on the stream as they are written.
    ///
    /// # Errors
    /// `Unavailable`, `RateLimited` (with the time to wait) and `DeadlineExceeded` mean: another model may do.
    async fn stream(&self, request: ChatRequest) -> Result<ChatStream>;
}

/// Bytes under keys for a time; whatever it holds may vanish at any moment.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The value, if it is there and fresh.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Stores `value`, for `ttl` where one is given.
    async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()>;

    /// One value or none for each key, in order, in as few round trips as the cache can.
    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>>;

    /// Stores all of these, each for `ttl` where one is given, in as few round trips as the cache can.
    async fn set_many(&self, entries: Vec<(Vec<u8>, Bytes)>, ttl: Option<Duration>) -> Result<()>;

    /// Removes an entry; removing what is not there is fine.
    async fn remove(&self, key: &[u8]) -> Result<()>;

    /// Whether it answers: `Err` says what is wrong and, where a setting is to blame, names it.
    async fn check(&self) -> Result<()>;
}

/// Raw document bodies, addressed by their hash.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores `body` under its BLAKE3 hash and returns the hash in lower-case hexadecimal. On return the bytes
    /// and their name are on disk (fsync), so that they survive a power cut.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    async fn put(&self, body: Bytes) -> Result<String>;

    /// The body with this hash.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when the bytes no longer have that hash.
    async fn get(&self, hash: &str) -> Result<Bytes>;

    /// Removes it; removing what is not there is fine.
    async fn delete(&self, hash: &str) -> Result<()>;

    /// The hashes of all bodies there are, in no particular order, with the time each was stored.
    fn list(&self) -> BoxStream<'_, Result<(String, SystemTime)>>;

    /// Whether it answers and can be written to: `Err` says what is wrong and, where a setting is to blame, names it.
    async fn check(&self) -> Result<()>;
}
