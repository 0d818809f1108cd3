//! The models of this service: loaded or reached at the start, found by their ids.

use std::sync::Arc;

use ragstone_cache::MemoryCache;
use ragstone_core::ports::Cache;
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_llm::{HttpEmbedder, HttpEmbedderConfig};
use ragstone_models::{LocalEmbedder, ModelStore};
use ragstone_rpc::Health;

use crate::Config;
use crate::cached::Cached;
use crate::engine::Engine;

/// All models; the first one is the default.
pub(crate) struct Models(Vec<Cached>);

impl Models {
    /// Loads the local models and asks the servers of the others. One that does not answer is no reason to fail: readiness
    /// says so until it does.
    ///
    /// # Errors
    /// `NotFound` or `Unavailable` for a local model that is not known or not there; `InvalidArgument`, naming the keys,
    /// when a server refuses what is configured or answers with vectors of another length.
    pub(crate) async fn open(config: &Config, health: &Health, cache: Arc<dyn Cache>) -> Result<Self> {
        let store = ModelStore::open(config.models_dir.clone(), |name| std::env::var_os(name))?;
        let mut models = Vec::new();
        for (place, model) in config.all_models().into_iter().enumerate() {
            let engine: Arc<dyn Engine> = if model.is_local() {
                Arc::new(LocalEmbedder::load(&store, &model.id, &config.local).await?)
            } else {
                remote(model, health, place == 0).await?
            };
            let info = engine.info();
            tracing::info!(model = info.model, revision = info.revision, dimension = info.dimension, "embedding model");
            models.push(Cached::new(engine, Arc::clone(&cache), config.cache_ttl()));
        }
        Ok(Self(models))
    }

    /// The model with this id; the default one for an empty id.
    ///
    /// # Errors
    /// `NotFound`, naming those there are.
    pub(crate) fn get(&self, id: &str) -> Result<&Cached> {
        let mut models = self.0.iter();
        let found = if id.is_empty() { models.next() } else { models.find(|model| model.info().model == id) };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|model| model.info().model.as_str()).collect();
            Error::not_found(format!("there is no embedding model '{id}'; known: {}", known.join(", ")))
        })
    }
}

/// A model behind an API. Only the default one decides about readiness: without another one the service still does most
/// of its work.
async fn remote(config: HttpEmbedderConfig, health: &Health, default: bool) -> Result<Arc<dyn Engine>> {
    let opened = tokio::task::spawn_blocking(move || HttpEmbedder::open(config)).await;
    let embedder = Arc::new(opened.map_err(|e| Error::internal("reading a tokenizer failed").with_source(e))??);
    match embedder.check().await {
        Ok(()) => {}
        Err(error) if error.code == ErrorCode::InvalidArgument => return Err(error),
        Err(error) => tracing::warn!(error = error.chain(), "the model cannot be reached yet"),
    }
    let probed = Arc::clone(&embedder);
    health.register(&format!("model {}", Engine::info(embedder.as_ref()).model), default, move || {
        let embedder = Arc::clone(&probed);
        async move { embedder.check().await.map_err(|error| error.message) }
    });
    Ok(embedder)
}

/// The configured cache, and its state for readiness: without it the service is only slower.
///
/// # Errors
/// `InvalidArgument`, naming the key, when Redis refuses what is configured.
pub(crate) async fn open_cache(config: &Config, health: &Health) -> Result<Arc<dyn Cache>> {
    if config.cache.redis_url.is_none() {
        return Ok(Arc::new(MemoryCache::new(config.cache.memory_bytes)));
    }
    let cache = ragstone_cache::open(&config.cache).await?;
    let probed = Arc::clone(&cache);
    health.register("cache", false, move || {
        let cache = Arc::clone(&probed);
        async move { cache.check().await.map_err(|error| error.message) }
    });
    Ok(cache)
}
