//! The one server builder: gRPC services with health, reflection, tracing and limits; REST beside them where asked.

use std::time::Duration;

use anyhow::Context as _;
use axum::middleware;
use ragstone_proto::FILE_DESCRIPTOR_SET;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::observe::observe;
use crate::{Health, Runtime};

/// Until it is ready a service asks its dependencies this often; afterwards every second.
const START_POLL: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_secs(1);
/// A stream on a connection past its age is cut after this long: longer than any answer, shorter than for ever.
const MAX_CONNECTION_GRACE: Duration = Duration::from_secs(3_900);
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 1_000;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A service's server under construction.
pub struct Server {
    runtime: Runtime,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl Server {
    /// A server of gRPC services only.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime, routes: Routes::builder(), names: Vec::new() }
    }

    /// A server of `router`'s routes, and of gRPC services on the same port.
    #[must_use]
    pub fn with_router(runtime: Runtime, router: axum::Router) -> Self {
        Self { runtime, routes: router.into(), names: Vec::new() }
    }

    /// Adds a gRPC service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Serves until the runtime's shutdown token fires and what was under way has ended, or the drain time is over.
    ///
    /// # Errors
    /// When the listener fails or the reflection data is unusable.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self { runtime, mut routes, names } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .context("reflection data")?;
        routes.add_service(health_service);
        routes.add_service(reflection);
        let router =
            routes.routes().prepare().into_axum_router().layer(middleware::from_fn_with_state(runtime.name, observe));

        let watcher = tokio::spawn(report_health(runtime.health.clone(), reporter, names));
        runtime.health.started();
        let name = runtime.name;
        tracing::info!(service = name, address = %runtime.listener.local_addr().context("listener")?, "serving");
        let outcome = serve_until_drained(runtime, Routes::from(router)).await;
        watcher.abort();
        tracing::info!(service = name, "stopped");
        outcome
    }
}

async fn serve_until_drained(runtime: Runtime, routes: Routes) -> anyhow::Result<()> {
    let Runtime { listener, shutdown, health, server: config, .. } = runtime;
    let incoming = TcpListenerStream::new(listener).map(|connection| {
        connection.inspect(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY was refused");
            }
        })
    });
    let stop = {
        let (shutdown, delay) = (shutdown.clone(), config.drain_delay());
        async move {
            shutdown.cancelled().await;
            health.draining();
            tokio::time::sleep(delay).await;
        }
    };
    let serving = tonic::transport::Server::builder()
        .accept_http1(true)
        .max_connection_age(config.max_connection_age())
        .max_connection_age_grace(MAX_CONNECTION_GRACE)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop);
    let out_of_time = async {
        shutdown.cancelled().await;
        tokio::time::sleep(config.drain_delay() + config.drain_timeout()).await;
    };
    tokio::select! {
        outcome = serving => outcome.context("serving"),
        () = out_of_time => {
            tracing::warn!("requests still under way at the end of the drain time were cut off");
            Ok(())
        }
    }
}

/// Keeps the gRPC health service in step with readiness.
async fn report_health(health: Health, reporter: HealthReporter, names: Vec<&'static str>) {
    let mut last = None;
    loop {
        let ready = health.report().await.ready;
        if last != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in names.iter().copied().chain([""]) {
                reporter.set_service_status(name, status).await;
            }
            last = Some(ready);
        }
        let wait = if ready { POLL } else { START_POLL };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = health.phase_changed() => {}
        }
    }
}
