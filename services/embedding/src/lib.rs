//! The embedding service: owns the embedding models and the reranker; nobody else loads or asks them.

mod cached;
mod config;
mod engine;
mod grpc;
mod models;

use ragstone_llm::HttpReranker;
use ragstone_proto::v1::embedding_service_server::EmbeddingServiceServer;
use ragstone_rpc::{Runtime, Server, unusable};

pub use config::Config;

use models::{Models, open_cache};

/// The section that the settings are in.
const SECTION: &str = "embedding";

/// Serves until the runtime says stop.
///
/// # Errors
/// When a local model is absent or damaged, a server refuses what is configured, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let cache = open_cache(&config, &runtime.health).await.map_err(unusable(SECTION))?;
    let models = Models::open(&config, &runtime.health, cache).await.map_err(unusable(SECTION))?;
    let reranker = config.reranker.is_configured().then(|| HttpReranker::open(config.reranker.clone())).transpose();
    let reranker = reranker.map_err(unusable(SECTION))?;
    if let Some(reranker) = &reranker {
        tracing::info!(model = reranker.model(), base_url = config.reranker.base_url, "reranker");
    }
    let service = grpc::Service::new(models, reranker, config.request_timeout());
    Server::new(runtime).add_service(EmbeddingServiceServer::new(service)).serve().await
}
