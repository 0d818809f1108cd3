//! `ragstone.v1.IngestionService`: messages in, domain calls, messages out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::try_unfold;
use futures::{Stream, StreamExt as _};
use ragstone_core::ports::{Catalog, DocumentFilter, JobFilter, PageRequest};
use ragstone_core::{DocumentId, Error, KeywordQuery, Result};
use ragstone_proto::v1::accept_document_request::Part;
use ragstone_proto::v1::ingestion_service_server::IngestionService;
use ragstone_proto::v1::{self, DocumentHeader};
use ragstone_proto::{caller, enum_value, metadata_from_struct, required, uuid_job};
use ragstone_rpc::{deadline, error_from, status};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::accept::{Acceptor, Offer};
use crate::follow::{Changes, follow};

/// The longest an upload may take, and anything else but following.
const UPLOAD_LIMIT: Duration = Duration::from_secs(300);
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The most hits of one search.
const MAX_K: u32 = 100;
/// Items of a page where the caller does not say.
const DEFAULT_PAGE: u32 = 100;

/// The service.
pub(crate) struct Grpc {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) acceptor: Acceptor,
    pub(crate) changes: Changes,
    pub(crate) shutdown: CancellationToken,
}

impl Grpc {
    async fn upload(&self, mut stream: Streaming<v1::AcceptDocumentRequest>) -> Result<v1::AcceptDocumentResponse> {
        let first = stream.message().await.map_err(error_from)?.and_then(|message| message.part);
        let Some(Part::Header(header)) = first else {
            return Err(Error::invalid("the first message of an upload must be its header"));
        };
        let caller = caller(header.caller)?;
        let offer = offer(required(header.document, "document")?, header.idempotency_key);
        let traceparent = ragstone_telemetry::current_traceparent();
        let body = try_unfold(stream, |mut stream| async move {
            match stream.message().await.map_err(error_from)? {
                None => Ok(None),
                Some(v1::AcceptDocumentRequest { part: Some(Part::Data(data)) }) => Ok(Some((data.into(), stream))),
                Some(_) => Err(Error::invalid("after the header an upload consists of data")),
            }
        });
        let accepted = self.acceptor.accept(caller, offer, body, traceparent).await?;
        Ok(v1::AcceptDocumentResponse { job: Some(accepted.job.into()), unchanged: accepted.unchanged })
    }

    async fn tombstone(&self, message: v1::TombstoneDocumentRequest) -> Result<v1::TombstoneDocumentResponse> {
        let (caller, document) = (caller(message.caller)?, DocumentId::new(message.document_id)?);
        let job = self.acceptor.delete(caller, &document, message.if_version, message.idempotency_key).await?;
        let job = job.ok_or_else(|| no_document(&document))?;
        Ok(v1::TombstoneDocumentResponse { job: Some(job.into()) })
    }

    async fn document(&self, message: v1::ReadDocumentRequest) -> Result<v1::ReadDocumentResponse> {
        let (caller, document) = (caller(message.caller)?, DocumentId::new(message.document_id)?);
        let found = self.catalog.document(&caller, &document).await?.ok_or_else(|| no_document(&document))?;
        Ok(v1::ReadDocumentResponse { document: Some(found.into()) })
    }

    async fn documents(&self, message: v1::ScanDocumentsRequest) -> Result<v1::ScanDocumentsResponse> {
        let status = enum_value::<v1::DocumentStatus>(message.status, "status")?.into();
        let page = page(message.limit, message.cursor);
        let caller = caller(message.caller)?;
        let found = self.catalog.documents(&caller, DocumentFilter { status }, page).await?;
        let documents = found.items.into_iter().map(Into::into).collect();
        Ok(v1::ScanDocumentsResponse { documents, next_cursor: found.next_cursor.unwrap_or_default() })
    }

    async fn history(&self, message: v1::ReadHistoryRequest) -> Result<v1::ReadHistoryResponse> {
        let (caller, document) = (caller(message.caller)?, DocumentId::new(message.document_id)?);
        let versions = self.catalog.history(&caller, &document).await?;
        if versions.is_empty() {
            return Err(no_document(&document));
        }
        Ok(v1::ReadHistoryResponse { versions: versions.into_iter().map(Into::into).collect() })
    }

    async fn text(&self, message: v1::ReadTextRequest) -> Result<v1::ReadTextResponse> {
        let (caller, document) = (caller(message.caller)?, DocumentId::new(message.document_id)?);
        let limit = page_size(message.limit);
        let text = self.catalog.live_text(&caller, &document, message.from, limit).await?;
        Ok(text.ok_or_else(|| no_document(&document))?.into())
    }

    async fn job(&self, message: v1::ReadJobRequest) -> Result<v1::ReadJobResponse> {
        let (caller, id) = (caller(message.caller)?, uuid_job(&message.job_id)?);
        let job = self.catalog.job(&caller, id).await?;
        let job = job.ok_or_else(|| Error::not_found(format!("there is no job '{id}'")))?;
        Ok(v1::ReadJobResponse { job: Some(job.into()) })
    }

