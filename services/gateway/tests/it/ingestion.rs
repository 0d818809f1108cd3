//! An ingestion service in memory, with the rules of the real one as far as the gateway can see them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use ragstone_core::{Error, ErrorCode, JobId};
use ragstone_proto::v1;
use ragstone_proto::v1::accept_document_request::Part;
use ragstone_proto::v1::ingestion_service_server::IngestionService;
use tonic::{Request, Response, Status, Streaming};

/// Every job ends in these states, one after the other.
pub(crate) const STATES: [v1::JobStatus; 3] = [v1::JobStatus::Queued, v1::JobStatus::Running, v1::JobStatus::Done];

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) header: v1::DocumentHeader,
    pub(crate) body: Vec<u8>,
    pub(crate) version: u64,
    pub(crate) deleted: bool,
}

#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) documents: Mutex<BTreeMap<String, Stored>>,
    pub(crate) jobs: Mutex<Vec<v1::Job>>,
    /// What a search by words finds; it fails without.
    pub(crate) words: Mutex<Option<Vec<v1::Hit>>>,
    /// Refuses every upload with this.
    pub(crate) refuses: Mutex<Option<ErrorCode>>,
    /// A followed job stays where it is.
    pub(crate) stuck: Mutex<bool>,
    /// How long an upload takes, and how many were under way at once.
    pub(crate) delay: Mutex<Duration>,
    pub(crate) under_way: AtomicUsize,
    pub(crate) peak: AtomicUsize,
    /// Who uploaded, and with which idempotency key.
    pub(crate) uploads: Mutex<Vec<(v1::Caller, String)>>,
    /// Pieces that arrived, by size.
    pub(crate) pieces: Mutex<Vec<usize>>,
}

impl Catalog {
    pub(crate) fn stored(&self, id: &str) -> Stored {
        self.documents.lock().unwrap().get(id).unwrap_or_else(|| panic!("no document '{id}'")).clone()
    }

    fn job(&self, kind: v1::JobKind, id: &str, version: u64) -> v1::Job {
        let now = Some(SystemTime::UNIX_EPOCH.into());
        let job = v1::Job {
            job_id: JobId::generate().to_string(),
            kind: kind.into(),
            document_id: id.to_owned(),
            version,
            status: v1::JobStatus::Queued.into(),
            stage: "extract".to_owned(),
            created_at: now,
            updated_at: now,
            ..v1::Job::default()
        };
        self.jobs.lock().unwrap().push(job.clone());
        job
    }

    fn find_job(&self, id: &str) -> Result<v1::Job, Status> {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().find(|job| job.job_id == id).cloned().ok_or_else(|| refuse(ErrorCode::NotFound, "no such job"))
    }

    fn accept(&self, header: v1::DocumentHeader, body: Vec<u8>) -> Result<v1::AcceptDocumentResponse, Status> {
        if let Some(code) = *self.refuses.lock().unwrap() {
            return Err(refuse(code, "refused on purpose"));
        }
        let id = header.document_id.clone();
        let mut documents = self.documents.lock().unwrap();
        let known = documents.get(&id);
        let newest = known.map_or(0, |stored| stored.version);
        let current = known.filter(|stored| !stored.deleted).map_or(0, |stored| stored.version);
        if header.if_version.is_some_and(|wanted| wanted != current) {
            return Err(refuse(ErrorCode::Conflict, "another version is the newest"));
        }
        if known.is_some_and(|stored| !stored.deleted && stored.body == body) {
            let jobs = self.jobs.lock().unwrap();
            let job = jobs.iter().rfind(|job| job.document_id == id).cloned();
            return Ok(v1::AcceptDocumentResponse { job, unchanged: true });
        }
        let version = newest + 1;
        documents.insert(id.clone(), Stored { header, body, version, deleted: false });
        let job = self.job(v1::JobKind::Ingest, &id, version);
        Ok(v1::AcceptDocumentResponse { job: Some(job), unchanged: false })
    }
}

fn refuse(code: ErrorCode, message: &str) -> Status {
    ragstone_rpc::status(Error::new(code, message))
}

