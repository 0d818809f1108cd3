//! The configuration of an embedding model behind an OpenAI-compatible API.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::check_server;
use ragstone_config::Secret;

/// The most texts of one call: what the API's own limits and ours have in common.
const MAX_TEXTS: usize = 100;

/// How a server is asked to write vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As numbers, which every server knows.
    #[default]
    Float,
    /// As the base64 of 32-bit numbers: a third of the bytes.
    Base64,
}

/// An embedding model: behind an OpenAI-compatible API, or a local one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpEmbedderConfig {
    /// Its id, by which requests and indexes name it.
    pub id: String,
    /// Where its API begins, for example `http://tei:8080/v1`; empty: a local model of this id, and nothing else is set.
    pub base_url: String,
    /// The API's key, sent as bearer token; empty: none.
    pub api_key: Secret,
    /// The model's name at the API; empty: its id.
    pub model: String,
    /// Length of its vectors. Checked at the start when the server answers.
    pub dimension: usize,
    /// Whether the server is asked for vectors of this length (`dimensions`), which only some models can shorten.
    pub send_dimension: bool,
    /// The longest text it reads, in its tokens, special tokens and prefix included. Longer ones are refused, never cut.
    pub max_tokens: usize,
    /// Its Hugging Face `tokenizer.json`, which chunks are counted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_file: Option<PathBuf>,
    /// Without a tokenizer: how many bytes of UTF-8 count as one token. With 1 no text is too long, as no tokenizer makes
    /// more than one token of a byte (but for a few ligatures that some spell out, such as U+FDFA); with more, chunks are
    /// larger, and one that is dense in tokens may be refused or, by servers that do so, cut.
    pub bytes_per_token: u32,
    /// Name of the weights; another one means that the vectors are others. Empty: made of host, model, dimension, prefixes.
    pub revision: String,
    /// What is put before a question.
    pub query_prefix: String,
    /// What is put before a passage.
    pub passage_prefix: String,
    /// How the server is asked to write vectors: `float` or `base64`.
    pub encoding: Encoding,
    /// The most texts of one call, 1 to 100.
    pub batch_texts: usize,
    /// The most bytes of text of one call; a longer text goes alone.
    pub batch_bytes: usize,
    /// How many calls for passages are under way at once; as many more for questions, which wait for no passage.
    pub concurrency: usize,
    /// How many calls may be made in a minute; 0: as many as come.
    pub requests_per_minute: u32,
    /// How many tokens may be sent in a minute; 0: as many as come.
    pub tokens_per_minute: u32,
    /// How often a call that failed is made again.
    pub retries: usize,
    /// The longest time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest time for one call, in milliseconds.
    pub call_timeout_ms: u64,
    /// The longest time for all calls and waits of a request whose caller sets no sooner deadline, in milliseconds.
    pub total_timeout_ms: u64,
}

impl Default for HttpEmbedderConfig {
    fn default() -> Self {
        Self {
            id: String::new(),
            base_url: String::new(),
            api_key: Secret::default(),
            model: String::new(),
            dimension: 0,
            send_dimension: false,
            max_tokens: 512,
            tokenizer_file: None,
            bytes_per_token: 1,
            revision: String::new(),
            query_prefix: String::new(),
            passage_prefix: String::new(),
            encoding: Encoding::Float,
            // What text-embeddings-inference takes unless told otherwise.
            batch_texts: 32,
            batch_bytes: 64 * 1024,
            concurrency: 4,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            retries: 2,
            connect_timeout_ms: 1_000,
            call_timeout_ms: 20_000,
            total_timeout_ms: 60_000,
        }
    }
}

impl HttpEmbedderConfig {
    /// Whether it is a local model.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.base_url.is_empty()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let id = &self.id;
        if id.is_empty() {
            return Err("id is missing".to_owned());
        }
        if self.is_local() {
            return self.check_local();
        }
        check_server(&format!("model '{id}'"), &self.base_url, &self.api_key)?;
        for (key, broken, rule) in [
            ("dimension", self.dimension == 0, "must be set"),
            ("bytes_per_token", self.bytes_per_token == 0, "must be at least 1"),
            ("batch_texts", !(1..=MAX_TEXTS).contains(&self.batch_texts), "must be 1 to 100"),
            ("batch_bytes", self.batch_bytes == 0, "must be at least 1"),
            ("concurrency", !(1..=1000).contains(&self.concurrency), "must be 1 to 1000"),
            ("retries", self.retries > 10, "must be 10 or less"),
            ("connect_timeout_ms", self.connect_timeout_ms == 0, "must be at least 1"),
            ("call_timeout_ms", self.call_timeout_ms == 0, "must be at least 1"),
            ("total_timeout_ms", self.total_timeout_ms == 0, "must be at least 1"),
        ] {
            if broken {
                return Err(format!("{key} of model '{id}' {rule}"));
            }
        }
        Ok(())
    }

    /// A local model takes nothing but its id from here: a setting that would do nothing is a mistake.
    fn check_local(&self) -> Result<(), String> {
        let own = |config: &Self| serde_json::to_value(config).unwrap_or_default();
        if own(self) == own(&Self { id: self.id.clone(), ..Self::default() }) {
            return Ok(());
        }
        Err(format!("base_url of model '{}' is missing, though other keys of a model behind an API are set", self.id))
    }

    /// The model's name at the API.
    pub(super) fn model(&self) -> &str {
        if self.model.is_empty() { &self.id } else { &self.model }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(super) fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config(change: impl FnOnce(&mut HttpEmbedderConfig)) -> HttpEmbedderConfig {
        let (id, base_url) = ("m".to_owned(), "http://h/v1".to_owned());
        let mut config = HttpEmbedderConfig { id, base_url, dimension: 3, ..HttpEmbedderConfig::default() };
        change(&mut config);
        config
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(config(|_| {}).check(), Ok(()));
        assert_eq!(config(|c| (c.base_url, c.dimension) = (String::new(), 0)).check(), Ok(()), "a local one");
        for (key, wrong) in [
            ("id", config(|c| c.id.clear())),
            ("base_url", config(|c| c.base_url.clear())),
            ("base_url", config(|c| c.base_url = "h".into())),
            ("dimension", config(|c| c.dimension = 0)),
            ("bytes_per_token", config(|c| c.bytes_per_token = 0)),
            ("batch_texts", config(|c| c.batch_texts = 101)),
            ("call_timeout_ms", config(|c| c.call_timeout_ms = 0)),
        ] {
            assert!(wrong.check().unwrap_err().contains(key), "{key}");
        }
        assert!(serde_json::from_str::<HttpEmbedderConfig>(r#"{"dimensions": 3}"#).is_err());
    }
}
