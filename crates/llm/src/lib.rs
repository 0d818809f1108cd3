//! Language models behind an OpenAI-compatible API, and the chain that tries them in order.

mod api_key;
mod chain;
mod openai;
mod provider;

pub use api_key::ApiKey;
pub use chain::{ChainPolicy, ChatChain};
pub use openai::OpenAiChat;
pub use provider::ProviderConfig;