fn document(stored: &Stored) -> v1::Document {
    let status = if stored.deleted { v1::DocumentStatus::Deleted } else { v1::DocumentStatus::Ready };
    v1::Document {
        document_id: stored.header.document_id.clone(),
        version: stored.version,
        live_version: Some(stored.version),
        status: status.into(),
        title: stored.header.title.clone(),
        media_type: stored.header.media_type.clone(),
        bytes: stored.body.len() as u64,
        chunks: 1,
        metadata: stored.header.metadata.clone(),
        groups: stored.header.groups.clone(),
        error: String::new(),
        created_at: Some(SystemTime::UNIX_EPOCH.into()),
        updated_at: Some(SystemTime::UNIX_EPOCH.into()),
    }
}

#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Catalog>);

#[tonic::async_trait]
impl IngestionService for Shared {
    type FollowJobStream = BoxStream<'static, Result<v1::FollowJobResponse, Status>>;

    async fn accept_document(
        &self,
        request: Request<Streaming<v1::AcceptDocumentRequest>>,
    ) -> Result<Response<v1::AcceptDocumentResponse>, Status> {
        let now = self.0.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.peak.fetch_max(now, Ordering::SeqCst);
        let delay = *self.0.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|message| message.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        let caller = header.caller.unwrap_or_default();
        assert_eq!(caller.access.clone().unwrap_or_default().tenant, "default");
        self.0.uploads.lock().unwrap().push((caller, header.idempotency_key));
        let mut body = Vec::new();
        while let Some(message) = parts.message().await? {
            let Some(Part::Data(data)) = message.part else { return Err(Status::invalid_argument("no data")) };
            self.0.pieces.lock().unwrap().push(data.len());
            body.extend(data);
        }
        let outcome = self.0.accept(header.document.unwrap_or_default(), body);
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        outcome.map(Response::new)
    }

    async fn tombstone_document(
        &self,
        request: Request<v1::TombstoneDocumentRequest>,
    ) -> Result<Response<v1::TombstoneDocumentResponse>, Status> {
        let message = request.into_inner();
        let mut documents = self.0.documents.lock().unwrap();
        let stored = documents.get_mut(&message.document_id).filter(|stored| !stored.deleted);
        let Some(stored) = stored else { return Err(refuse(ErrorCode::NotFound, "no such document")) };
        if message.if_version.is_some_and(|wanted| wanted != stored.version) {
            return Err(refuse(ErrorCode::Conflict, "another version is the newest"));
        }
        stored.version += 1;
        stored.deleted = true;
        let job = self.0.job(v1::JobKind::Delete, &message.document_id, stored.version);
        Ok(Response::new(v1::TombstoneDocumentResponse { job: Some(job) }))
    }

    async fn read_document(
        &self,
        request: Request<v1::ReadDocumentRequest>,
    ) -> Result<Response<v1::ReadDocumentResponse>, Status> {
        let id = request.into_inner().document_id;
        let documents = self.0.documents.lock().unwrap();
        let stored = documents.get(&id).ok_or_else(|| refuse(ErrorCode::NotFound, "no such document"))?;
        Ok(Response::new(v1::ReadDocumentResponse { document: Some(document(stored)) }))
    }

    async fn scan_documents(
        &self,
        request: Request<v1::ScanDocumentsRequest>,
    ) -> Result<Response<v1::ScanDocumentsResponse>, Status> {
        let message = request.into_inner();
        let wanted = message.status();
        let limit = if message.limit == 0 { 100 } else { message.limit as usize };
        let documents = self.0.documents.lock().unwrap();
        let mut fitting =
            documents.values().filter(|stored| stored.header.document_id > message.cursor).map(document).filter(
                |document| match wanted {
                    v1::DocumentStatus::Unspecified => document.status() != v1::DocumentStatus::Deleted,
                    wanted => document.status() == wanted,
                },
            );
        let page: Vec<_> = fitting.by_ref().take(limit).collect();
        let last = page.last().map(|document| document.document_id.clone());
        let next_cursor = if fitting.next().is_some() { last.unwrap_or_default() } else { String::new() };
        Ok(Response::new(v1::ScanDocumentsResponse { documents: page, next_cursor }))
    }

