//! Local models: obtaining them, embedding texts with them, answering with them, and the extractive answerer.
//!
//! [`ModelStore`] knows which models exist (an embedded [`Manifest`]), which of them are on this machine, and pulls
//! them. [`LocalEmbedder`] loads one and implements [`ragstone_core::ports::Embedder`]:
//!
//! ```no_run
//! use ragstone_core::ports::{EmbedKind, Embedder};
//! use ragstone_models::{DEFAULT_EMBEDDER, EmbedderConfig, LocalEmbedder, ModelStore};
//!
//! # async fn example() -> ragstone_core::Result<()> {
//! let store = ModelStore::open(None, |name| std::env::var_os(name))?;
//! store.pull(DEFAULT_EMBEDDER, None, &()).await?;
//! let embedder = LocalEmbedder::load(&store, DEFAULT_EMBEDDER, &EmbedderConfig::default()).await?;
//! let vectors = embedder.embed(vec!["How do I reset my password?".into()], EmbedKind::Query).await?;
//! assert_eq!(vectors[0].len(), embedder.info().dimension);
//! # Ok(())
//! # }
//! ```

mod digest;
mod embedder;
pub mod extractive;
mod llm;
mod manifest;
mod progress;
mod pull;
mod store;

pub use embedder::{EmbedderConfig, LocalEmbedder};
#[cfg(feature = "local-llm")]
pub use llm::LocalChat;
pub use llm::{LocalChatConfig, Place};
pub use manifest::{DEFAULT_EMBEDDER, FileRole, FileSpec, Manifest, ModelKind, ModelSpec, Source};
pub use progress::Progress;
pub use store::{ModelState, ModelStatus, ModelStore};
