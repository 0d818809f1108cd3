//! Embeds texts with a model behind an OpenAI-compatible API: in batches, a few at once, never faster than allowed.

mod batch;
mod config;
mod reachable;
mod reply;
mod tokens;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use ragstone_core::ports::{EmbedKind, Embedder, EmbedderInfo};
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_resilience::Deadline;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use config::{Encoding, HttpEmbedderConfig};

use crate::http::Api;
use crate::limits::{Limits, estimate};
use crate::retry::Retries;
use reachable::Reachable;
use tokens::Counter;

/// Bytes of one number of a vector written out, and a little more.
const NUMBER_BYTES: usize = 32;
/// Bytes of an answer beside its vectors.
const FRAME_BYTES: usize = 64 * 1024;
/// What the server is asked to embed just to see whether it does.
const PROBE: &str = "ragstone";
/// Readiness is asked with a second of patience.
const PROBE_TIMEOUT: Duration = Duration::from_millis(900);

/// An embedding model behind an API.
pub struct HttpEmbedder {
    info: EmbedderInfo,
    tokenizer_json: Vec<u8>,
    counter: Counter,
    api: Api,
    limits: Arc<Limits>,
    retries: Retries,
    questions: Semaphore,
    passages: Semaphore,
    reachable: Reachable,
    config: HttpEmbedderConfig,
}

impl HttpEmbedder {
    /// The model that `config` describes; its server is not asked yet. Reads the tokenizer: takes up to a second.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, for an unusable configuration; `Internal` when there is no HTTP client.
    pub fn open(config: HttpEmbedderConfig) -> Result<Self> {
        config.check().map_err(Error::invalid)?;
        if config.is_local() {
            return Err(Error::invalid(format!("base_url of model '{}' is missing", config.id)));
        }
        let (counter, tokenizer_json) = Counter::load(&config)?;
        let info = EmbedderInfo {
            model: config.id.clone(),
            revision: revision(&config),
            dimension: config.dimension,
            max_tokens: counter.longest_text(),
        };
        Ok(Self {
            info,
            tokenizer_json,
            counter,
            api: Api::new(&config.base_url, &config.api_key, config.connect_timeout())?,
            limits: Limits::new(config.requests_per_minute, config.tokens_per_minute),
            retries: Retries::new(&config.id, config.retries),
            questions: Semaphore::new(config.concurrency),
            passages: Semaphore::new(config.concurrency),
            reachable: Reachable::default(),
            config,
        })
    }

    /// The model's tokenizer in the JSON form of the `tokenizers` library; empty when it is not known.
    #[must_use]
    pub fn tokenizer_json(&self) -> &[u8] {
        &self.tokenizer_json
    }

    /// How many bytes count as one token where the tokenizer is not known; 0 where it is.
    #[must_use]
    pub fn bytes_per_token(&self) -> u32 {
        if self.tokenizer_json.is_empty() { self.config.bytes_per_token } else { 0 }
    }

    /// Whether the server answers with vectors of the configured length, judged by a call not long ago where there was one.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer; `InvalidArgument`, naming the model and its keys, when it refuses what is
    /// configured or its vectors have another length.
    pub async fn check(&self) -> Result<()> {
        let outcome = match self.reachable.known() {
            Some(known) => known,
            None => self.probe(Deadline::after(PROBE_TIMEOUT)).await,
        };
        let id = &self.info.model;
        outcome.or_else(|error| match error.code {
            // It answers, only not now; or it is our own limit.
            ErrorCode::RateLimited => Ok(()),
            ErrorCode::Internal | ErrorCode::InvalidArgument | ErrorCode::TooLarge => Err(Error::invalid(format!(
                "embedding model '{id}': {} (its keys base_url, api_key, model, dimension)",
                error.message
            ))),
            _ => Err(Error::unavailable(format!("embedding model '{id}': {}", error.message))),
        })
    }

    async fn probe(&self, deadline: Deadline) -> Result<()> {
        let texts = [format!("{}{PROBE}", self.config.query_prefix)];
        let outcome = self.call(&texts, deadline).await.map(drop);
        self.reachable.note(&outcome);
        outcome
    }

