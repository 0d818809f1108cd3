//! The catalog port: which documents exist, their versions and chunk texts, and the durable job queue.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::{Ledger, Write};
use crate::{
    Caller, Chunk, Document, DocumentId, DocumentStatus, DocumentVersion, Error, Hit, Index, IndexName, IndexSpec, Job,
    JobId, JobKind, JobStatus, KeywordQuery, Metadata, Priority, Result, Stage, TenantId,
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
    /// How urgent its job is among the tenant's.
    pub priority: Priority,
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
    /// The one index a `Rebuild` or `Move` is about; `None`: every index there is.
    pub index: Option<IndexName>,
}

/// A document that searches find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDocument {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: DocumentId,
    /// The version that is live.
    pub version: u64,
    /// How many chunks that version has in the catalog.
    pub chunks: u32,
}

/// Maintenance jobs of one kind and index that have not ended well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Waiting or running.
    pub active: u64,
    /// Failed or dead: they need somebody.
    pub stuck: u64,
}

/// One row of the catalog, as a backup carries it; any implementation reads what another one has written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Which table.
    pub table: String,
    /// Its columns.
    pub row: serde_json::Map<String, serde_json::Value>,
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

/// A part of the text that searches find of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveText {
    /// The live version.
    pub version: u64,
    /// Its title.
    pub title: String,
    /// How many chunks it has.
    pub total: u32,
    /// Some of them, in order.
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
///
/// A caller sees a document when they may read both its newest and its live version, and a version or a job when they may
/// read its version too: what a version says to a few stays with them when a later one is for everybody. A deletion is as
/// readable as what it deletes. What a caller may not see is, to them, not there.
#[async_trait]
pub trait Catalog: Ledger + Send + Sync {
    /// Assigns the next version and enqueues its job, in one transaction, which also notes it in the audit log and keeps the
    /// idempotency key. A newer version makes the waiting jobs of older ones needless. A key that was used for the same
    /// before gets the first answer again, with the job as it stands now; one that is being used waits for the outcome.
    ///
    /// # Errors
    /// `Conflict` when `if_version` does not hold; `PermissionDenied` when there is such a document and the writer may not
    /// read it; `Unprocessable` when the idempotency key was used for something else; `StorageFull`. No error is remembered
    /// for a key.
    async fn accept(&self, write: &Write, version: NewVersion) -> Result<Accepted>;

    /// Writes a tombstone (the next version, without content) and enqueues the removal; audit log and idempotency key as
    /// with [`Self::accept`]. `None` when there is no such document for the writer or it is already deleted.
    ///
    /// # Errors
    /// `Conflict` when `if_version` is given and is not the newest version; `Unprocessable` as with [`Self::accept`].
    async fn delete(
        &self,
        write: &Write,
        document: &DocumentId,
        if_version: Option<u64>,
        traceparent: Option<String>,
    ) -> Result<Option<Job>>;

    /// Forgets idempotency keys whose time is over; how many.
    async fn forget_idempotency_keys(&self) -> Result<u64>;

    /// The document, deleted ones included.
    async fn document(&self, caller: &Caller, document: &DocumentId) -> Result<Option<Document>>;

    /// Documents by id.
    ///
    /// # Errors
    /// `InvalidArgument` for a cursor that is none.
    async fn documents(&self, caller: &Caller, filter: DocumentFilter, page: PageRequest) -> Result<Page<Document>>;

    /// All versions, newest first; empty when there is no such document.
    async fn history(&self, caller: &Caller, document: &DocumentId) -> Result<Vec<DocumentVersion>>;

    /// Chunks of the live version from the chunk `from` on, at most `limit` (1 to 1,000); `None` when none is live.
    ///
    /// # Errors
    /// `InvalidArgument` for another limit.
    async fn live_text(
        &self,
        caller: &Caller,
        document: &DocumentId,
        from: u32,
        limit: u32,
    ) -> Result<Option<LiveText>>;

    /// The job, when the caller may see it.
    async fn job(&self, caller: &Caller, job: JobId) -> Result<Option<Job>>;

    /// Jobs, newest first.
    async fn jobs(&self, caller: &Caller, filter: JobFilter, page: PageRequest) -> Result<Page<Job>>;

    /// Puts a `dead` or `failed` job of the newest version, or of maintenance, back in the queue with its tries reset, and
    /// notes it in the audit log.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is in another state or a newer version exists.
    async fn retry(&self, caller: &Caller, job: JobId) -> Result<Job>;

