//! The gRPC edge: `ragstone.v1.RagService` over the same query engine and document functions as REST.

mod convert;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use ragstone_core::{DocumentId, Error, ErrorCode, Priority, Result, Scope};
use ragstone_proto::v1::put_document_request::Part;
use ragstone_proto::v1::rag_service_server::RagService;
use ragstone_proto::{enum_value, metadata_from_struct, required, v1};
use ragstone_resilience::Deadline;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::access::feedback;
use crate::app::App;
use crate::documents::{self, Draft, Put, idempotency_key};
use crate::extract::page_limit;
use crate::limits::Kind;
use crate::problem::disclose;
use crate::search::Found;
use crate::{jobs, query, search};

/// The service.
pub(crate) struct Rag {
    app: Arc<App>,
}

impl Rag {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The sooner of the caller's deadline and our own for such calls.
    fn deadline<T>(&self, request: &Request<T>) -> Deadline {
        ragstone_rpc::deadline(request, self.app.config.query_timeout())
    }

    async fn query_events(&self, request: &Request<()>, message: v1::QueryRequest) -> Result<query::Events> {
        let caller = self.caller(request.metadata(), Scope::Query).await?;
        let input = convert::query_input(message)?;
        query::start(Arc::clone(&self.app), caller, input, self.deadline(request)).await
    }

    async fn caller(&self, metadata: &MetadataMap, scope: Scope) -> Result<ragstone_core::Principal> {
        self.app.authenticate(metadata.as_ref(), scope).await
    }
}

/// An error as a status, counted and stripped of what is not for callers.
fn refuse(error: Error) -> Status {
    ragstone_rpc::status(disclose(error))
}

#[async_trait]
impl RagService for Rag {
    type QueryStreamStream = BoxStream<'static, Result<v1::QueryStreamResponse, Status>>;
    type WatchJobStream = BoxStream<'static, Result<v1::WatchJobResponse, Status>>;

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        let (request, message) = split(request);
        let events = self.query_events(&request, message).await.map_err(refuse)?;
        let answer = query::rest::finish(events).await.map_err(refuse)?;
        Ok(Response::new(convert::answer(answer)))
    }

    async fn query_stream(
        &self,
        request: Request<v1::QueryStreamRequest>,
    ) -> Result<Response<Self::QueryStreamStream>, Status> {
        let (request, message) = split(request);
        let message = required(message.query, "query").map_err(refuse)?;
        let events = self.query_events(&request, message).await.map_err(refuse)?;
        Ok(Response::new(events.map_ok(convert::event).map_err(refuse).boxed()))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let (request, message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Query).await?;
            search::search(&self.app, &caller, convert::search_input(message)?, deadline).await
        };
        let Found { result, trail } = deadline.run(work).await.map_err(refuse)?;
        Ok(Response::new(v1::SearchResponse {
            hits: result.hits.into_iter().map(Into::into).collect(),
            shards: Some(result.shards.into()),
            degraded: trail.degraded,
            timings: Some(convert::timings(&trail.timings)),
            trace_id: ragstone_telemetry::trace_id().unwrap_or_default(),
        }))
    }

    async fn put_document(
        &self,
        request: Request<Streaming<v1::PutDocumentRequest>>,
    ) -> Result<Response<v1::PutDocumentResponse>, Status> {
        let deadline = ragstone_rpc::deadline(&request, self.app.config.upload_timeout());
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Ingest).await?;
            let idempotency_key = idempotency_key(request.metadata().as_ref())?;
            let limit = self.app.config.max_body_bytes;
            let _memory = self.app.uploads.reserve(limit).await?;
            let (header, body) = receive(request.into_inner(), limit).await?;
            let if_version = header.if_version;
            let draft = draft(header, body).await?;
            self.app.admit(&caller, Kind::Upload { documents: 1 }).await?;
            let (document, _fetched) = draft.complete(&self.app).await?;
            let how = Put { if_version, priority: Priority::Normal, idempotency_key };
            documents::put(&self.app, &caller, document, how, deadline).await
        };
        deadline.run(work).await.map(Response::new).map_err(refuse)
    }

    async fn get_document(
        &self,
        request: Request<v1::GetDocumentRequest>,
    ) -> Result<Response<v1::GetDocumentResponse>, Status> {
        let (request, message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Query).await?;
            let id = DocumentId::new(message.document_id)?;
            documents::get(&self.app, &caller, &id, deadline).await
        };
        let document = deadline.run(work).await.map_err(refuse)?;
        Ok(Response::new(v1::GetDocumentResponse { document: Some(document) }))
    }

    async fn list_documents(
        &self,
        request: Request<v1::ListDocumentsRequest>,
    ) -> Result<Response<v1::ListDocumentsResponse>, Status> {
        let (request, mut message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Query).await?;
            message.limit = page_limit(Some(message.limit).filter(|limit| *limit > 0))?;
            enum_value::<v1::DocumentStatus>(message.status, "status")?;
            documents::list(&self.app, &caller, message, deadline).await
        };
        deadline.run(work).await.map(Response::new).map_err(refuse)
    }

    async fn delete_document(
        &self,
        request: Request<v1::DeleteDocumentRequest>,
    ) -> Result<Response<v1::DeleteDocumentResponse>, Status> {
        let (request, message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Ingest).await?;
            let id = DocumentId::new(message.document_id)?;
            if message.if_version == Some(0) {
                return Err(Error::invalid("field 'if_version' must be at least 1 for a deletion"));
            }
            let key = idempotency_key(request.metadata().as_ref())?;
            self.app.admit(&caller, Kind::Upload { documents: 1 }).await?;
            documents::delete(&self.app, &caller, &id, message.if_version, key, deadline).await
        };
        let job = deadline.run(work).await.map_err(refuse)?;
        Ok(Response::new(v1::DeleteDocumentResponse { job: Some(job) }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let (request, message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Query).await?;
            jobs::get(&self.app, &caller, message.job_id, deadline).await
        };
        let job = deadline.run(work).await.map_err(refuse)?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn feedback(&self, request: Request<v1::FeedbackRequest>) -> Result<Response<v1::FeedbackResponse>, Status> {
        let (request, message) = split(request);
        let deadline = self.deadline(&request);
        let work = async {
            let caller = self.caller(request.metadata(), Scope::Query).await?;
            let rating = enum_value::<v1::Rating>(message.rating, "rating")?;
            feedback::give(&self.app, &caller, message.query_id, rating, message.comment, deadline).await
        };
        deadline.run(work).await.map_err(refuse)?;
        Ok(Response::new(v1::FeedbackResponse {}))
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let caller = self.caller(request.metadata(), Scope::Query).await.map_err(refuse)?;
        let id = request.into_inner().job_id;
        let states = jobs::follow(&self.app, &caller, id).await.map_err(refuse)?;
        let states = states.map_ok(|job| v1::WatchJobResponse { job: Some(job) }).map_err(refuse);
        Ok(Response::new(states.boxed()))
    }
}

