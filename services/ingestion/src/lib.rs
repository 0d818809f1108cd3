//! The ingestion service: accepts documents durably and makes them searchable. It owns documents and jobs.
//!
//! A document's way: `grpc` reads the call, `accept` makes it durable, `worker` leases the job, `pipeline` does the
//! work with the help of `text`, `targets`, `embed` and `index`, `policy` decides what an error means, `follow` tells who
//! waits. `access` keeps keys, audit log and feedback. Beside it: `indexes` changes models and shards while they serve
//! (`admin` is its face), `maintenance` cleans up.

mod accept;
mod access;
mod admin;
mod backup;
mod bodies;
mod config;
mod embed;
mod follow;
mod grpc;
mod index;
mod indexes;
mod maintenance;
mod pipeline;
mod policy;
mod storage;
mod targets;
#[cfg(test)]
mod tests;
mod text;
mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_core::ErrorCode;
use ragstone_core::ports::Catalog;
use ragstone_proto::v1::access_service_server::AccessServiceServer;
use ragstone_proto::v1::ingestion_service_server::IngestionServiceServer;
use ragstone_proto::v1::maintenance_service_server::MaintenanceServiceServer;
use ragstone_rpc::{Dialer, Health, Patience, Runtime, Server, Trouble, unusable};
use ragstone_text::Extractor;

use crate::accept::Acceptor;
use crate::access::Access;
use crate::admin::Admin;
use crate::embed::RemoteEmbedding;
use crate::follow::Changes;
use crate::grpc::Grpc;
use crate::index::RemoteIndex;
use crate::indexes::Indexes;
use crate::maintenance::Maintenance;
use crate::pipeline::Pipeline;
use crate::storage::Storage;
use crate::targets::Targets;
use crate::text::TextMaker;
use crate::worker::Worker;

pub use backup::{Manifest, backup, restore};
pub use config::Config;

/// Serves until the runtime says stop; then ends or gives back the jobs under way.
///
/// # Errors
/// When the catalog or the blob store cannot be used as they are configured, or the port fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let opened = Storage::open(config.clone(), Patience::of(&runtime)).await;
    let Storage { catalog, bodies } = match opened {
        Err(error) if error.code == ErrorCode::Cancelled => return Ok(()),
        opened => opened.map_err(unusable("ingestion"))?,
    };
    let dialer = Dialer::new(&runtime.server).map_err(unusable("server"))?;
    let (embedding, retrieval) = (dialer.connect(&config.embedding_url)?, dialer.connect(&config.retrieval_url)?);
    let program = match &config.extract_program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("the path of the running program")?,
    };
    // A process that has the catalog to itself takes over at once what its predecessor was at.
    let interrupted = catalog.release_all_leases().await?;
    tracing::info!(interrupted, "catalog open");

    let trouble = Trouble::default();
    register(&runtime.health, &catalog, &bodies, trouble.clone());
    // Documents are accepted without them; the jobs wait.
    runtime.health.register_peer("embedding", false, embedding.clone());
    runtime.health.register_peer("retrieval", false, retrieval.clone());

    let changes = Changes::default();
    let targets = Targets {
        catalog: catalog.clone(),
        embedding: Arc::new(RemoteEmbedding::new(embedding, config.chunks())),
        index: Arc::new(RemoteIndex::new(retrieval)),
    };
    let indexes = Indexes { targets: targets.clone(), changes: changes.clone() };
    let text = TextMaker::new(Extractor::new(program, config.extract.clone()));
    let pipeline = Pipeline { catalog: catalog.clone(), bodies: bodies.clone(), text, targets };
    let shutdown = runtime.shutdown.clone();
    let worker = Worker::new(pipeline, changes.clone(), &config);
    let mut tasks = worker::start(worker, config.workers, shutdown.clone());
    tasks.spawn(Maintenance { indexes: indexes.clone(), bodies: bodies.clone(), trouble }.run(shutdown.clone()));
    let acceptor = Acceptor::new(catalog.clone(), bodies, changes.clone(), &config);
    let service = Grpc { catalog: catalog.clone(), acceptor, changes, shutdown: shutdown.clone() };
    let server = Server::new(runtime).add_service(IngestionServiceServer::new(service));
    let server = server.add_service(AccessServiceServer::new(Access(catalog.clone())));
    let outcome = server.add_service(MaintenanceServiceServer::new(Admin(indexes))).serve().await;
    // Also when the port failed.
    shutdown.cancel();
    tasks.join_all().await;
    catalog.close().await;
    outcome
}

fn register(health: &Health, catalog: &Arc<dyn Catalog>, bodies: &Arc<bodies::Bodies>, trouble: Trouble) {
    let readable = catalog.clone();
    health.register("catalog", true, move || {
        let catalog = readable.clone();
        async move { catalog.queue_depth().await.map(|_| ()).map_err(|error| error.chain()) }
    });
    // A full disk stops new documents, not questions about those that are there.
    let (writable, bodies) = (catalog.clone(), bodies.clone());
    health.register("storage", false, move || {
        let (catalog, bodies) = (writable.clone(), bodies.clone());
        async move {
            let (catalog, bodies) = tokio::join!(catalog.check(), bodies.check());
            catalog.and(bodies).map_err(|error| error.chain())
        }
    });
    health.register("indexes", false, move || std::future::ready(trouble.check()));
}
