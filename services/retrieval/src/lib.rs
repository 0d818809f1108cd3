//! The retrieval service: the sharded indexes of chunks.

mod admin;
mod config;
mod grpc;
mod requests;
mod snapshots;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_core::ErrorCode;
use ragstone_core::ports::VectorIndexes;
use ragstone_proto::v1::index_service_server::IndexServiceServer;
use ragstone_proto::v1::retrieval_service_server::RetrievalServiceServer;
use ragstone_rpc::{Patience, Runtime, Server, unusable};
use ragstone_vector::{EdgeIndexes, QdrantIndexes};

pub use config::Config;
pub use snapshots::{RestoredIndex, SavedIndexes, save_indexes};

/// Serves until the runtime says stop; then everything stored is flushed.
///
/// # Errors
/// When the vector store cannot be used as it is configured, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let opened = open(&config, Patience::of(&runtime)).await;
    let indexes = match opened {
        Err(error) if error.code == ErrorCode::Cancelled => return Ok(()),
        opened => opened.map_err(unusable("retrieval"))?,
    };
    let probed = indexes.clone();
    runtime.health.register("vector_store", true, move || {
        let indexes = probed.clone();
        async move { indexes.check().await.map_err(|error| error.chain()) }
    });
    let service = grpc::Service::new(indexes.clone(), config.request_timeout());
    let server = Server::new(runtime).add_service(IndexServiceServer::new(service.clone()));
    let outcome = server.add_service(RetrievalServiceServer::new(service)).serve().await;
    indexes.close().await.context("closing the vector store")?;
    outcome
}

/// What is in the vector store of `config`, for a command that must find it empty: names of indexes, and of collections that a
/// restore has left behind. No service may use an embedded store meanwhile.
///
/// # Errors
/// `Unavailable` when Qdrant does not answer or another process uses the store; `InvalidArgument` for a wrong setting.
pub async fn stored_indexes(config: &Config) -> ragstone_core::Result<Vec<String>> {
    if config.uses_qdrant() {
        let indexes = QdrantIndexes::open(config.qdrant.clone()).await?;
        indexes.check().await?;
        let mut names = names(&indexes).await?;
        let drafts = indexes.drafts().await?;
        names.extend(drafts.into_iter().map(|name| format!("{name}, which a restore began and did not end")));
        indexes.close().await?;
        return Ok(names);
    }
    if !config.edge.path.exists() {
        return Ok(Vec::new());
    }
    let indexes = EdgeIndexes::open(config.edge.clone()).await?;
    let names = names(&indexes).await?;
    indexes.close().await?;
    Ok(names)
}

async fn names(indexes: &dyn VectorIndexes) -> ragstone_core::Result<Vec<String>> {
    Ok(indexes.list().await?.into_iter().map(|spec| spec.name.to_string()).collect())
}

/// Qdrant is waited for where it does not answer yet.
async fn open(config: &Config, patience: Patience) -> ragstone_core::Result<Arc<dyn VectorIndexes>> {
    if config.uses_qdrant() {
        let qdrant = config.qdrant.clone();
        let open = move || {
            let qdrant = qdrant.clone();
            async move {
                let indexes = QdrantIndexes::open(qdrant).await?;
                indexes.check().await?;
                Ok(indexes)
            }
        };
        let indexes = patience.open("qdrant", open).await?;
        return Ok(Arc::new(indexes));
    }
    Ok(Arc::new(EdgeIndexes::open(config.edge.clone()).await?))
}