    async fn read_history(
        &self,
        request: Request<v1::ReadHistoryRequest>,
    ) -> Result<Response<v1::ReadHistoryResponse>, Status> {
        let id = request.into_inner().document_id;
        let documents = self.0.documents.lock().unwrap();
        let stored = documents.get(&id).ok_or_else(|| refuse(ErrorCode::NotFound, "no such document"))?;
        let version = |version| v1::DocumentVersion {
            version,
            status: v1::DocumentStatus::Ready.into(),
            bytes: stored.body.len() as u64,
            chunks: 1,
            content_hash: blake3::hash(&stored.body).to_hex().to_string(),
            error: String::new(),
            created_at: Some(SystemTime::UNIX_EPOCH.into()),
        };
        Ok(Response::new(v1::ReadHistoryResponse { versions: (1..=stored.version).rev().map(version).collect() }))
    }

    async fn search_chunks(
        &self,
        request: Request<v1::SearchChunksRequest>,
    ) -> Result<Response<v1::SearchChunksResponse>, Status> {
        assert!(request.into_inner().access.is_some_and(|access| access.tenant == "default"));
        match self.0.words.lock().unwrap().clone() {
            Some(hits) => Ok(Response::new(v1::SearchChunksResponse { hits })),
            None => Err(refuse(ErrorCode::Unavailable, "the catalog is gone")),
        }
    }

    async fn read_text(&self, request: Request<v1::ReadTextRequest>) -> Result<Response<v1::ReadTextResponse>, Status> {
        let message = request.into_inner();
        let documents = self.0.documents.lock().unwrap();
        let stored = documents.get(&message.document_id).filter(|stored| !stored.deleted);
        let stored = stored.ok_or_else(|| refuse(ErrorCode::NotFound, "no such document"))?;
        let content = String::from_utf8_lossy(&stored.body).into_owned();
        let end = content.chars().count() as u64;
        let chunk = v1::TextChunk { index: 0, content, heading_path: Vec::new(), start: 0, end };
        let chunks = if message.from == 0 { vec![chunk] } else { Vec::new() };
        let (version, title) = (stored.version, stored.header.title.clone());
        Ok(Response::new(v1::ReadTextResponse { version, title, total: 1, chunks }))
    }

    async fn read_job(&self, request: Request<v1::ReadJobRequest>) -> Result<Response<v1::ReadJobResponse>, Status> {
        let job = self.0.find_job(&request.into_inner().job_id)?;
        Ok(Response::new(v1::ReadJobResponse { job: Some(job) }))
    }

    async fn scan_jobs(&self, request: Request<v1::ScanJobsRequest>) -> Result<Response<v1::ScanJobsResponse>, Status> {
        let message = request.into_inner();
        let wanted = message.status();
        let jobs = self.0.jobs.lock().unwrap();
        let fits = |job: &&v1::Job| wanted == v1::JobStatus::Unspecified || job.status() == wanted;
        let jobs = jobs.iter().rev().filter(fits).cloned().collect();
        Ok(Response::new(v1::ScanJobsResponse { jobs, next_cursor: String::new() }))
    }

    async fn follow_job(
        &self,
        request: Request<v1::FollowJobRequest>,
    ) -> Result<Response<Self::FollowJobStream>, Status> {
        let job = self.0.find_job(&request.into_inner().job_id)?;
        let stuck = *self.0.stuck.lock().unwrap();
        let states = stream::iter(STATES.into_iter().take(if stuck { 1 } else { STATES.len() })).map(move |status| {
            Ok(v1::FollowJobResponse { job: Some(v1::Job { status: status.into(), ..job.clone() }) })
        });
        Ok(Response::new(if stuck { states.chain(stream::pending()).boxed() } else { states.boxed() }))
    }

    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Result<Response<v1::RetryJobResponse>, Status> {
        let job = self.0.find_job(&request.into_inner().job_id)?;
        match job.status() {
            v1::JobStatus::Dead | v1::JobStatus::Failed => {
                let job = v1::Job { status: v1::JobStatus::Queued.into(), ..job };
                Ok(Response::new(v1::RetryJobResponse { job: Some(job) }))
            }
            _ => Err(refuse(ErrorCode::Conflict, "the job is neither dead nor failed")),
        }
    }
}
