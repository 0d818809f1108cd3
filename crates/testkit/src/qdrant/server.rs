//! One peer as a process would be: its own port, its own threads, all of which end at once.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::middleware;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use qdrant_client::qdrant::snapshots_server::SnapshotsServer;
use qdrant_client::qdrant::{HealthCheckReply, HealthCheckRequest};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::faults::{Front, admit};
use super::rest;
use super::state::State;

/// Largest request; the real server has no limit.
const MAX_MESSAGE: usize = 256 << 20;
/// How long the port of a stopped peer may take to become free.
const REBIND: Duration = Duration::from_secs(5);

/// What the handlers of one peer work with.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) state: Arc<State>,
    /// Index of the peer.
    pub(super) index: usize,
    /// Where writes run, so that they end whole even when the peer is stopped.
    pub(super) home: Handle,
}

/// Starts serving on two ports, for gRPC and REST. Dropping the runtime closes the ports and every connection.
pub(super) fn serve(peer: Peer, (port, rest_port): (u16, u16)) -> Result<Runtime> {
    let (listener, rest_listener) = (bind(port)?, bind(rest_port)?);
    listener.set_nonblocking(true)?;
    rest_listener.set_nonblocking(true)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("qdrant-peer").enable_all().build()?;
    let mut server = Server::builder();
    if let Some(pem) = &peer.state.config.tls {
        let identity = Identity::from_pem(&pem.certificate, &pem.key);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).context("certificate or key")?;
    }
    let router = server.add_routes(routes(peer.clone()));
    let (listener, rest_listener) = {
        let _context = runtime.enter();
        (tokio::net::TcpListener::from_std(listener)?, tokio::net::TcpListener::from_std(rest_listener)?)
    };
    runtime.spawn(async move {
        if let Err(error) = rest::serve(peer, rest_listener).await {
            eprintln!("qdrant: {error:#}");
        }
    });
    runtime.spawn(async move {
        if let Err(error) = router.serve_with_incoming(TcpListenerStream::new(listener)).await {
            eprintln!("qdrant: {error}");
        }
    });
    Ok(runtime)
}

/// Tries for a while: the port may still be closing.
fn bind(port: u16) -> Result<TcpListener> {
    let until = Instant::now() + REBIND;
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            bound => return bound.with_context(|| format!("port {port}")),
        }
    }
}

fn routes(peer: Peer) -> Routes {
    let config = &peer.state.config;
    let front = Front { faults: peer.state.faults(peer.index).clone(), api_key: config.api_key.clone() };
    let collections = CollectionsServer::new(peer.clone()).max_decoding_message_size(MAX_MESSAGE);
    let points = PointsServer::new(peer.clone()).max_decoding_message_size(MAX_MESSAGE);
    let snapshots = SnapshotsServer::new(peer.clone());
    let router = Routes::new(QdrantServer::new(peer))
        .add_service(collections.accept_compressed(Gzip).send_compressed(Gzip))
        .add_service(points.accept_compressed(Gzip).send_compressed(Gzip))
        .add_service(snapshots)
        .prepare()
        .into_axum_router()
        .layer(middleware::from_fn_with_state(front, admit));
    Routes::from(router)
}

#[tonic::async_trait]
impl Qdrant for Peer {
    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        Ok(Response::new(HealthCheckReply {
            title: "qdrant - vector search engine".to_owned(),
            version: super::VERSION.to_owned(),
            commit: None,
        }))
    }
}
