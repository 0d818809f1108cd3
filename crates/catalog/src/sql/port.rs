//! The port, call by call.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ragstone_core::ports::{
    Accepted, Catalog, DocumentFilter, JobFilter, Lease, LeasedJob, LiveDocument, LiveText, NewVersion, Page,
    PageRequest, Record, Unfinished, VersionText, Write,
};
use ragstone_core::{
    Caller, Document, DocumentId, DocumentVersion, Error, Hit, Index, IndexName, IndexSpec, Job, JobId, JobKind,
    JobStatus, KeywordQuery, Result, Stage, TenantId,
};

use super::{Store, accept, complete, export, idempotency, import, indexes, keyword, queue, read, work};

#[async_trait]
impl Catalog for Store {
    async fn accept(&self, write: &Write, version: NewVersion) -> Result<Accepted> {
        self.limited(accept::accept(self, write, version)).await
    }

    async fn delete(
        &self,
        write: &Write,
        document: &DocumentId,
        if_version: Option<u64>,
        traceparent: Option<String>,
    ) -> Result<Option<Job>> {
        self.limited(accept::delete(self, write, document, if_version, traceparent)).await
    }

    async fn forget_idempotency_keys(&self) -> Result<u64> {
        self.limited(idempotency::sweep(self)).await
    }

    async fn document(&self, caller: &Caller, document: &DocumentId) -> Result<Option<Document>> {
        self.limited(read::document(self, caller, document)).await
    }

    async fn documents(&self, caller: &Caller, filter: DocumentFilter, page: PageRequest) -> Result<Page<Document>> {
        self.limited(read::documents(self, caller, filter, page)).await
    }

    async fn history(&self, caller: &Caller, document: &DocumentId) -> Result<Vec<DocumentVersion>> {
        self.limited(read::history(self, caller, document)).await
    }

    async fn live_text(
        &self,
        caller: &Caller,
        document: &DocumentId,
        from: u32,
        limit: u32,
    ) -> Result<Option<LiveText>> {
        self.limited(read::live_text(self, caller, document, from, limit)).await
    }

    async fn job(&self, caller: &Caller, job: JobId) -> Result<Option<Job>> {
        self.limited(read::job(self, caller, job)).await
    }

    async fn jobs(&self, caller: &Caller, filter: JobFilter, page: PageRequest) -> Result<Page<Job>> {
        self.limited(read::jobs(self, caller, filter, page)).await
    }

    async fn retry(&self, caller: &Caller, job: JobId) -> Result<Job> {
        self.limited(queue::retry(self, caller, job)).await
    }

    async fn lease(&self, worker: &str, ttl: Duration) -> Result<Option<LeasedJob>> {
        self.limited(queue::lease(self, worker, ttl)).await
    }

    async fn heartbeat(&self, lease: &Lease, ttl: Duration, progress: f32) -> Result<bool> {
        self.limited(queue::heartbeat(self, lease, ttl, progress)).await
    }

    async fn store_text(&self, lease: &Lease, text: VersionText) -> Result<()> {
        self.limited(work::store_text(self, lease, text)).await
    }

    async fn text(&self, lease: &Lease) -> Result<VersionText> {
        self.limited(work::text(self, lease)).await
    }

    async fn advance(&self, lease: &Lease, stage: Stage) -> Result<()> {
        self.limited(work::advance(self, lease, stage)).await
    }

    async fn superseded(&self, lease: &Lease) -> Result<bool> {
        self.limited(work::superseded(self, lease)).await
    }

    async fn complete(&self, lease: &Lease, written: &[IndexName]) -> Result<Vec<String>> {
        self.limited(complete::complete(self, lease, written)).await
    }

    async fn fail(&self, lease: &Lease, error: &Error, outcome: JobStatus, retry_in: Duration) -> Result<Job> {
        self.limited(queue::fail(self, lease, error, outcome, retry_in)).await
    }

    async fn release(&self, lease: &Lease, reason: Option<&Error>, retry_in: Duration) -> Result<()> {
        self.limited(queue::release(self, lease, reason, retry_in)).await
    }

    async fn release_all_leases(&self) -> Result<u64> {
        self.limited(queue::release_all_leases(self)).await
    }

    async fn queue_depth(&self) -> Result<(u64, u64, u64)> {
        self.limited(read::queue_depth(self)).await
    }

    async fn corpus_generation(&self, tenant: &TenantId) -> Result<u64> {
        self.limited(read::corpus_generation(self, tenant)).await
    }

    async fn keyword_search(&self, query: KeywordQuery) -> Result<Vec<Hit>> {
        self.limited(keyword::search(self, query)).await
    }

    async fn live_documents(&self, after: Option<&(TenantId, DocumentId)>, limit: u32) -> Result<Vec<LiveDocument>> {
        self.limited(read::live_documents(self, after, limit)).await
    }

    async fn live_count(&self) -> Result<u64> {
        self.limited(read::live_count(self)).await
    }

    async fn indexes(&self) -> Result<Vec<Index>> {
        self.limited(indexes::all(self)).await
    }

    async fn add_index(&self, spec: &IndexSpec, by: Option<&Caller>) -> Result<Index> {
        Ok(indexes::add(self, spec, by).await?)
    }

    async fn serve_index(&self, name: &IndexName, by: Option<&Caller>) -> Result<()> {
        self.limited(indexes::serve(self, name, by)).await
    }

    async fn remove_index(&self, name: &IndexName, by: Option<&Caller>) -> Result<()> {
        Ok(indexes::remove(self, name, by).await?)
    }

    async fn enqueue(&self, kind: JobKind, index: &IndexName, documents: &[(TenantId, DocumentId)]) -> Result<u64> {
        Ok(indexes::enqueue(self, kind, index, documents).await?)
    }

    async fn unfinished(&self, kind: JobKind, index: &IndexName) -> Result<Unfinished> {
        self.limited(indexes::unfinished(self, kind, index)).await
    }

    async fn retry_unfinished(&self, kind: JobKind, index: &IndexName) -> Result<u64> {
        Ok(indexes::retry_unfinished(self, kind, index).await?)
    }

    async fn bodies_in_use(&self, hashes: &[String]) -> Result<Vec<String>> {
        self.limited(read::bodies_in_use(self, hashes)).await
    }

    fn export(&self) -> BoxStream<'_, Result<Record>> {
        export::export(self)
    }

    async fn import(&self, records: BoxStream<'_, Result<Record>>) -> Result<u64> {
        Ok(import::import(self, records).await?)
    }

    async fn close(&self) {
        self.close_connections().await;
    }

    async fn check(&self) -> Result<()> {
        self.limited(self.probe()).await
    }
}
