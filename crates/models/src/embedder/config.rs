//! Settings of the local embedder.

use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the local embedder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedderConfig {
    /// How many batches run at once, one thread each; 0: as many as there are processors. One more thread serves
    /// only questions, so that they need not wait for a batch of passages to end.
    pub threads: usize,
    /// How many texts may wait; more are refused with `rate_limited`.
    pub queue_texts: usize,
    /// Largest batch in tokens, padding counted. A text longer than this runs alone.
    pub batch_tokens: usize,
}

impl Default for EmbedderConfig {
    fn default() -> Self {
        Self { threads: 0, queue_texts: 1024, batch_tokens: 640 }
    }
}

impl EmbedderConfig {
    /// Checks the settings, for a start that refuses what cannot work.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the setting.
    pub fn validate(&self) -> Result<()> {
        let wrong = |problem: &str| Err(Error::invalid(format!("embedder settings: {problem}")));
        match self {
            Self { threads: 257.., .. } => wrong("threads must be 256 or less"),
            Self { queue_texts: 0, .. } => wrong("queue_texts must be at least 1"),
            Self { batch_tokens: 0, .. } => wrong("batch_tokens must be at least 1"),
            _ => Ok(()),
        }
    }

    /// The number of threads meant by `threads`.
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
