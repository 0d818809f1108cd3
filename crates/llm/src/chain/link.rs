//! A model of the chain, with what it may be asked and what it costs.

use std::sync::Arc;

use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatRequest, Result, Usage};

use crate::limits::{Limits, estimate};
use crate::{OpenAiChat, ProviderConfig};

const MILLION: f64 = 1e6;

/// A chat model with its limits and prices.
#[derive(Clone)]
pub struct Provider {
    pub(super) model: Arc<dyn ChatModel>,
    pub(super) limits: Arc<Limits>,
    pub(super) price: Price,
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Price {
    prompt: f64,
    completion: f64,
}

impl Provider {
    /// The provider that `config` describes. It connects at the first request.
    ///
    /// # Errors
    /// As [`OpenAiChat::new`].
    pub fn open(config: ProviderConfig) -> Result<Self> {
        let limits = Limits::new(config.requests_per_minute, config.tokens_per_minute);
        let price = Price {
            prompt: config.price_per_million_prompt_tokens,
            completion: config.price_per_million_completion_tokens,
        };
        Ok(Self { model: Arc::new(OpenAiChat::new(config)?), limits, price })
    }
}

impl From<Arc<dyn ChatModel>> for Provider {
    /// A model without limits that costs nothing.
    fn from(model: Arc<dyn ChatModel>) -> Self {
        Self { model, limits: Limits::new(0, 0), price: Price::default() }
    }
}

impl Price {
    /// What so many tokens cost, in US dollars.
    pub(super) fn of(self, usage: Usage) -> f64 {
        let prompt = f64::from(usage.prompt_tokens) * self.prompt;
        (prompt + f64::from(usage.completion_tokens) * self.completion) / MILLION
    }
}

/// A provider's place in the chain.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) provider: Provider,
    /// Whether it only stands in when every model proper has failed.
    pub(super) stand_in: bool,
}

impl Link {
    pub(super) fn name(&self) -> &str {
        self.provider.model.name()
    }
}

/// How many tokens a prompt has, roughly.
pub(super) fn prompt_tokens(request: &ChatRequest) -> u32 {
    estimate(request.prompt.system.len() + request.prompt.user.len())
}