    async fn jobs(&self, message: v1::ScanJobsRequest) -> Result<v1::ScanJobsResponse> {
        let status = enum_value::<v1::JobStatus>(message.status, "status")?.into();
        let page = page(message.limit, message.cursor);
        let found = self.catalog.jobs(&caller(message.caller)?, JobFilter { status }, page).await?;
        let jobs = found.items.into_iter().map(Into::into).collect();
        Ok(v1::ScanJobsResponse { jobs, next_cursor: found.next_cursor.unwrap_or_default() })
    }

    async fn search_chunks(&self, message: v1::SearchChunksRequest) -> Result<v1::SearchChunksResponse> {
        if message.k == 0 || message.k > MAX_K {
            return Err(Error::invalid(format!("k must be 1 to {MAX_K}, not {}", message.k)));
        }
        let query = KeywordQuery {
            access: required(message.access, "access")?.try_into()?,
            text: message.query,
            k: message.k as usize,
            filter: message.filter.unwrap_or_default().try_into()?,
        };
        let hits = self.catalog.keyword_search(query).await?;
        Ok(v1::SearchChunksResponse { hits: hits.into_iter().map(Into::into).collect() })
    }

    async fn retry(&self, message: v1::RetryJobRequest) -> Result<v1::RetryJobResponse> {
        let job = self.catalog.retry(&caller(message.caller)?, uuid_job(&message.job_id)?).await?;
        self.changes.work_added();
        Ok(v1::RetryJobResponse { job: Some(job.into()) })
    }
}

fn offer(header: DocumentHeader, idempotency_key: String) -> Offer {
    Offer {
        document_id: header.document_id,
        media_type: header.media_type,
        title: header.title,
        metadata: header.metadata.map(metadata_from_struct).unwrap_or_default(),
        groups: header.groups,
        if_version: header.if_version,
        priority: v1::Priority::try_from(header.priority).unwrap_or_default().into(),
        idempotency_key,
    }
}

pub(crate) fn page_size(limit: u32) -> u32 {
    if limit == 0 { DEFAULT_PAGE } else { limit }
}

pub(crate) fn page(limit: u32, cursor: String) -> PageRequest {
    PageRequest { limit: page_size(limit), cursor: (!cursor.is_empty()).then_some(cursor) }
}

fn no_document(document: &DocumentId) -> Error {
    Error::not_found(format!("there is no document '{document}'"))
}

/// Runs a call within its caller's deadline, or `limit`, and tells its error as a status.
pub(crate) async fn within<M, T, F>(
    request: Request<M>,
    limit: Duration,
    call: impl FnOnce(M) -> F,
) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<T>>,
{
    let deadline = deadline(&request, limit);
    deadline.run(call(request.into_inner())).await.map(Response::new).map_err(status)
}

#[tonic::async_trait]
impl IngestionService for Grpc {
    type FollowJobStream = Pin<Box<dyn Stream<Item = Result<v1::FollowJobResponse, Status>> + Send>>;

    async fn accept_document(
        &self,
        request: Request<Streaming<v1::AcceptDocumentRequest>>,
    ) -> Result<Response<v1::AcceptDocumentResponse>, Status> {
        within(request, UPLOAD_LIMIT, |stream| self.upload(stream)).await
    }

    async fn tombstone_document(
        &self,
        request: Request<v1::TombstoneDocumentRequest>,
    ) -> Result<Response<v1::TombstoneDocumentResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.tombstone(message)).await
    }

    async fn read_document(
        &self,
        request: Request<v1::ReadDocumentRequest>,
    ) -> Result<Response<v1::ReadDocumentResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.document(message)).await
    }

    async fn scan_documents(
        &self,
        request: Request<v1::ScanDocumentsRequest>,
    ) -> Result<Response<v1::ScanDocumentsResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.documents(message)).await
    }

    async fn read_history(
        &self,
        request: Request<v1::ReadHistoryRequest>,
    ) -> Result<Response<v1::ReadHistoryResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.history(message)).await
    }

    async fn read_text(&self, request: Request<v1::ReadTextRequest>) -> Result<Response<v1::ReadTextResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.text(message)).await
    }

    async fn read_job(&self, request: Request<v1::ReadJobRequest>) -> Result<Response<v1::ReadJobResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.job(message)).await
    }

    async fn scan_jobs(&self, request: Request<v1::ScanJobsRequest>) -> Result<Response<v1::ScanJobsResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.jobs(message)).await
    }

    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Result<Response<v1::RetryJobResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.retry(message)).await
    }

    async fn search_chunks(
        &self,
        request: Request<v1::SearchChunksRequest>,
    ) -> Result<Response<v1::SearchChunksResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.search_chunks(message)).await
    }

    async fn follow_job(
        &self,
        request: Request<v1::FollowJobRequest>,
    ) -> Result<Response<Self::FollowJobStream>, Status> {
        let message = request.into_inner();
        let caller = caller(message.caller).map_err(status)?;
        let id = uuid_job(&message.job_id).map_err(status)?;
        let states = follow(self.catalog.clone(), caller, id, &self.changes, self.shutdown.clone());
        let states = states.map(|state| state.map(|job| v1::FollowJobResponse { job: Some(job.into()) }));
        Ok(Response::new(Box::pin(states.map(|state| state.map_err(status)))))
    }
}
