//! Settings of the local chat model.

use std::path::PathBuf;
#[cfg(feature = "local-llm")]
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A chat model in a GGUF file, run in this process: only in a program that was built with the cargo feature
/// `local-llm`. It answers one request at a time, the others wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocalChatConfig {
    /// The id of a chat model that `ragstone models pull` knows, for example `smollm2-135m-instruct`, or the path of a
    /// file that ends in `.gguf`; empty: none.
    pub model: String,
    /// Where pulled models are kept; absent: `RAGSTONE_MODELS`, or `ragstone/models` in the user's cache directory.
    pub models_dir: Option<PathBuf>,
    /// Its place among the `providers`.
    pub place: Place,
    /// How many processors an answer uses; 0: all but one, at least one. Each step waits for the slowest of them, so one
    /// more than is free makes answers much slower.
    pub threads: usize,
    /// The most tokens of prompt and answer together; 0: what the model was trained for, but at most 8192. Its memory is
    /// taken at the start. A request that needs more is refused, and the next one of the chain answers.
    pub context_tokens: u32,
    /// How many requests may wait for their turn; more are refused, and the next one of the chain answers.
    pub queue: usize,
    /// The longest time from a request to the end of its answer, waiting counted, in milliseconds. An answer under way is
    /// ended there (`llm.stream_limit`); where none has begun, the next one of the chain answers.
    pub timeout_ms: u64,
    /// Where the random numbers start that are drawn at a temperature above 0.
    pub seed: u32,
}

/// Where the local chat model stands in the order of preference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before all providers.
    First,
    /// After all providers; only the sentences quoted from passages come later.
    #[default]
    Last,
}

impl Default for LocalChatConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            models_dir: None,
            place: Place::Last,
            threads: 0,
            context_tokens: 0,
            queue: 8,
            timeout_ms: 60_000,
            seed: 1,
        }
    }
}

impl LocalChatConfig {
    /// Whether there is to be such a model.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.model.is_empty()
    }

    /// Checks the settings, for a start that refuses what cannot work.
    ///
    /// # Errors
    /// One sentence that names the setting; also when this program was built without the feature `local-llm`.
    pub fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Ok(());
        }
        if cfg!(not(feature = "local-llm")) {
            return Err(
                "this program was built without the cargo feature `local-llm`; leave these settings out, or build \
                        with `--features local-llm`"
                    .to_owned(),
            );
        }
        let wrong = |problem: &str| Err(problem.to_owned());
        match self {
            Self { model, .. } if model.is_empty() => wrong("model must be given: it names a model or a .gguf file"),
            Self { threads: 257.., .. } => wrong("threads must be 256 or less"),
            Self { context_tokens: 1..256, .. } => wrong("context_tokens must be 0 or at least 256"),
            Self { queue: 0, .. } => wrong("queue must be at least 1"),
            Self { timeout_ms: 0, .. } => wrong("timeout_ms must be at least 1"),
            _ => Ok(()),
        }
    }

    /// The longest time from a request to the end of its answer.
    #[cfg(feature = "local-llm")]
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The number of threads meant by `threads`.
    #[cfg(feature = "local-llm")]
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |all| all.get().saturating_sub(1).max(1)),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "local-llm")]
    fn mistakes_are_named() {
        let good = || LocalChatConfig { model: "m.gguf".to_owned(), ..LocalChatConfig::default() };
        assert_eq!(good().check(), Ok(()));
        for (wrong, named) in [
            (LocalChatConfig { model: String::new(), threads: 1, ..good() }, "model"),
            (LocalChatConfig { threads: 257, ..good() }, "threads"),
            (LocalChatConfig { context_tokens: 255, ..good() }, "context_tokens"),
            (LocalChatConfig { queue: 0, ..good() }, "queue"),
            (LocalChatConfig { timeout_ms: 0, ..good() }, "timeout_ms"),
        ] {
            assert!(wrong.check().is_err_and(|problem| problem.starts_with(named)), "{named}");
        }
    }

    #[test]
    #[cfg(not(feature = "local-llm"))]
    fn a_program_built_without_it_says_so() {
        assert_eq!(LocalChatConfig::default().check(), Ok(()));
        let refused = LocalChatConfig { model: "m.gguf".to_owned(), ..LocalChatConfig::default() }.check();
        assert!(refused.is_err_and(|problem| problem.contains("built without the cargo feature `local-llm`")));
    }
}
