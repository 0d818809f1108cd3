//! The configuration of a reranker behind an API.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::check_server;
use ragstone_config::Secret;

/// How a reranker is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RerankApi {
    /// As text-embeddings-inference has it: `{query, texts}`, answered by a list of `{index, score}`.
    #[default]
    Tei,
    /// As Cohere, Jina and vLLM have it: `{model, query, documents, top_n}`, answered by `{results: [{index,
    /// relevance_score}]}`.
    Cohere,
}

/// A reranker behind an API.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpRerankerConfig {
    /// How it is asked: `tei` (text-embeddings-inference) or `cohere` (Cohere, Jina, vLLM).
    pub api: RerankApi,
    /// Where its API begins: `/rerank` is put behind it, for example `http://tei:8080` or `https://api.jina.ai/v1`; empty:
    /// there is no reranker.
    pub base_url: String,
    /// The API's key, sent as bearer token; empty: none.
    pub api_key: Secret,
    /// The model to ask; only `cohere` sends it.
    pub model: String,
    /// The most passages of one call; more are scored in several calls at once.
    pub batch_passages: usize,
    /// How many calls are under way at once.
    pub concurrency: usize,
    /// The longest time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest time for a whole request, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for HttpRerankerConfig {
    fn default() -> Self {
        Self {
            api: RerankApi::Tei,
            base_url: String::new(),
            api_key: Secret::default(),
            model: String::new(),
            // What text-embeddings-inference takes unless told otherwise.
            batch_passages: 32,
            concurrency: 4,
            connect_timeout_ms: 1_000,
            timeout_ms: 5_000,
        }
    }
}

impl HttpRerankerConfig {
    /// Whether there is one.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.base_url.is_empty()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.is_configured() {
            check_server("the reranker", &self.base_url, &self.api_key)?;
            if self.api == RerankApi::Cohere && self.model.is_empty() {
                return Err("model of the reranker is missing, which api = \"cohere\" needs".to_owned());
            }
        }
        for (key, value) in [
            ("batch_passages", self.batch_passages as u64),
            ("concurrency", self.concurrency as u64),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("timeout_ms", self.timeout_ms),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return Err(format!("{key} of the reranker must be 1 to 1000000"));
            }
        }
        Ok(())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let read = |json: &str| serde_json::from_str::<HttpRerankerConfig>(json);
        assert_eq!(HttpRerankerConfig::default().check(), Ok(()));
        assert_eq!(read(r#"{"api": "tei", "base_url": "http://h"}"#).unwrap().check(), Ok(()));
        for (key, json) in [
            ("base_url", r#"{"base_url": "h"}"#),
            ("model", r#"{"base_url": "http://h", "api": "cohere"}"#),
            ("batch_passages", r#"{"batch_passages": 0}"#),
            ("timeout_ms", r#"{"timeout_ms": 0}"#),
        ] {
            assert!(read(json).unwrap().check().unwrap_err().contains(key), "{key}");
        }
        assert!(read(r#"{"api": "jina"}"#).is_err() && read(r#"{"url": "http://h"}"#).is_err());
    }
}
