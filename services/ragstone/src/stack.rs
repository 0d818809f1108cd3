//! All five services in one process: the same `serve` functions as the five binaries, on loopback ports.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ragstone_config::{ConfigError, Sources};
use ragstone_rpc::{Health, Runtime, SECTIONS, ServerConfig};
use ragstone_telemetry::TelemetryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Every section of the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) gateway: ragstone_gateway::Config,
    pub(crate) embedding: ragstone_embedding::Config,
    pub(crate) retrieval: ragstone_retrieval::Config,
    pub(crate) generation: ragstone_generation::Config,
    pub(crate) ingestion: ragstone_ingestion::Config,
}

impl Config {
    /// Merges the sources and checks every section.
    ///
    /// # Errors
    /// Names the section and the key.
    pub(crate) fn load(sources: Sources, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let merged = sources.merge(&SECTIONS)?;
        let (server, telemetry) = ragstone_rpc::load_shared(&merged)?;
        Ok(Self {
            server,
            telemetry,
            gateway: ragstone_rpc::load(&merged, "gateway", env)?,
            embedding: ragstone_rpc::load(&merged, "embedding", env)?,
            retrieval: ragstone_rpc::load(&merged, "retrieval", env)?,
            generation: ragstone_rpc::load(&merged, "generation", env)?,
            ingestion: ragstone_rpc::load(&merged, "ingestion", env)?,
        })
    }
}

/// The overrides that put everything a stack stores into `dir`.
pub(crate) fn stored_in(dir: &Path) -> Vec<(String, String)> {
    let folders = [("ingestion.data_dir", dir.to_owned()), ("retrieval.edge.path", dir.join("index"))];
    folders.map(|(key, path)| (key.to_owned(), path.to_string_lossy().into_owned())).into()
}

/// The five services, running.
pub(crate) struct Stack {
    /// Where the gateway serves.
    pub(crate) address: SocketAddr,
    services: Vec<Service>,
}

struct Service {
    name: &'static str,
    health: Health,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Stack {
    /// Starts the services; the gateway takes `listener`, the others ports of their own.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub(crate) async fn start(config: Config, listener: TcpListener) -> anyhow::Result<Self> {
        let Config { server, mut gateway, embedding, retrieval, generation, mut ingestion, .. } = config;
        // Between the services nothing leaves this process.
        let server = ServerConfig { tls: None, client_tls: None, ..server };
        let address = listener.local_addr()?;
        let (embedding_at, embedding_url) = loopback().await?;
        let (retrieval_at, retrieval_url) = loopback().await?;
        let (generation_at, generation_url) = loopback().await?;
        let (ingestion_at, ingestion_url) = loopback().await?;
        ingestion.embedding_url.clone_from(&embedding_url);
        ingestion.retrieval_url.clone_from(&retrieval_url);
        (gateway.embedding_url, gateway.retrieval_url) = (embedding_url, retrieval_url);
        (gateway.generation_url, gateway.ingestion_url) = (generation_url, ingestion_url);
        // In the order of who needs whom; they stop the other way round.
        let services = vec![
            spawn("embedding", &server, embedding_at, |runtime| ragstone_embedding::serve(embedding, runtime)),
            spawn("retrieval", &server, retrieval_at, |runtime| ragstone_retrieval::serve(retrieval, runtime)),
            spawn("generation", &server, generation_at, |runtime| ragstone_generation::serve(generation, runtime)),
            spawn("ingestion", &server, ingestion_at, |runtime| ragstone_ingestion::serve(ingestion, runtime)),
            spawn("gateway", &server, listener, |runtime| ragstone_gateway::serve(gateway, runtime)),
        ];
        Ok(Self { address, services })
    }

    /// Each service's readiness under its name.
    pub(crate) fn healths(&self) -> Vec<(&'static str, Health)> {
        self.services.iter().map(|service| (service.name, service.health.clone())).collect()
    }

    /// Returns once every service is ready.
    ///
    /// # Errors
    /// When one of them ends instead: its reason.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let healths = self.healths();
        let all_ready = async {
            for (_, health) in healths {
                while !health.report().await.ready {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        tokio::select! {
            () = all_ready => Ok(()),
            outcome = self.first_to_end() => outcome,
        }
    }

    /// Returns when a service ends by itself, which is always a failure.
    pub(crate) async fn first_to_end(&mut self) -> anyhow::Result<()> {
        let ended = self.services.iter_mut().map(|service| {
            let name = service.name;
            Box::pin(async move { (name, (&mut service.task).await) })
        });
        let ((name, outcome), index, _) = futures::future::select_all(ended).await;
        self.services.remove(index);
        outcome.with_context(|| format!("{name} panicked"))?.with_context(|| name.to_owned())?;
        anyhow::bail!("{name} stopped by itself")
    }

    /// Stops the services one after the other, callers before those they call.
    ///
    /// # Errors
    /// The first failure; all are stopped nevertheless.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(Service { name, shutdown, task, .. }) = self.services.pop() {
            shutdown.cancel();
            let outcome = task.await.with_context(|| format!("{name} panicked")).and_then(|outcome| outcome);
            if let Err(error) = outcome {
                tracing::error!(service = name, error = format!("{error:#}"), "did not stop cleanly");
                first = first.and(Err(error.context(name)));
            }
        }
        first
    }
}

async fn loopback() -> anyhow::Result<(TcpListener, String)> {
    let listener = ragstone_rpc::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn spawn<F>(
    name: &'static str,
    server: &ServerConfig,
    listener: TcpListener,
    serve: impl FnOnce(Runtime) -> F,
) -> Service
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (health, shutdown) = (Health::default(), CancellationToken::new());
    let runtime =
        Runtime { name, listener, shutdown: shutdown.clone(), health: health.clone(), server: server.clone() };
    Service { name, health, shutdown, task: tokio::spawn(serve(runtime)) }
}
