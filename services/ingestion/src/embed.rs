//! The embedding service as the pipeline sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable as _};
use ragstone_core::{Error, ErrorCode, IndexSpec, Result};
use ragstone_proto::v1::embedding_service_client::EmbeddingServiceClient;
use ragstone_proto::v1::{DescribeModelRequest, DescribeModelResponse, EmbedKind, EmbedRequest};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use ragstone_text::{ChunkConfig, Chunker, TokenCounter};
use tonic::transport::Channel;

use crate::policy::of_peer;

/// The longest a batch may take; a loaded machine embeds 100 full chunks in well under a minute.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A tokenizer of a large vocabulary is some 20 MB of JSON.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What the pipeline needs to know of a model.
#[derive(Debug)]
pub(crate) struct Model {
    /// The index its vectors go into.
    pub(crate) spec: IndexSpec,
    /// Cuts texts in the model's own tokens.
    pub(crate) chunker: Chunker,
}

/// Turns chunks into vectors.
#[async_trait]
pub(crate) trait Embedding: Send + Sync {
    /// The model `id` as it is now; an empty id: the service's default model.
    ///
    /// # Errors
    /// `NotFound` when the service has no such model.
    async fn model(&self, id: &str) -> Result<Arc<Model>>;

    /// One vector of this model for each text, in order, checked to be usable.
    ///
    /// # Errors
    /// `Internal` for vectors of another length, number or revision, and for ones that are not finite or all zero.
    async fn embed(&self, model: &Model, texts: Vec<String>) -> Result<Vec<Vec<f32>>>;
}

/// The embedding service over gRPC.
pub(crate) struct RemoteEmbedding {
    client: EmbeddingServiceClient<Channel>,
    chunks: ChunkConfig,
    /// Each fetched once, and again after a batch came from another revision.
    models: Mutex<HashMap<String, Arc<Model>>>,
}

impl RemoteEmbedding {
    pub(crate) fn new(channel: Channel, chunks: ChunkConfig) -> Self {
        let client = EmbeddingServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Self { client, chunks, models: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Model>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, model: &str, texts: Vec<String>) -> Result<(Vec<Vec<f32>>, String)> {
        let message = EmbedRequest { texts, kind: EmbedKind::Passage.into(), model: model.to_owned() };
        let answer = self.client.clone().embed(request(message, Deadline::after(TIMEOUT))).await.map_err(of_peer)?;
        let answer = answer.into_inner();
        Ok((answer.vectors.into_iter().map(|vector| vector.values).collect(), answer.revision))
    }
}

#[async_trait]
impl Embedding for RemoteEmbedding {
    async fn model(&self, id: &str) -> Result<Arc<Model>> {
        let known = self.known().get(id).cloned();
        if let Some(model) = known {
            return Ok(model);
        }
        let message = request(DescribeModelRequest { model: id.to_owned() }, Deadline::after(TIMEOUT));
        let answer = self.client.clone().describe_model(message).await.map_err(of_peer)?.into_inner();
        let chunks = self.chunks.clone();
        // Reading a large tokenizer takes most of a second.
        let model = tokio::task::spawn_blocking(move || build_model(&answer, &chunks))
            .await
            .map_err(|e| Error::internal("reading the model's tokenizer failed").with_source(e))??;
        let model = Arc::new(model);
        self.known().insert(id.to_owned(), model.clone());
        Ok(model)
    }

    async fn embed(&self, model: &Model, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        let spec = &model.spec;
        // A full queue is no failure: without this a long document would rarely get through a busy hour.
        let backoff = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(6);
        let (vectors, revision) = (|| self.call(&spec.model, texts.clone()))
            .retry(backoff.with_jitter())
            .when(|error| error.code == ErrorCode::RateLimited)
            .await?;
        if revision != spec.revision {
            self.known().retain(|_, known| known.spec.model != spec.model);
            return Err(Error::internal("the embedding model changed in the middle of a document"));
        }
        check_vectors(&vectors, texts.len(), spec.dimension)?;
        Ok(vectors)
    }
}

fn build_model(answer: &DescribeModelResponse, chunks: &ChunkConfig) -> Result<Model> {
    // The document is not to blame for the model's settings: whatever is wrong here is not an invalid argument.
    let unusable = |e: Error| Error::internal("the embedding model cannot be used").with_source(e);
    let counter = if answer.tokenizer_json.is_empty() {
        TokenCounter::by_bytes(answer.bytes_per_token).map_err(unusable)?
    } else {
        TokenCounter::from_tokenizer_json(&answer.tokenizer_json).map_err(unusable)?
    };
    let chunker = Chunker::new(counter, chunks, answer.max_tokens as usize).map_err(unusable)?;
    Ok(Model { spec: IndexSpec::of(&answer.model, &answer.revision, answer.dimension as usize), chunker })
}

/// Refuses what would poison the index.
fn check_vectors(vectors: &[Vec<f32>], texts: usize, dimension: usize) -> Result<()> {
    let problem = if vectors.len() != texts {
        format!("{} vectors for {texts} texts", vectors.len())
    } else if let Some(odd) = vectors.iter().find(|vector| vector.len() != dimension) {
        format!("a vector of {} instead of {dimension} values", odd.len())
    } else if vectors.iter().flatten().any(|value| !value.is_finite()) {
        "a vector that is not finite".to_owned()
    } else if vectors.iter().any(|vector| vector.iter().all(|value| *value == 0.0)) {
        "a vector of zeros".to_owned()
    } else {
        return Ok(());
    };
    metrics::counter!("rag_errors_total", "type" => "embedding_invalid").increment(1);
    Err(Error::internal(format!("the embedding service sent {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_vectors_are_refused() {
        let good = vec![vec![0.6, 0.8], vec![1.0, 0.0]];
        assert!(check_vectors(&good, 2, 2).is_ok());
        assert!(check_vectors(&good, 3, 2).is_err());
        assert!(check_vectors(&good, 2, 3).is_err());
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(check_vectors(&[vec![bad, 0.0]], 1, 2).is_err());
        }
        assert!(check_vectors(&[vec![0.0, 0.0]], 1, 2).is_err());
    }
}
