//! The ingestion service: accepts documents durably and makes them searchable. It owns documents and jobs.
//!
//! A document's way: `grpc` reads the call, `accept` makes it durable, `worker` leases the job, `pipeline` does the
//! work with the help of `text`, `embed` and `index`, `policy` decides what an error means, `follow` tells who waits.

mod accept;
mod bodies;
mod config;
mod embed;
mod follow;
mod grpc;
mod index;
mod pipeline;
mod policy;
#[cfg(test)]
mod tests;
mod text;
mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_catalog::{LocalBlobs, SqliteCatalog};
use ragstone_core::ports::Catalog;
use ragstone_proto::v1::ingestion_service_server::IngestionServiceServer;
use ragstone_rpc::{Runtime, Server, connect};
use ragstone_text::Extractor;

use crate::accept::Acceptor;
use crate::bodies::Bodies;
use crate::embed::RemoteEmbedding;
use crate::follow::Changes;
use crate::grpc::Grpc;
use crate::index::RemoteIndex;
use crate::pipeline::Pipeline;
use crate::text::TextMaker;
use crate::worker::Worker;

pub use config::Config;

/// Serves until the runtime says stop; then ends or gives back the jobs under way.
///
/// # Errors
/// When the data directory cannot be used, is in use by another process, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let catalog = Arc::new(SqliteCatalog::open(&config.data_dir.join("catalog.db")).await?);
    let blobs = LocalBlobs::open(&config.data_dir.join("blobs")).await?;
    let bodies = Arc::new(Bodies::new(Arc::new(blobs)));
    let (embedding, retrieval) = (connect(&config.embedding_url)?, connect(&config.retrieval_url)?);
    let program = match &config.extract_program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("the path of the running program")?,
    };
    let extractor = Extractor::new(program, config.extract.clone());

    // This process has the catalog to itself: whoever held a lease is gone.
    let interrupted = catalog.release_all_leases().await?;
    tracing::info!(interrupted, data_dir = %config.data_dir.display(), "catalog open");

    let health = &runtime.health;
    let readable = catalog.clone();
    health.register("catalog", true, move || {
        let catalog = readable.clone();
        async move { catalog.queue_depth().await.map(|_| ()).map_err(|error| error.chain()) }
    });
    // A full disk stops new documents, not questions about those that are there.
    let writable = catalog.clone();
    health.register("storage", false, move || {
        let catalog = writable.clone();
        async move { catalog.check().await.map_err(|error| error.chain()) }
    });
    // Documents are accepted without them; the jobs wait.
    health.register_peer("embedding", false, embedding.clone());
    health.register_peer("retrieval", false, retrieval.clone());

    let changes = Changes::default();
    let pipeline = Pipeline {
        catalog: catalog.clone(),
        bodies: bodies.clone(),
        text: TextMaker::new(extractor),
        embedding: Arc::new(RemoteEmbedding::new(embedding, config.chunks())),
        index: Arc::new(RemoteIndex::new(retrieval)),
    };
    let shutdown = runtime.shutdown.clone();
    let worker = Worker::new(pipeline, changes.clone(), &config);
    let workers = worker::start(worker, config.workers, shutdown.clone());
    let acceptor = Acceptor::new(catalog.clone(), bodies, changes.clone(), &config);
    let service = Grpc { catalog: catalog.clone(), acceptor, changes, shutdown: shutdown.clone() };
    let outcome = Server::new(runtime).add_service(IngestionServiceServer::new(service)).serve().await;
    // Also when the port failed.
    shutdown.cancel();
    workers.join_all().await;
    catalog.close().await;
    outcome
}
