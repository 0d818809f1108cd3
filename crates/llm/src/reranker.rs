//! Scores passages with a model behind an API: that of text-embeddings-inference, or that of Cohere and Jina.

mod config;
mod reply;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use ragstone_core::ports::Reranker;
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_resilience::Deadline;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use config::{HttpRerankerConfig, RerankApi};

use crate::http::Api;
use crate::retry::Retries;

/// Bytes of an answer for each passage; a server may send the passages back.
const SCORE_BYTES: usize = 512;
/// Bytes of an answer beside its scores.
const FRAME_BYTES: usize = 64 * 1024;
/// In answers and metrics, where the configuration names no model.
const UNNAMED: &str = "reranker";
/// A reranking that is late is worth nothing: one more try is all there is time for.
const RETRIES: usize = 1;

/// A reranker behind an API.
pub struct HttpReranker {
    api: Api,
    retries: Retries,
    slots: Semaphore,
    config: HttpRerankerConfig,
}

impl HttpReranker {
    /// The reranker that `config` describes. It connects at the first call.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, for an unusable configuration; `Internal` when there is no HTTP client.
    pub fn open(config: HttpRerankerConfig) -> Result<Self> {
        config.check().map_err(Error::invalid)?;
        if !config.is_configured() {
            return Err(Error::invalid("base_url of the reranker is missing"));
        }
        Ok(Self {
            api: Api::new(&config.base_url, &config.api_key, config.connect_timeout())?,
            retries: Retries::new("reranker", RETRIES),
            slots: Semaphore::new(config.concurrency),
            config,
        })
    }

    /// Its name.
    #[must_use]
    pub fn model(&self) -> &str {
        if self.config.model.is_empty() { UNNAMED } else { &self.config.model }
    }

    /// One score for each passage, in order, before `deadline`; higher is better.
    ///
    /// # Errors
    /// `RateLimited`, `Unavailable` or `DeadlineExceeded` when the server does not score them in time; `Internal` when it
    /// refuses what is configured or its scores cannot be used.
    pub async fn rerank_by(&self, question: &str, passages: &[String], deadline: Deadline) -> Result<Vec<f32>> {
        let deadline = deadline.cap(self.config.timeout());
        let batches = passages.chunks(self.config.batch_passages);
        let calls: Vec<_> = batches.map(|batch| self.batch(question, batch, deadline)).collect();
        let scores = stream::iter(calls).buffered(self.config.concurrency).try_concat();
        deadline.run(scores).await
    }

    async fn batch(&self, question: &str, passages: &[String], deadline: Deadline) -> Result<Vec<f32>> {
        let _slot = self.slots.acquire().await.map_err(|e| Error::internal("the reranker is closed").with_source(e))?;
        let body = self.body(question, passages);
        let bytes = passages.iter().map(|passage| passage.len() * 2 + SCORE_BYTES).sum::<usize>();
        let call = || async {
            let answer = self.api.post("/rerank", &body, bytes + FRAME_BYTES).await.map_err(too_much)?;
            reply::scores(&answer, passages.len())
        };
        self.retries.run(deadline, call).await
    }

    fn body(&self, question: &str, passages: &[String]) -> Value {
        match self.config.api {
            // What does not fit is judged by its beginning: a score of most of a passage is better than none.
            RerankApi::Tei => json!({"query": question, "texts": passages, "truncate": true}),
            RerankApi::Cohere => json!({
                "model": self.config.model, "query": question, "documents": passages, "top_n": passages.len(),
            }),
        }
    }
}

#[async_trait]
impl Reranker for HttpReranker {
    async fn rerank(&self, question: &str, passages: &[String]) -> Result<Vec<f32>> {
        self.rerank_by(question, passages, Deadline::after(self.config.timeout())).await
    }
}

fn too_much(error: Error) -> Error {
    if error.code != ErrorCode::TooLarge {
        return error;
    }
    Error::internal("the reranker's server takes less at once; lower batch_passages").with_source(error)
}
