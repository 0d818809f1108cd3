//! Real servers on loopback: how they start, serve, refuse, outlive hostile clients, and stop.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod flood;
mod serve;
mod slow;
mod tls;
mod web;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use ragstone_rpc::{Health, Runtime, Server, ServerConfig, bind};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on the slowest machine.
const LONG: Duration = Duration::from_secs(20);

struct Running {
    url: String,
    address: SocketAddr,
    health: Health,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Stops it, and everything must be gone quickly.
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LONG, self.task).await.unwrap().unwrap().unwrap();
    }
}

async fn start(router: axum::Router, server: ServerConfig) -> Running {
    start_as("test", server, |runtime| Server::with_router(runtime, router)).await
}

/// A server named `name`, for its metrics to be told from other tests'.
async fn start_as(name: &'static str, server: ServerConfig, build: impl FnOnce(Runtime) -> Server) -> Running {
    // The HTTP client insists on a provider even for plain HTTP; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    metrics();
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, shutdown) = (Health::default(), CancellationToken::new());
    let runtime = Runtime { name, listener, shutdown: shutdown.clone(), health: health.clone(), server };
    let task = tokio::spawn(build(runtime).serve());
    Running { url: format!("http://{address}"), address, health, shutdown, task }
}

fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// The value of the metric whose line begins with `line`, 0 when there is none.
fn metric(line: &str) -> f64 {
    let text = metrics().render();
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Returns once `metric` is at least `least`.
async fn metric_reaches(line: &str, least: f64) {
    let until = async {
        while metric(line) < least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, until).await.is_ok(), "{line}: {}", metrics().render());
}

/// What the server sends until it closes the connection, which it must.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 65_536];
    let read = async {
        // A reset is a way to close, too.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(LONG, read).await.expect("the server closes the connection");
    all
}
