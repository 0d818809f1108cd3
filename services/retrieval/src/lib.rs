//! The retrieval service: the sharded index of chunks.

mod config;
mod grpc;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_core::ports::VectorStore;
use ragstone_proto::v1::retrieval_service_server::RetrievalServiceServer;
use ragstone_rpc::{Runtime, Server};
use ragstone_vector::{EdgeStore, VectorSpace};

pub use config::Config;

/// Serves until the runtime says stop; then everything stored is flushed.
///
/// # Errors
/// When the index cannot be opened, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let space = VectorSpace { dimension: config.dimension, model_revision: config.model.clone() };
    let store = Arc::new(EdgeStore::open(config.edge.clone(), space).await.context("vector index")?);
    let (probed, shards) = (store.clone(), config.edge.shards as usize);
    runtime.health.register("vector_store", true, move || {
        let store = probed.clone();
        async move {
            // With one shard left answers are partial, but there are answers.
            let broken = store.unhealthy_shards().await;
            if broken.len() < shards { Ok(()) } else { Err(format!("out of service: {}", broken.join(", "))) }
        }
    });
    let service = grpc::Service::new(store.clone(), config.request_timeout());
    let outcome = Server::new(runtime).add_service(RetrievalServiceServer::new(service)).serve().await;
    store.close().await.context("closing the vector index")?;
    outcome
}