    /// Leases the next due job for `ttl`, expired leases included: tenants take turns, and of one tenant the most urgent
    /// job goes first, then the one that has been due longest. At most one job of a document runs at a time.
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

    /// The version is live in the indexes `written` (or the document gone from them): marks job and document, drops
    /// older versions' chunk texts, bumps the tenant's corpus generation. An index that was begun meanwhile gets a
    /// `Rebuild` job. A maintenance job is only removed. Returns hashes of bodies that nothing refers to any more.
    ///
    /// # Errors
    /// `Conflict` when the lease is lost.
    async fn complete(&self, lease: &Lease, written: &[IndexName]) -> Result<Vec<String>>;

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

    /// Ends every lease at once: called when no other worker can be alive (a single-process store at start). A store that
    /// several processes share does nothing: there leases end by themselves.
    async fn release_all_leases(&self) -> Result<u64>;

    /// Jobs waiting or running, over all tenants: (queued, running, dead).
    async fn queue_depth(&self) -> Result<(u64, u64, u64)>;

    /// Counts up with every change of what the tenant's searches can find.
    async fn corpus_generation(&self, tenant: &TenantId) -> Result<u64>;

    /// The best live chunks by their words alone, best first, that the caller may read: for when the vector store is gone.
    ///
    /// # Errors
    /// `InvalidArgument` for a filter that cannot be.
    async fn keyword_search(&self, query: KeywordQuery) -> Result<Vec<Hit>>;

    /// Documents that searches find, over all tenants, in a fixed order, after `after`; at most `limit`.
    async fn live_documents(&self, after: Option<&(TenantId, DocumentId)>, limit: u32) -> Result<Vec<LiveDocument>>;

    /// How many documents searches find, over all tenants.
    async fn live_count(&self) -> Result<u64>;

    /// Every index, oldest first.
    async fn indexes(&self) -> Result<Vec<Index>>;

    /// Adds an index: the first one serves, a later one is being built; every live document gets a `Rebuild` job for it, in
    /// the same transaction. An index that is there stays as it is; documents that lack a job get one again, whether or not
    /// it had been filled before. `by` is who wants it, for the audit log; `None`: the service itself.
    async fn add_index(&self, spec: &IndexSpec, by: Option<&Caller>) -> Result<Index>;

    /// Lets this index serve; the one that served before is kept as standby. `by` as with [`Self::add_index`].
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while it has unfinished `Rebuild` jobs.
    async fn serve_index(&self, name: &IndexName, by: Option<&Caller>) -> Result<()>;

    /// Forgets the index and its jobs; forgetting what is not there is fine. `by` as with [`Self::add_index`].
    ///
    /// # Errors
    /// `Conflict` when it serves.
    async fn remove_index(&self, name: &IndexName, by: Option<&Caller>) -> Result<()>;

    /// Enqueues a job of a maintenance kind for each of these documents that are live and have no such job waiting.
    /// Returns how many were enqueued.
    ///
    /// # Errors
    /// `InvalidArgument` for a kind that is not maintenance; `NotFound` when there is no such index.
    async fn enqueue(&self, kind: JobKind, index: &IndexName, documents: &[(TenantId, DocumentId)]) -> Result<u64>;

    /// Maintenance jobs of this kind and index that have not ended well.
    async fn unfinished(&self, kind: JobKind, index: &IndexName) -> Result<Unfinished>;

    /// Puts every failed or dead job of this kind and index back in the queue; how many.
    async fn retry_unfinished(&self, kind: JobKind, index: &IndexName) -> Result<u64>;

    /// Hashes, of those given, of bodies that a version may still need: the others may be removed.
    async fn bodies_in_use(&self, hashes: &[String]) -> Result<Vec<String>>;

    /// Every row, as one moment shows them, in an order in which they can be brought in again.
    fn export(&self) -> BoxStream<'_, Result<Record>>;

    /// Brings rows in that `export` gave; all or none.
    ///
    /// # Errors
    /// `Conflict` when the catalog is not empty; `InvalidArgument` for a row that cannot be.
    async fn import(&self, records: BoxStream<'_, Result<Record>>) -> Result<u64>;

    /// Waits for running calls and lets go of files and connections; nothing is asked of it afterwards.
    async fn close(&self);

    /// Whether the store answers and can write.
    async fn check(&self) -> Result<()>;
}
