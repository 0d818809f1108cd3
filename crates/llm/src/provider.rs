//! The configuration of one language model behind an OpenAI-compatible API.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::check_server;
use ragstone_config::Secret;

/// One language model behind an OpenAI-compatible API.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Its name in metrics and logs: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Where its API begins, for example `https://api.openai.com/v1`.
    pub base_url: String,
    /// Its key, sent as bearer token; empty: none.
    pub api_key: Secret,
    /// The model to ask.
    pub model: String,
    /// What a million tokens of prompts cost, in US dollars.
    pub price_per_million_prompt_tokens: f64,
    /// What a million tokens of answers cost, in US dollars.
    pub price_per_million_completion_tokens: f64,
    /// How many requests it may be sent in a minute; 0: as many as come. Beyond that the next provider is asked.
    pub requests_per_minute: u32,
    /// How many tokens of prompts and answers it may be sent and asked for in a minute; 0: as many as come. A request is
    /// estimated before it is sent, a token for four bytes and all of the answer it may give, and corrected afterwards.
    pub tokens_per_minute: u32,
    /// The longest time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest time until the first token, in milliseconds.
    pub first_token_timeout_ms: u64,
    /// The longest silence within an answer, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The longest time for an answer, in milliseconds.
    pub total_timeout_ms: u64,
    /// The longest answer, in bytes.
    pub max_answer_bytes: usize,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            base_url: String::new(),
            api_key: Secret::default(),
            model: String::new(),
            price_per_million_prompt_tokens: 0.0,
            price_per_million_completion_tokens: 0.0,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            connect_timeout_ms: 1_000,
            first_token_timeout_ms: 10_000,
            idle_timeout_ms: 10_000,
            total_timeout_ms: 120_000,
            max_answer_bytes: 64 * 1024,
        }
    }
}

impl ProviderConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || !self.name.chars().all(named) {
            return Err(format!("name '{}' must be letters, digits, '-', '_' or '.'", self.name));
        }
        check_server(&format!("provider '{}'", self.name), &self.base_url, &self.api_key)?;
        if self.model.is_empty() {
            return Err(format!("model is missing for provider '{}'", self.name));
        }
        for (key, price) in [
            ("price_per_million_prompt_tokens", self.price_per_million_prompt_tokens),
            ("price_per_million_completion_tokens", self.price_per_million_completion_tokens),
        ] {
            if !(0.0..=1e9).contains(&price) {
                return Err(format!("{key} of provider '{}' must not be below 0", self.name));
            }
        }
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_token_timeout_ms", self.first_token_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("total_timeout_ms", self.total_timeout_ms),
            ("max_answer_bytes", self.max_answer_bytes as u64),
        ] {
            if value == 0 {
                return Err(format!("{key} of provider '{}' must not be 0", self.name));
            }
        }
        Ok(())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn first_token_timeout(&self) -> Duration {
        Duration::from_millis(self.first_token_timeout_ms.min(self.total_timeout_ms))
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config(change: impl FnOnce(&mut ProviderConfig)) -> ProviderConfig {
        let mut config = ProviderConfig {
            name: "local".into(),
            base_url: "http://127.0.0.1:8000/v1".into(),
            model: "m".into(),
            ..ProviderConfig::default()
        };
        change(&mut config);
        config
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(config(|_| {}).check(), Ok(()));
        for (key, wrong) in [
            ("name", config(|c| c.name = "my model".into())),
            ("base_url", config(|c| c.base_url = "localhost".into())),
            ("base_url", config(|c| c.base_url = "file:///etc".into())),
            ("model", config(|c| c.model.clear())),
            ("api_key", config(|c| c.api_key = Secret::from("a\nb".to_owned()))),
            ("idle_timeout_ms", config(|c| c.idle_timeout_ms = 0)),
            ("price_per_million_completion_tokens", config(|c| c.price_per_million_completion_tokens = -1.0)),
            ("price_per_million_prompt_tokens", config(|c| c.price_per_million_prompt_tokens = f64::NAN)),
        ] {
            assert!(wrong.check().unwrap_err().contains(key), "{key}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_keys_are_not_dumped() {
        assert!(serde_json::from_str::<ProviderConfig>(r#"{"modle": "x"}"#).is_err());
        let dumped = serde_json::to_string(&config(|c| c.api_key = Secret::from("sk-hush".to_owned()))).unwrap();
        assert!(!dumped.contains("hush"), "{dumped}");
    }
}
