//! The `[generation]` section of the configuration.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use ragstone_config::Secret;
use ragstone_llm::{ProviderConfig, is_openai};
use ragstone_models::LocalChatConfig;
use ragstone_rpc::ServiceConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The generation service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// Language models behind OpenAI-compatible APIs, in order of preference; empty: the one that `OPENAI_BASE_URL`
    /// names, and where that is not set either, answers quote the passages' own sentences.
    pub providers: Vec<ProviderConfig>,
    /// A language model in this process.
    pub local: LocalChatConfig,
    /// The model to ask at `OPENAI_BASE_URL`.
    pub model: String,
    /// The most tokens of an answer, where the caller does not say.
    pub max_tokens: u32,
    /// The most tokens a caller may ask for.
    pub max_tokens_limit: u32,
    /// Sampling temperature, 0 to 2, where the caller does not say.
    pub temperature: f32,
    /// How many of the newest turns of a conversation count.
    pub history_turns: usize,
    /// How many tokens of them count, a token for four bytes.
    pub history_tokens: usize,
    /// The longest a language model may take to make a follow-up question stand alone, in milliseconds. After that, and
    /// where no model is configured, words of the conversation are added to the question.
    pub rewrite_timeout_ms: u64,
    /// The longest a request may take, in milliseconds, where its caller sets no sooner deadline.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7103)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9103)),
            providers: Vec::new(),
            local: LocalChatConfig::default(),
            model: "gpt-4o-mini".to_owned(),
            max_tokens: 512,
            max_tokens_limit: 4096,
            temperature: 0.2,
            history_turns: 20,
            history_tokens: 2_000,
            rewrite_timeout_ms: 3_000,
            request_timeout_ms: 60_000,
        }
    }
}

impl Config {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn rewrite_timeout(&self) -> Duration {
        Duration::from_millis(self.rewrite_timeout_ms)
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
        let given = |key| env(key).filter(|value| !value.is_empty());
        let key = || Secret::from(given("OPENAI_API_KEY").unwrap_or_default());
        if let Some(base_url) = given("OPENAI_BASE_URL").filter(|_| self.providers.is_empty()) {
            let (name, model) = ("openai".to_owned(), self.model.clone());
            self.providers.push(ProviderConfig { name, base_url, model, api_key: key(), ..ProviderConfig::default() });
            return;
        }
        // A key must not go to any other place than the one it was made for.
        for provider in self.providers.iter_mut().filter(|p| p.api_key.is_empty() && is_openai(&p.base_url)) {
            provider.api_key = key();
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for provider in &self.providers {
            provider.check().map_err(|problem| format!("providers: {problem}"))?;
            if !names.insert(provider.name.as_str()) {
                return Err(format!("providers: the name '{}' is used twice", provider.name));
            }
        }
        self.local.check().map_err(|problem| format!("local: {problem}"))?;
        if self.max_tokens == 0 || self.max_tokens > self.max_tokens_limit {
            return Err(format!("max_tokens must be 1 to max_tokens_limit ({})", self.max_tokens_limit));
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err("temperature must be 0 to 2".to_owned());
        }
        for (key, value) in
            [("request_timeout_ms", self.request_timeout_ms), ("rewrite_timeout_ms", self.rewrite_timeout_ms)]
        {
            if value == 0 {
                return Err(format!("{key} must be at least 1"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn with_env(json: &str, env: &[(&str, &str)]) -> Config {
        let mut config: Config = serde_json::from_str(json).unwrap();
        config.apply_env(&|key| env.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned()));
        config
    }

    #[test]
    fn the_environment_names_a_provider_only_where_none_is_configured() {
        let env = [("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"), ("OPENAI_API_KEY", "sk")];
        let config = with_env(r#"{"model": "m"}"#, &env);
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.providers[0].base_url.as_str(), config.providers[0].model.as_str()), (env[0].1, "m"));
        assert!(!config.providers[0].api_key.is_empty());
        assert!(with_env("{}", &env[1..]).providers.is_empty(), "a key alone sends no document anywhere");
        let own = r#"{"providers": [{"name": "a", "base_url": "http://h/v1", "model": "x"}]}"#;
        let config = with_env(own, &env);
        assert_eq!((config.providers.len(), config.providers[0].name.as_str()), (1, "a"));
        assert!(config.providers[0].api_key.is_empty(), "the key is not for this host");
    }

    #[test]
    fn the_key_goes_to_its_own_host() {
        let own = r#"{"providers": [{"name": "a", "base_url": "https://api.openai.com/v1", "model": "x"}]}"#;
        assert!(!with_env(own, &[("OPENAI_API_KEY", "sk")]).providers[0].api_key.is_empty());
    }

    #[test]
    #[cfg(not(feature = "local-llm"))]
    fn a_local_model_is_refused_where_it_was_not_built_in() {
        let refused = with_env(r#"{"local": {"model": "m.gguf"}}"#, &[]).check();
        assert!(refused.is_err_and(|problem| problem.starts_with("local: ") && problem.contains("`local-llm`")));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        for (json, named) in [
            (r#"{"max_tokens": 0}"#, "max_tokens"),
            (r#"{"max_tokens": 9, "max_tokens_limit": 8}"#, "max_tokens_limit"),
            (r#"{"temperature": 2.5}"#, "temperature"),
            (r#"{"request_timeout_ms": 0}"#, "request_timeout_ms"),
            (r#"{"rewrite_timeout_ms": 0}"#, "rewrite_timeout_ms"),
            (r#"{"providers": [{"name": "a"}]}"#, "base_url"),
        ] {
            assert!(with_env(json, &[]).check().unwrap_err().contains(named), "{json}");
        }
        let provider = r#"{"name": "a", "base_url": "http://h", "model": "x"}"#;
        let twice = format!(r#"{{"providers": [{provider}, {provider}]}}"#);
        assert!(with_env(&twice, &[]).check().unwrap_err().contains("twice"));
        assert!(serde_json::from_str::<Config>(r#"{"provider": []}"#).is_err());
    }
}
