//! Models behind OpenAI-compatible APIs: chat and the chain that tries providers in order, embeddings, reranking.

mod chain;
mod embedder;
mod http;
mod limits;
mod openai;
mod provider;
mod reranker;
mod retry;

pub use chain::{ChainPolicy, ChatChain, Provider};
pub use embedder::{Encoding, HttpEmbedder, HttpEmbedderConfig};
pub use http::is_openai;
pub use openai::OpenAiChat;
pub use provider::ProviderConfig;
pub use reranker::{HttpReranker, HttpRerankerConfig, RerankApi};
