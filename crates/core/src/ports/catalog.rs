//! The catalog port: which documents exist, their versions and chunk texts, and the durable job queue.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Chunk, Document, DocumentId, DocumentStatus, DocumentVersion, Error, Job, JobId, JobStatus, Metadata, Result,
    Stage, TenantId,
};

/// A version to accept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVersion {
    /// Whose document.
    pub tenant: TenantId,
    /// Which document.
    pub document_id: DocumentId,
    /// Title given by the caller; empty: found in the text later.
    pub title: String,
    /// Content type without parameters.
    pub media_type: String,
    /// Size of the raw body.
    pub bytes: u64,
    /// BLAKE3 hash of the raw body, the blob's name.
    pub content_hash: String,
    /// The caller's fields.
    pub metadata: Metadata,
    /// Who may read it.
    pub groups: Vec<String>,
    /// Hash of everything that decides the result: content, type, title, metadata, groups, pipeline settings.
    /// Equal to that of the newest version: nothing is done.
    pub fingerprint: String,
    /// Accept only when the newest version is this one (0: only when the document does not exist).
    pub if_version: Option<u64>,
    /// W3C `traceparent` of the accepting request, carried to the worker.
    pub traceparent: Option<String>,
}

/// What became of a version that was offered.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The job that does, or did, the work.
    pub job: Job,
    /// The content was already there: no new version was made.
    pub unchanged: bool,
}

/// A worker's hold on a job; only its holder may change the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which job.
    pub job: JobId,
    /// Changes with every lease, so that a worker that lost its lease cannot write any more.
    pub token: u64,
}

/// A leased job with all a worker needs.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedJob {
    /// The hold.
    pub lease: Lease,
    /// The job; `attempts` already counts this try.
    pub job: Job,
    /// The version to work on.
    pub version: NewVersion,
    /// An earlier worker began this try's stage and did not end it.
    pub resumed: bool,
}

/// The text of a version, once extracted and cut.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionText {
    /// Title: the caller's, or the one found.
    pub title: String,
    /// ISO 639-3 code of the language, where it could be told.
    pub language: Option<String>,
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Opaque: where the next page begins; `None` on the last.
    pub next_cursor: Option<String>,
}

/// Which page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items, 1 to 1,000.
    pub limit: u32,
    /// A `next_cursor` of an earlier page.
    pub cursor: Option<String>,
}

/// Which documents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentFilter {
    /// Only those in this state; `None`: all but deleted ones.
    pub status: Option<DocumentStatus>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those in this state.
    pub status: Option<JobStatus>,
}

/// Documents, versions, chunk texts and jobs. Every change is on disk when its call returns.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Assigns the next version and enqueues its job, in one transaction. A newer version makes the waiting jobs of
    /// older ones needless.
    ///
    /// # Errors
    /// `Conflict` when `if_version` does not hold; `StorageFull`.
    async fn accept(&self, version: NewVersion) -> Result<Accepted>;

    /// Writes a tombstone (the next version, without content) and enqueues the removal. `None` when there is no such
    /// document or it is already deleted.
    ///
    /// # Errors
    /// `Conflict` when `if_version` is given and is not the newest version.
    async fn delete(
        &self,
        tenant: &TenantId,
        document: &DocumentId,
        if_version: Option<u64>,
        traceparent: Option<String>,
    ) -> Result<Option<Job>>;

    /// The document, deleted ones included.
    async fn document(&self, tenant: &TenantId, document: &DocumentId) -> Result<Option<Document>>;

    /// Documents by id.
    ///
    /// # Errors
    /// `InvalidArgument` for a cursor that is none.
    async fn documents(&self, tenant: &TenantId, filter: DocumentFilter, page: PageRequest) -> Result<Page<Document>>;

    /// All versions, newest first; empty when there is no such document.
    async fn history(&self, tenant: &TenantId, document: &DocumentId) -> Result<Vec<DocumentVersion>>;

    /// The job, when it is this tenant's.
    async fn job(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>>;

    /// Jobs, newest first.
    async fn jobs(&self, tenant: &TenantId, filter: JobFilter, page: PageRequest) -> Result<Page<Job>>;

    /// Puts a `dead` or `failed` job of the newest version back in the queue with its tries reset.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is in another state or a newer version exists.
    async fn retry(&self, tenant: &TenantId, job: JobId) -> Result<Job>;

    /// Leases the next due job for `ttl`, expired leases included; at most one job of a document runs at a time.
    async fn lease(&self, worker: &str, ttl: Duration) -> Result<Option<LeasedJob>>;

    /// Extends the lease and notes progress. `false`: the lease is lost, stop working.
    async fn heartbeat(&self, lease: &Lease, ttl: Duration, progress: f32) -> Result<bool>;

    /// Stores the version's text and moves the job to [`Stage::Embed`], in one transaction.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn store_text(&self, lease: &Lease, text: VersionText) -> Result<()>;

    /// The stored text of the leased version.
    ///
    /// # Errors
    /// `Internal` when there is none.
    async fn text(&self, lease: &Lease) -> Result<VersionText>;

    /// Moves the job to a later stage.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn advance(&self, lease: &Lease, stage: Stage) -> Result<()>;

    /// Whether a newer version than the leased one was accepted.
    async fn superseded(&self, lease: &Lease) -> Result<bool>;

    /// The version is live (or the document gone): marks job and document, drops older versions' chunk texts, bumps
    /// the tenant's corpus generation. Returns hashes of bodies that nothing refers to any more.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn complete(&self, lease: &Lease) -> Result<Vec<String>>;

    /// Ends a try: back to the queue after `retry_in`, or `Failed`/`Dead` as `outcome` says.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn fail(&self, lease: &Lease, error: &Error, outcome: JobStatus, retry_in: Duration) -> Result<Job>;

    /// Gives a job back without counting the try: at shutdown, or while a dependency is away. It is due again after
    /// `retry_in`; `reason`, where there is one, shows as the job's error meanwhile.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn release(&self, lease: &Lease, reason: Option<&Error>, retry_in: Duration) -> Result<()>;

    /// Ends every lease at once: called when no other worker can be alive (a single-process store at start).
    async fn release_all_leases(&self) -> Result<u64>;

    /// Jobs waiting or running, over all tenants: (queued, running, dead).
    async fn queue_depth(&self) -> Result<(u64, u64, u64)>;

    /// Counts up with every change of what the tenant's searches can find.
    async fn corpus_generation(&self, tenant: &TenantId) -> Result<u64>;

    /// Whether the store answers and can write.
    async fn check(&self) -> Result<()>;
}
