//! The `[embedding]` section of the configuration.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ragstone_cache::CacheConfig;
use ragstone_config::Secret;
use ragstone_llm::{HttpEmbedderConfig, HttpRerankerConfig, is_openai};
use ragstone_models::{DEFAULT_EMBEDDER, EmbedderConfig};
use ragstone_rpc::ServiceConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The embedding service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// The default model: the id of one of `models`, or a local model of the manifest.
    pub model: String,
    /// The other models, and the default one where it is behind an API. An index can be built with any of them.
    pub models: Vec<HttpEmbedderConfig>,
    /// Where models are stored; without it `RAGSTONE_MODELS`, else the user's cache directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models_dir: Option<PathBuf>,
    /// Threads and queue of each local model.
    pub local: EmbedderConfig,
    /// Scores passages against a question.
    pub reranker: HttpRerankerConfig,
    /// Vectors of texts seen before.
    pub cache: CacheConfig,
    /// How long such a vector is kept, in seconds; 0: as long as there is room. Vectors never go stale: this only makes room
    /// in a Redis that removes nothing by itself.
    pub cache_ttl_seconds: u64,
    /// The longest a request may take, in milliseconds, where its caller sets no sooner deadline.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7101)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9101)),
            model: DEFAULT_EMBEDDER.to_owned(),
            models: Vec::new(),
            models_dir: None,
            local: EmbedderConfig::default(),
            reranker: HttpRerankerConfig::default(),
            cache: CacheConfig::default(),
            cache_ttl_seconds: 7 * 24 * 3600,
            request_timeout_ms: 60_000,
        }
    }
}

impl Config {
    /// Every model, the default one first; local ones have nothing but their id.
    pub(crate) fn all_models(&self) -> Vec<HttpEmbedderConfig> {
        let is_default = |model: &&HttpEmbedderConfig| model.id == self.model;
        let local = || HttpEmbedderConfig { id: self.model.clone(), ..HttpEmbedderConfig::default() };
        let first = self.models.iter().find(is_default).cloned().unwrap_or_else(local);
        let others = self.models.iter().filter(|model| !is_default(model)).cloned();
        std::iter::once(first).chain(others).collect()
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn cache_ttl(&self) -> Option<Duration> {
        (self.cache_ttl_seconds > 0).then(|| Duration::from_secs(self.cache_ttl_seconds))
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn admin_listen(&self) -> SocketAddr {
        self.admin_listen
    }

    fn apply_env(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        let Some(key) = env("OPENAI_API_KEY").filter(|key| !key.is_empty()) else { return };
        for model in self.models.iter_mut().filter(|model| model.api_key.is_empty() && is_openai(&model.base_url)) {
            model.api_key = Secret::from(key.clone());
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut ids = HashSet::new();
        for model in &self.models {
            model.check().map_err(|problem| format!("models: {problem}"))?;
            if !ids.insert(model.id.as_str()) {
                return Err(format!("models: the id '{}' is used twice", model.id));
            }
        }
        self.reranker.check().map_err(|problem| format!("reranker: {problem}"))?;
        self.cache.validate().map_err(|error| error.to_string())?;
        if self.request_timeout_ms == 0 {
            return Err("request_timeout_ms must be at least 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    fn ids(config: &Config) -> Vec<(String, bool)> {
        config.all_models().into_iter().map(|model| (model.is_local(), model.id)).map(|(l, id)| (id, l)).collect()
    }

    #[test]
    fn the_default_model_comes_first_wherever_it_is_named() {
        assert_eq!(ids(&Config::default()), [(DEFAULT_EMBEDDER.to_owned(), true)]);
        let models = r#""models": [{"id": "a", "base_url": "http://h", "dimension": 3}, {"id": "b"}]"#;
        let further = config(&format!("{{{models}}}"));
        assert_eq!(further.check(), Ok(()));
        assert_eq!(ids(&further), [(DEFAULT_EMBEDDER.into(), true), ("a".into(), false), ("b".into(), true)]);
        let remote = config(&format!(r#"{{"model": "a", {models}}}"#));
        assert_eq!(ids(&remote), [("a".into(), false), ("b".into(), true)]);
    }

    #[test]
    fn mistakes_are_named() {
        for (json, named) in [
            (r#"{"request_timeout_ms": 0}"#, "request_timeout_ms"),
            (r#"{"models": [{"id": "a"}, {"id": "a"}]}"#, "twice"),
            (r#"{"models": [{"id": "a", "dimension": 3}]}"#, "models: base_url"),
            (r#"{"models": [{"id": "a", "base_url": "http://h"}]}"#, "models: dimension"),
            (r#"{"reranker": {"base_url": "h"}}"#, "reranker: base_url"),
            (r#"{"cache": {"redis_pool_size": 0}}"#, "cache.redis_pool_size"),
        ] {
            assert!(config(json).check().unwrap_err().contains(named), "{json}");
        }
    }

    #[test]
    fn the_key_goes_to_its_own_host() {
        let mut both = config(
            r#"{"models": [{"id": "a", "base_url": "https://api.openai.com/v1"}, {"id": "b", "base_url": "http://h"}]}"#,
        );
        both.apply_env(&|name| (name == "OPENAI_API_KEY").then(|| "sk".to_owned()));
        assert_eq!(both.models.iter().map(|model| model.api_key.is_empty()).collect::<Vec<_>>(), [false, true]);
    }
}
