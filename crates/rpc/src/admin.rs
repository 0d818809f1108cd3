//! The admin port: `/healthz` (alive), `/readyz` (each dependency with its state), `/metrics` (Prometheus).

use std::time::Duration;

use anyhow::Context as _;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::join_all;
use http::{StatusCode, header};
use ragstone_telemetry::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{CheckReport, Health};

/// How long open connections of the admin port may hold up the end of the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the admin port shows: one service, or all of an all-in-one process.
#[derive(Clone)]
pub struct Admin {
    /// Each service's readiness under its name.
    pub services: Vec<(&'static str, Health)>,
    /// The process's metrics.
    pub metrics: PrometheusHandle,
}

/// The admin port being served.
pub struct AdminPort(JoinHandle<std::io::Result<()>>);

impl AdminPort {
    /// Waits for its end after `stop` fired, but not for a client that never finishes its request.
    ///
    /// # Errors
    /// When the listener failed.
    pub async fn ended(mut self) -> anyhow::Result<()> {
        match tokio::time::timeout(STOP_TIMEOUT, &mut self.0).await {
            Ok(ended) => ended.context("admin port")?.context("admin port"),
            Err(_) => {
                self.0.abort();
                Ok(())
            }
        }
    }
}

/// Serves the admin port until `stop` fires.
pub fn serve_admin(listener: TcpListener, admin: Admin, stop: CancellationToken) -> AdminPort {
    let router = axum::Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    AdminPort(tokio::spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }))
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let single = admin.services.len() == 1;
    let reports =
        join_all(admin.services.iter().map(|(name, health)| async move { (*name, health.report().await) })).await;
    let ready = reports.iter().all(|(_, report)| report.ready);
    let mut checks = Vec::new();
    for (service, report) in reports {
        if !single {
            let state = if report.ready { "up" } else { "down" };
            checks.push(CheckReport { name: service.to_owned(), critical: true, state, detail: None });
        }
        let prefixed = |name| if single { name } else { format!("{service}/{name}") };
        checks.extend(report.checks.into_iter().map(|c| CheckReport { name: prefixed(c.name), ..c }));
    }
    let (status, word) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (status, Json(json!({ "status": word, "checks": checks }))).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}
