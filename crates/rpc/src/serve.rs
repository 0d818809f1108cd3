//! Accepting connections, and ending them in order: the loop under every service's port.

mod body;
mod connection;
mod streams;
mod watch;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tls::Reloaded;
use crate::{Runtime, ServerConfig};

pub use connection::Peer;
use streams::Streams;

/// Names and values of a request's headers, in bytes; more is answered with 431.
const MAX_HEADER_BYTES: u32 = 32 * 1024;
/// Headers of a request; more are answered with 431.
const MAX_HEADERS: usize = 100;
/// What one HTTP/2 connection may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Calls at once.
    streams: u32,
    /// Calls that may be taken back before they have been looked at; a connection with more is closed.
    pending_resets: usize,
    /// Calls that may break the protocol, the same.
    error_resets: usize,
}

impl Bounds {
    /// For anybody's connections.
    pub(crate) const PUBLIC: Self = Self { streams: 100, pending_resets: 20, error_resets: 256 };
    /// For those of our own services. Many callers share one: whoever takes calls back at the gateway takes them back here
    /// too, and must not close it for the others.
    pub(crate) const INNER: Self = Self { streams: 1_000, pending_resets: 10_000, error_resets: 10_000 };
}

/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long to wait before accepting again when the process has no file descriptors left.
const BACKOFF: Duration = Duration::from_millis(500);

/// What all connections of a server share.
struct Shared {
    service: &'static str,
    router: axum::Router,
    http: auto::Builder<Streams>,
    tls: Option<Reloaded<rustls::ServerConfig>>,
    config: ServerConfig,
    /// Connections are to end once what is under way has.
    stop: CancellationToken,
    /// Connections are to end now.
    cut: CancellationToken,
}

/// Serves `router` until the runtime's shutdown token fires and what was under way has ended, or the drain time is over.
pub(crate) async fn serve(
    runtime: Runtime,
    router: axum::Router,
    tls: Option<Reloaded<rustls::ServerConfig>>,
    bounds: Bounds,
) {
    let Runtime { name, listener, shutdown, health, server: config } = runtime;
    let stop = {
        let (shutdown, delay) = (shutdown.clone(), config.drain_delay());
        async move {
            shutdown.cancelled().await;
            health.draining();
            tokio::time::sleep(delay).await;
        }
    };
    let limit = config.drain_timeout();
    let shared = Arc::new(Shared {
        service: name,
        router,
        http: http(name, &config, bounds),
        tls,
        config,
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    // Closes the listener: who comes later is refused at once instead of being left waiting.
    accept(listener, stop, &shared, &connections).await;
    shared.stop.cancel();
    connections.close();
    if tokio::time::timeout(limit, connections.wait()).await.is_err() {
        tracing::warn!("requests still under way at the end of the drain time were cut off");
        shared.cut.cancel();
        connections.wait().await;
    }
}

/// hyper's settings. Its time limit for headers would also end connections that only wait for their next request:
/// `watch` tells the two apart.
fn http(service: &'static str, config: &ServerConfig, bounds: Bounds) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams::new(service, config.write_timeout()));
    let timer = hyper_util::rt::TokioTimer::new();
    builder
        .http1()
        .timer(timer.clone())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(timer)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(bounds.pending_resets)
        .max_local_error_reset_streams(bounds.error_resets)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    builder
}

async fn accept(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    shared: &Arc<Shared>,
    connections: &TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(shared.config.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = next(&listener) => accepted,
        };
        // Refused rather than left in the queue: the caller can try another replica at once.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            metrics::counter!("rag_connections_refused_total", "service" => shared.service).increment(1);
            continue;
        };
        if let Err(error) = accepted.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let (shared, open) = (Arc::clone(shared), Open::new(shared.service, slot));
        connections.spawn(async move {
            let _open = open;
            tokio::select! {
                () = connection::serve(&shared, accepted) => {}
                () = shared.cut.cancelled() => {}
            }
        });
    }
}

/// The next connection. One that was gone before it was accepted is passed over; want of file descriptors is waited out.
async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_connection(error.kind()) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

fn is_of_the_connection(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Counts a connection in `rag_connections{service}` and holds its slot.
struct Open {
    gauge: metrics::Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(service: &'static str, slot: OwnedSemaphorePermit) -> Self {
        let gauge = metrics::gauge!("rag_connections", "service" => service);
        gauge.increment(1.0);
        Self { gauge, _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

/// Counts a client that was too slow: `phase` is what it was slow at.
fn slow_client(service: &'static str, phase: &'static str) {
    tracing::debug!(service, phase, "a client was too slow");
    metrics::counter!("rag_slow_clients_total", "service" => service, "phase" => phase).increment(1);
}
