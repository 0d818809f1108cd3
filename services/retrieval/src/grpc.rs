//! The gRPC face of the vector indexes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{Error, ErrorCode, IndexSpec, Result, SearchResult};
use ragstone_proto::v1::retrieval_service_server::RetrievalService;
use ragstone_proto::{index_name, v1};
use ragstone_rpc::{deadline, status};
use tonic::{Request, Response, Status};

use crate::requests::{ids, points, vector_query};

/// Searches and writes (here), and the indexes themselves (`admin.rs`).
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) indexes: Arc<dyn VectorIndexes>,
    timeout: Duration,
}

impl Service {
    pub(crate) fn new(indexes: Arc<dyn VectorIndexes>, timeout: Duration) -> Self {
        Self { indexes, timeout }
    }

    /// The index a request names; an empty name means the one that serves.
    pub(crate) async fn index(&self, name: String) -> Result<Arc<dyn VectorStore>> {
        self.indexes.open(index_name(name)?.as_ref()).await
    }

    /// Runs a call within its caller's deadline and counts what fails in the store as `kind`.
    pub(crate) async fn within<M, T, F>(
        &self,
        request: Request<M>,
        kind: &'static str,
        call: impl FnOnce(M) -> F,
    ) -> Result<Response<T>, Status>
    where
        F: Future<Output = Result<T>>,
    {
        self.within_limit(request, self.timeout, kind, call).await
    }

    /// The same with another limit where the caller sets no sooner deadline.
    pub(crate) async fn within_limit<M, T, F>(
        &self,
        request: Request<M>,
        limit: Duration,
        kind: &'static str,
        call: impl FnOnce(M) -> F,
    ) -> Result<Response<T>, Status>
    where
        F: Future<Output = Result<T>>,
    {
        let deadline = deadline(&request, limit);
        deadline.run(call(request.into_inner())).await.map(Response::new).map_err(|error| failed(error, kind))
    }

    async fn search(&self, request: v1::RetrieveRequest) -> Result<v1::RetrieveResponse> {
        let name = index_name(request.index.clone())?;
        let query = vector_query(request)?;
        let serving = match self.indexes.open(None).await {
            Ok(serving) => serving,
            // Nothing was ever ingested: nothing can be found, and nothing is missing.
            Err(error) if error.code == ErrorCode::NotFound => return Ok(response(SearchResult::default(), None)),
            Err(error) => return Err(error),
        };
        let spec = serving.spec().clone();
        let asked = match name {
            Some(name) if name != spec.name => self.indexes.open(Some(&name)).await?,
            _ => serving,
        };
        Ok(response(asked.search(query).await?, Some(spec)))
    }
}

fn response(result: SearchResult, serving: Option<IndexSpec>) -> v1::RetrieveResponse {
    v1::RetrieveResponse {
        hits: result.hits.into_iter().map(Into::into).collect(),
        shards: Some(result.shards.into()),
        serving: serving.map(Into::into),
    }
}

#[tonic::async_trait]
impl RetrievalService for Service {
    #[tracing::instrument(name = "retrieve", skip_all, fields(mode = request.get_ref().mode, k = request.get_ref().k))]
    async fn retrieve(&self, request: Request<v1::RetrieveRequest>) -> Result<Response<v1::RetrieveResponse>, Status> {
        let started = Instant::now();
        let outcome = self.within(request, "retrieval", |request| self.search(request)).await;
        metrics::histogram!("rag_retrieval_latency_seconds").record(started.elapsed());
        outcome
    }

    #[tracing::instrument(name = "stage_chunks", skip_all, fields(chunks = request.get_ref().chunks.len()))]
    async fn stage_chunks(
        &self,
        request: Request<v1::StageChunksRequest>,
    ) -> Result<Response<v1::StageChunksResponse>, Status> {
        let call = async |request: v1::StageChunksRequest| {
            let index = request.index.clone();
            let points = points(request)?;
            self.index(index).await?.upsert_staged(points).await?;
            Ok(v1::StageChunksResponse {})
        };
        self.within(request, "index_write", call).await
    }

    #[tracing::instrument(name = "publish_version", skip_all, fields(version = request.get_ref().version))]
    async fn publish_version(
        &self,
        request: Request<v1::PublishVersionRequest>,
    ) -> Result<Response<v1::PublishVersionResponse>, Status> {
        let call = async |request: v1::PublishVersionRequest| {
            let (tenant, document) = ids(request.tenant, request.document_id)?;
            if request.chunks == 0 {
                return Err(Error::invalid("field 'chunks' is missing"));
            }
            let index = self.index(request.index).await?;
            // What becomes visible must already be on disk, and that it is visible too before anyone is told.
            index.flush(&tenant, &document).await?;
            index.publish(&tenant, &document, request.version, request.chunks).await?;
            index.flush(&tenant, &document).await?;
            Ok(v1::PublishVersionResponse {})
        };
        self.within(request, "index_write", call).await
    }

    #[tracing::instrument(name = "remove_versions", skip_all, fields(below = request.get_ref().below))]
    async fn remove_versions(
        &self,
        request: Request<v1::RemoveVersionsRequest>,
    ) -> Result<Response<v1::RemoveVersionsResponse>, Status> {
        let call = async |request: v1::RemoveVersionsRequest| {
            let (tenant, document) = ids(request.tenant, request.document_id)?;
            let index = self.index(request.index).await?;
            index.remove_versions(&tenant, &document, request.below).await?;
            index.flush(&tenant, &document).await?;
            Ok(v1::RemoveVersionsResponse {})
        };
        self.within(request, "index_write", call).await
    }
}

/// Counts a failure of the store; what the caller did wrong, or can mend, is not one.
fn failed(error: Error, kind: &'static str) -> Status {
    if !matches!(error.code, ErrorCode::InvalidArgument | ErrorCode::NotFound | ErrorCode::Conflict) {
        metrics::counter!("rag_errors_total", "type" => kind).increment(1);
        tracing::warn!(error = error.chain(), "the vector store failed");
    }
    status(error)
}
