//! A chat model in a GGUF file, run in this process by llama.cpp: only with the cargo feature `local-llm`.

#[cfg(feature = "local-llm")]
mod chat;
mod config;
#[cfg(feature = "local-llm")]
mod engine;
#[cfg(feature = "local-llm")]
mod log;
#[cfg(feature = "local-llm")]
mod queue;
#[cfg(feature = "local-llm")]
mod template;
#[cfg(all(test, feature = "local-llm"))]
mod tests;
#[cfg(feature = "local-llm")]
mod utf8;
#[cfg(feature = "local-llm")]
mod worker;

#[cfg(feature = "local-llm")]
pub use chat::LocalChat;
pub use config::{LocalChatConfig, Place};
