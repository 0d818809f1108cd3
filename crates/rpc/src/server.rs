//! The one server builder: gRPC services with health, reflection, tracing and limits; REST beside them where asked.

use std::time::Duration;

use anyhow::Context as _;
use axum::extract::Request;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::Route;
use ragstone_core::Error;
use ragstone_proto::FILE_DESCRIPTOR_SET;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt as _};

use crate::observe::observe;
use crate::serve::Bounds;
use crate::tls::{self, Reloaded};
use crate::{Health, Runtime, TlsConfig, cors, serve, unusable};

/// Until it is ready a service asks its dependencies this often; afterwards every second.
const START_POLL: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_secs(1);
/// The section whose TLS the services' ports have, unless another one is named.
const TLS_SECTION: &str = "server.tls";

type Wrap = Box<dyn FnOnce(axum::Router) -> axum::Router + Send>;

/// A service's server under construction.
pub struct Server {
    runtime: Runtime,
    rest: axum::Router,
    grpc: axum::Router,
    names: Vec<&'static str>,
    tls: Option<(&'static str, TlsConfig)>,
    guard: Option<Wrap>,
    grpc_web: bool,
    origins: Vec<String>,
    bounds: Bounds,
}

impl Server {
    /// A server of gRPC services only, with the TLS of section `server`.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        let tls = runtime.server.tls.clone().map(|tls| (TLS_SECTION, tls));
        Self { tls, bounds: Bounds::INNER, ..Self::with_router(runtime, axum::Router::new().fallback(unimplemented)) }
    }

    /// A server of `router`'s routes, and of gRPC services on the same port. It is open to clients of all kinds: the TLS
    /// between services, which may ask for certificates, does not apply; `tls` sets another one.
    #[must_use]
    pub fn with_router(runtime: Runtime, router: axum::Router) -> Self {
        Self {
            runtime,
            rest: router,
            grpc: axum::Router::new(),
            names: Vec::new(),
            tls: None,
            guard: None,
            grpc_web: false,
            origins: Vec::new(),
            bounds: Bounds::PUBLIC,
        }
    }

    /// Serves TLS as `config` says, in the clear without one; `section` is where it stands, such as `gateway.tls`.
    #[must_use]
    pub fn tls(mut self, section: &'static str, config: Option<TlsConfig>) -> Self {
        self.tls = config.map(|config| (section, config));
        self
    }

    /// Lets every gRPC call pass `layer` first, those of reflection too; only health stays open to everybody.
    #[must_use]
    pub fn guard<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.guard = Some(Box::new(move |router| router.layer(layer)));
        self
    }

    /// Speaks gRPC-Web too: what browsers can send, over HTTP/1 as well.
    #[must_use]
    pub fn grpc_web(mut self) -> Self {
        self.grpc_web = true;
        self
    }

    /// Lets scripts of web pages from `origins` (`https://app.example.org`, or `*`) call REST and gRPC-Web.
    #[must_use]
    pub fn cors(mut self, origins: &[String]) -> Self {
        self.origins = origins.to_vec();
        self
    }

    /// Checks what `cors` is given.
    ///
    /// # Errors
    /// One sentence that names the origin that is none.
    pub fn check_origins(origins: &[String]) -> Result<(), String> {
        cors::layer(origins).map(|_| ()).map_err(|error| error.message)
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
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.grpc = route(self.grpc, service);
        self
    }

    /// Serves until the runtime's shutdown token fires and what was under way has ended, or the drain time is over.
    ///
    /// # Errors
    /// When a certificate cannot be used, an origin is none, or the reflection data is unusable.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self { runtime, rest, grpc, names, tls, guard, grpc_web, origins, bounds } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let mut grpc = route(grpc, reflection()?);
        if let Some(guard) = guard {
            grpc = guard(grpc);
        }
        grpc = route(grpc, health_service);
        if grpc_web {
            grpc = grpc.layer(GrpcWebLayer::new());
        }
        let mut router = rest.merge(grpc);
        if !origins.is_empty() {
            router = router.layer(cors::layer(&origins)?);
        }
        let router = router.layer(middleware::from_fn_with_state(runtime.name, observe)).with_state(());
        let tls = tls.map(|(section, config)| certificates(section, &config)).transpose()?;

        let watcher = tokio::spawn(report_health(runtime.health.clone(), reporter, names));
        runtime.health.started();
        let name = runtime.name;
        let address = runtime.listener.local_addr().context("listener")?;
        tracing::info!(service = name, %address, tls = tls.is_some(), "serving");
        serve::serve(runtime, router, tls, bounds).await;
        watcher.abort();
        tracing::info!(service = name, "stopped");
        Ok(())
    }
}

fn certificates(section: &'static str, config: &TlsConfig) -> anyhow::Result<Reloaded<rustls::ServerConfig>> {
    let (owner, _) = section.split_once('.').unwrap_or((section, ""));
    Reloaded::start(tls::server(section, config)).map_err(|error: Error| unusable(owner)(error))
}

fn reflection() -> anyhow::Result<
    impl Service<http::Request<Body>, Error = std::convert::Infallible, Response: IntoResponse, Future: Send + 'static>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("reflection data")
}

/// `router` with `service` under its name.
fn route<S>(router: axum::Router, service: S) -> axum::Router
where
    S: Service<http::Request<Body>, Error = std::convert::Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let service = service.map_request(|request: Request| request.map(Body::new));
    router.route_service(&format!("/{}/{{*rest}}", S::NAME), service)
}

async fn unimplemented() -> http::Response<Body> {
    tonic::Status::unimplemented("there is no such method").into_http()
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