/// The request without its message, and the message.
fn split<T>(request: Request<T>) -> (Request<()>, T) {
    let (metadata, extensions, message) = request.into_parts();
    (Request::from_parts(metadata, extensions, ()), message)
}

/// Header and bytes of an upload.
async fn receive(mut parts: Streaming<v1::PutDocumentRequest>, limit: usize) -> Result<(v1::DocumentHeader, Vec<u8>)> {
    let broken = |status: Status| Error::invalid("the upload broke off").with_source(status);
    let first = parts.message().await.map_err(broken)?.and_then(|message| message.part);
    let Some(Part::Header(header)) = first else {
        return Err(Error::invalid("the first message of an upload must be its header"));
    };
    let mut body = Vec::new();
    while let Some(message) = parts.message().await.map_err(broken)? {
        match message.part {
            Some(Part::Data(data)) if body.len() + data.len() > limit => {
                return Err(Error::new(
                    ErrorCode::TooLarge,
                    format!("the document is over the limit of {limit} bytes"),
                ));
            }
            Some(Part::Data(data)) => body.extend_from_slice(&data),
            _ => return Err(Error::invalid("after its header an upload has only data")),
        }
    }
    Ok((header, body))
}

/// The document of an upload: its bytes are read as REST reads a body of that type, then the header's fields apply.
async fn draft(header: v1::DocumentHeader, body: Vec<u8>) -> Result<Draft> {
    let id = Some(header.document_id).filter(|id| !id.is_empty()).map(DocumentId::new).transpose()?;
    let mut document = documents::interpret(&header.media_type, body.into(), id).await?.one()?;
    if !header.title.is_empty() {
        document.title = header.title;
    }
    if let Some(metadata) = header.metadata {
        document.metadata = metadata_from_struct(metadata);
    }
    if !header.groups.is_empty() {
        document.groups = header.groups;
    }
    Ok(document)
}