    /// One vector for each text, in order, before `deadline`.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty text and for one longer than the model reads (nothing is cut); `RateLimited` when the
    /// limits do not allow it before the deadline; `Unavailable` or `DeadlineExceeded` when the server does not answer;
    /// `Internal` when it refuses what is configured or its vectors cannot be used.
    pub async fn embed_by(&self, texts: Vec<String>, kind: EmbedKind, deadline: Deadline) -> Result<Vec<Vec<f32>>> {
        let deadline = deadline.cap(self.config.total_timeout());
        let texts = &self.prepare(texts, kind).await?;
        let slots = match kind {
            EmbedKind::Query => &self.questions,
            EmbedKind::Passage => &self.passages,
        };
        let batches = batch::split(texts, self.config.batch_texts, self.config.batch_bytes);
        let embedded = stream::iter(batches)
            .map(|batch| self.batch(texts, batch, slots, deadline))
            .buffered(self.config.concurrency)
            .try_concat();
        deadline.run(embedded).await
    }

    /// The texts as the model reads them, none of them too long.
    async fn prepare(&self, mut texts: Vec<String>, kind: EmbedKind) -> Result<Vec<String>> {
        if let Some(index) = texts.iter().position(String::is_empty) {
            return Err(Error::invalid(format!("text {index} is empty")));
        }
        for text in &mut texts {
            text.insert_str(0, tokens::prefix(&self.config, kind));
        }
        let counter = self.counter.clone();
        let checked = tokio::task::spawn_blocking(move || {
            texts.iter().enumerate().try_for_each(|(index, text)| counter.check(index, text)).map(|()| texts)
        });
        checked.await.map_err(|e| Error::internal("counting tokens failed").with_source(e))?
    }

    /// One call for a part of the texts, repeated alone where that may help.
    async fn batch(
        &self,
        texts: &[String],
        part: Range<usize>,
        slots: &Semaphore,
        deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>> {
        let _slot = slots.acquire().await.map_err(|e| Error::internal("the embedder is closed").with_source(e))?;
        let Some(texts) = texts.get(part) else { return Ok(Vec::new()) };
        let outcome = self.retries.run(deadline, || self.call(texts, deadline)).await;
        self.reachable.note(&outcome);
        outcome
    }

    async fn call(&self, texts: &[String], deadline: Deadline) -> Result<Vec<Vec<f32>>> {
        let reservation = self.limits.admit(estimate(texts.iter().map(String::len).sum()), deadline).await?;
        let limit = texts.len() * self.info.dimension * NUMBER_BYTES + FRAME_BYTES;
        let body = self.body(texts);
        let call = self.api.post("/embeddings", &body, limit);
        let answer = match deadline.cap(self.config.call_timeout()).run(call).await {
            Err(error) if error.code == ErrorCode::DeadlineExceeded && !deadline.remaining().is_zero() => {
                Err(Error::unavailable("the model's server does not answer in time").with_source(error))
            }
            Err(error) if error.code == ErrorCode::TooLarge => Err(too_much(texts.len(), error)),
            outcome => outcome,
        };
        let read = answer.and_then(|answer| reply::vectors(&answer, texts.len(), self.info.dimension));
        match read {
            Ok((vectors, counted)) => {
                if let Some(tokens) = counted {
                    reservation.settle(tokens);
                    let provider = self.info.model.clone();
                    let counter = metrics::counter!("rag_tokens_total", "provider" => provider, "kind" => "embedding");
                    counter.increment(u64::from(tokens));
                }
                Ok(vectors)
            }
            Err(error) => Err(error),
        }
    }

    fn body(&self, texts: &[String]) -> Value {
        let encoding = match self.config.encoding {
            Encoding::Float => "float",
            Encoding::Base64 => "base64",
        };
        let mut body = json!({"model": self.config.model(), "input": texts, "encoding_format": encoding});
        if self.config.send_dimension {
            body["dimensions"] = self.info.dimension.into();
        }
        body
    }
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    async fn embed(&self, texts: Vec<String>, kind: EmbedKind) -> Result<Vec<Vec<f32>>> {
        self.embed_by(texts, kind, Deadline::after(self.config.total_timeout())).await
    }
}

/// The server takes less than was sent, though our own count allows it: of one text that is the text's fault.
fn too_much(texts: usize, error: Error) -> Error {
    if texts == 1 {
        return Error::invalid("a text is longer than the model reads, its server says").with_source(error);
    }
    Error::internal("the model's server takes less at once; lower batch_texts or batch_bytes").with_source(error)
}

/// The configured revision, or one that changes with everything known that changes vectors.
fn revision(config: &HttpEmbedderConfig) -> String {
    if !config.revision.is_empty() {
        return config.revision.clone();
    }
    let url = reqwest::Url::parse(&config.base_url).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let port = url.as_ref().and_then(|url| url.port_or_known_default()).unwrap_or_default().to_string();
    let dimension = config.dimension.to_string();
    let mut hasher = blake3::Hasher::new();
    for part in [host, &port, config.model(), &dimension, &config.query_prefix, &config.passage_prefix] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(16).collect()
}
