//! The port traits: every backing part stands behind one of these, chosen by configuration.

mod catalog;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

pub use catalog::{
    Accepted, Catalog, DocumentFilter, JobFilter, Lease, LeasedJob, NewVersion, Page, PageRequest, VersionText,
};

use crate::{
    ChatRequest, ChatStream, Chunk, DocumentId, Metadata, Result, SearchResult, TenantId, VectorQuery, point_id,
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

/// The index of chunks. Derived data: it can always be rebuilt from the catalog.
#[async_trait]
pub trait VectorStore: Send + Sync {
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

    /// Returns when everything accepted before for this document is on disk.
    async fn flush(&self, tenant: &TenantId, document: &DocumentId) -> Result<()>;

    /// Names of the shards that cannot serve now; empty when all is well.
    async fn unhealthy_shards(&self) -> Vec<String>;
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
}
