//! The gRPC face of the embedder.

use std::time::{Duration, Instant};

use ragstone_core::Error;
use ragstone_core::ports::EmbedKind;
use ragstone_proto::v1::embedding_service_server::EmbeddingService;
use ragstone_proto::{enum_value, v1};
use ragstone_rpc::{deadline, status};
use tonic::{Request, Response, Status};

use crate::cached::Cached;

/// The most texts of one call.
const MAX_TEXTS: usize = 100;

pub(crate) struct Service {
    embedder: Cached,
    tokenizer_json: Vec<u8>,
    timeout: Duration,
}

impl Service {
    pub(crate) fn new(embedder: Cached, tokenizer_json: Vec<u8>, timeout: Duration) -> Self {
        Self { embedder, tokenizer_json, timeout }
    }

    /// Refuses every model but the one there is.
    #[expect(clippy::result_large_err, reason = "tonic's own error type")]
    fn known(&self, model: &str) -> Result<(), Status> {
        let own = &self.embedder.info().model;
        if model.is_empty() || model == own {
            return Ok(());
        }
        Err(status(Error::not_found(format!("there is no embedding model '{model}'; known: {own}"))))
    }
}

#[tonic::async_trait]
impl EmbeddingService for Service {
    #[tracing::instrument(name = "embed", skip_all, fields(texts = request.get_ref().texts.len()))]
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let started = Instant::now();
        let deadline = deadline(&request, self.timeout);
        let request = request.into_inner();
        self.known(&request.model)?;
        let kind = match enum_value(request.kind, "kind").map_err(status)? {
            v1::EmbedKind::Query => EmbedKind::Query,
            v1::EmbedKind::Passage => EmbedKind::Passage,
            v1::EmbedKind::Unspecified => return Err(status(Error::invalid("field 'kind' is missing"))),
        };
        let count = request.texts.len();
        if count == 0 || count > MAX_TEXTS {
            return Err(status(Error::invalid(format!("1 to {MAX_TEXTS} texts can be embedded at once, not {count}"))));
        }
        let vectors = deadline.run(self.embedder.embed(request.texts, kind)).await.map_err(status)?;
        metrics::histogram!("rag_embedding_latency_seconds").record(started.elapsed());
        let info = self.embedder.info();
        Ok(Response::new(v1::EmbedResponse {
            vectors: vectors.into_iter().map(|values| v1::Vector { values }).collect(),
            model: info.model.clone(),
            revision: info.revision.clone(),
        }))
    }

    async fn describe_model(
        &self,
        request: Request<v1::DescribeModelRequest>,
    ) -> Result<Response<v1::DescribeModelResponse>, Status> {
        self.known(&request.get_ref().model)?;
        let info = self.embedder.info();
        let narrow =
            |number: usize| u32::try_from(number).map_err(|e| status(Error::internal("a size").with_source(e)));
        Ok(Response::new(v1::DescribeModelResponse {
            model: info.model.clone(),
            revision: info.revision.clone(),
            dimension: narrow(info.dimension)?,
            max_tokens: narrow(info.max_tokens)?,
            tokenizer_json: self.tokenizer_json.clone(),
            bytes_per_token: 0,
        }))
    }

    async fn rerank(&self, _request: Request<v1::RerankRequest>) -> Result<Response<v1::RerankResponse>, Status> {
        Err(status(Error::not_found("no reranker is configured")))
    }
}
