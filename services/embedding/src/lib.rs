//! The embedding service: owns the embedding model; nobody else loads it.

mod cached;
mod config;
mod grpc;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_cache::MemoryCache;
use ragstone_core::ports::{Cache, Embedder};
use ragstone_models::{LocalEmbedder, ModelStore};
use ragstone_proto::v1::embedding_service_server::EmbeddingServiceServer;
use ragstone_rpc::{Runtime, Server};

pub use config::Config;

/// Serves until the runtime says stop.
///
/// # Errors
/// When the model is absent or damaged, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let store = ModelStore::open(config.models_dir.clone(), |name| std::env::var_os(name))?;
    let embedder =
        Arc::new(LocalEmbedder::load(&store, &config.model, &config.local).await.context("embedding model")?);
    tracing::info!(model = embedder.info().model, revision = embedder.info().revision, "model loaded");
    let tokenizer_json = embedder.tokenizer_json().to_vec();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(config.cache_bytes));
    let service = grpc::Service::new(cached::Cached::new(embedder, cache), tokenizer_json, config.request_timeout());
    Server::new(runtime).add_service(EmbeddingServiceServer::new(service)).serve().await
}
