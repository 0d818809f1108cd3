//! The gRPC face of the models and the reranker.

use std::time::{Duration, Instant};

use ragstone_core::ports::EmbedKind;
use ragstone_core::{Error, Result};
use ragstone_llm::HttpReranker;
use ragstone_proto::v1::embedding_service_server::EmbeddingService;
use ragstone_proto::{enum_value, v1};
use ragstone_resilience::Deadline;
use ragstone_rpc::{deadline, status};
use tonic::{Request, Response, Status};

use crate::models::Models;

/// The most texts or passages of one call.
const MAX_TEXTS: usize = 100;

pub(crate) struct Service {
    models: Models,
    reranker: Option<HttpReranker>,
    timeout: Duration,
}

impl Service {
    pub(crate) fn new(models: Models, reranker: Option<HttpReranker>, timeout: Duration) -> Self {
        Self { models, reranker, timeout }
    }

    async fn embedded(&self, request: v1::EmbedRequest, deadline: Deadline) -> Result<v1::EmbedResponse> {
        let started = Instant::now();
        let kind = match enum_value(request.kind, "kind")? {
            v1::EmbedKind::Query => EmbedKind::Query,
            v1::EmbedKind::Passage => EmbedKind::Passage,
            v1::EmbedKind::Unspecified => return Err(Error::invalid("field 'kind' is missing")),
        };
        check_count(request.texts.len(), "texts")?;
        let model = self.models.get(&request.model)?;
        let vectors = deadline.run(model.embed(request.texts, kind, deadline)).await?;
        metrics::histogram!("rag_embedding_latency_seconds").record(started.elapsed());
        let info = model.info();
        Ok(v1::EmbedResponse {
            vectors: vectors.into_iter().map(|values| v1::Vector { values }).collect(),
            model: info.model.clone(),
            revision: info.revision.clone(),
        })
    }

    fn described(&self, model: &str) -> Result<v1::DescribeModelResponse> {
        let model = self.models.get(model)?;
        let (info, engine) = (model.info(), model.engine());
        let narrow = |number: usize| u32::try_from(number).map_err(|e| Error::internal("a size").with_source(e));
        Ok(v1::DescribeModelResponse {
            model: info.model.clone(),
            revision: info.revision.clone(),
            dimension: narrow(info.dimension)?,
            max_tokens: narrow(info.max_tokens)?,
            tokenizer_json: engine.tokenizer_json().to_vec(),
            bytes_per_token: engine.bytes_per_token(),
        })
    }

    async fn scored(&self, request: v1::RerankRequest, deadline: Deadline) -> Result<v1::RerankResponse> {
        let started = Instant::now();
        let Some(reranker) = &self.reranker else {
            return Err(Error::not_found("no reranker is configured (embedding.reranker.base_url)"));
        };
        check_count(request.passages.len(), "passages")?;
        if request.query.trim().is_empty() {
            return Err(Error::invalid("field 'query' is missing"));
        }
        let scores = reranker.rerank_by(&request.query, &request.passages, deadline).await?;
        metrics::histogram!("rag_rerank_latency_seconds").record(started.elapsed());
        Ok(v1::RerankResponse { scores, model: reranker.model().to_owned() })
    }
}

fn check_count(count: usize, what: &str) -> Result<()> {
    if (1..=MAX_TEXTS).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid(format!("1 to {MAX_TEXTS} {what} can be sent at once, not {count}")))
}

#[tonic::async_trait]
impl EmbeddingService for Service {
    #[tracing::instrument(name = "embed", skip_all, fields(texts = request.get_ref().texts.len()))]
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let deadline = deadline(&request, self.timeout);
        self.embedded(request.into_inner(), deadline).await.map(Response::new).map_err(status)
    }

    async fn describe_model(
        &self,
        request: Request<v1::DescribeModelRequest>,
    ) -> Result<Response<v1::DescribeModelResponse>, Status> {
        self.described(&request.get_ref().model).map(Response::new).map_err(status)
    }

    #[tracing::instrument(name = "rerank", skip_all, fields(passages = request.get_ref().passages.len()))]
    async fn rerank(&self, request: Request<v1::RerankRequest>) -> Result<Response<v1::RerankResponse>, Status> {
        let deadline = deadline(&request, self.timeout);
        self.scored(request.into_inner(), deadline).await.map(Response::new).map_err(status)
    }
}
