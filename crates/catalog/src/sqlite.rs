//! The SQLite catalog: one file, one process, every change on disk when its call returns.

mod accept;
mod cursor;
mod failure;
mod lock;
mod open;
mod queue;
mod read;
mod rows;
mod work;

use std::fmt;
use std::fs::File;
use std::time::Duration;

use async_trait::async_trait;
use ragstone_core::ports::{
    Accepted, Catalog, DocumentFilter, JobFilter, Lease, LeasedJob, NewVersion, Page, PageRequest, VersionText,
};
use ragstone_core::{Document, DocumentId, DocumentVersion, Error, Job, JobId, JobStatus, Result, Stage, TenantId};
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::clock::{Clock, to_millis};

/// Documents, versions, chunk texts and jobs in one SQLite file (WAL, `synchronous=FULL`).
///
/// One connection writes, a few read. A lock file keeps a second process out.
pub struct SqliteCatalog {
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Clock,
    /// Held as long as the catalog is open; the system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl fmt::Debug for SqliteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteCatalog").finish_non_exhaustive()
    }
}

impl SqliteCatalog {
    /// Waits for running calls and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A write transaction. `IMMEDIATE`: a transaction that reads first and writes later never fails for having
    /// read something old.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, failure::Failure> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    fn now(&self) -> i64 {
        to_millis((self.clock)())
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn accept(&self, version: NewVersion) -> Result<Accepted> {
        Ok(accept::accept(self, version).await?)
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        document: &DocumentId,
        if_version: Option<u64>,
        traceparent: Option<String>,
    ) -> Result<Option<Job>> {
        Ok(accept::delete(self, tenant, document, if_version, traceparent).await?)
    }

    async fn document(&self, tenant: &TenantId, document: &DocumentId) -> Result<Option<Document>> {
        Ok(read::document(self, tenant, document).await?)
    }

    async fn documents(&self, tenant: &TenantId, filter: DocumentFilter, page: PageRequest) -> Result<Page<Document>> {
        Ok(read::documents(self, tenant, filter, page).await?)
    }

    async fn history(&self, tenant: &TenantId, document: &DocumentId) -> Result<Vec<DocumentVersion>> {
        Ok(read::history(self, tenant, document).await?)
    }

    async fn job(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>> {
        Ok(read::job(self, tenant, job).await?)
    }

    async fn jobs(&self, tenant: &TenantId, filter: JobFilter, page: PageRequest) -> Result<Page<Job>> {
        Ok(read::jobs(self, tenant, filter, page).await?)
    }

    async fn retry(&self, tenant: &TenantId, job: JobId) -> Result<Job> {
        Ok(queue::retry(self, tenant, job).await?)
    }

    async fn lease(&self, worker: &str, ttl: Duration) -> Result<Option<LeasedJob>> {
        Ok(queue::lease(self, worker, ttl).await?)
    }

    async fn heartbeat(&self, lease: &Lease, ttl: Duration, progress: f32) -> Result<bool> {
        Ok(queue::heartbeat(self, lease, ttl, progress).await?)
    }

    async fn store_text(&self, lease: &Lease, text: VersionText) -> Result<()> {
        Ok(work::store_text(self, lease, text).await?)
    }

    async fn text(&self, lease: &Lease) -> Result<VersionText> {
        Ok(work::text(self, lease).await?)
    }

    async fn advance(&self, lease: &Lease, stage: Stage) -> Result<()> {
        Ok(work::advance(self, lease, stage).await?)
    }

    async fn superseded(&self, lease: &Lease) -> Result<bool> {
        Ok(work::superseded(self, lease).await?)
    }

    async fn complete(&self, lease: &Lease) -> Result<Vec<String>> {
        Ok(work::complete(self, lease).await?)
    }

    async fn fail(&self, lease: &Lease, error: &Error, outcome: JobStatus, retry_in: Duration) -> Result<Job> {
        Ok(queue::fail(self, lease, error, outcome, retry_in).await?)
    }

    async fn release(&self, lease: &Lease, reason: Option<&Error>, retry_in: Duration) -> Result<()> {
        Ok(queue::release(self, lease, reason, retry_in).await?)
    }

    async fn release_all_leases(&self) -> Result<u64> {
        Ok(queue::release_all_leases(self).await?)
    }

    async fn queue_depth(&self) -> Result<(u64, u64, u64)> {
        Ok(read::queue_depth(self).await?)
    }

    async fn corpus_generation(&self, tenant: &TenantId) -> Result<u64> {
        Ok(read::corpus_generation(self, tenant).await?)
    }

    async fn check(&self) -> Result<()> {
        Ok(open::probe(self).await?)
    }
}
