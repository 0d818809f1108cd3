//! `GET /v1/status`: what a person at the playground wants to see. Open to everyone, so it says no more than up or down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use ragstone_rpc::{Health, Report};
use serde::Serialize;

use crate::app::App;

/// How old a report may be.
const FRESH: Duration = Duration::from_secs(1);

/// The gateway's state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Status {
    /// Which Ragstone.
    version: &'static str,
    /// `none` or `required`.
    authentication: &'static str,
    /// Whether questions can be answered.
    ready: bool,
    /// The services behind it.
    dependencies: Vec<Dependency>,
}

/// A service behind the gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Dependency {
    name: String,
    up: bool,
}

/// The last report: everybody may ask, and the services behind must not be asked each time.
#[derive(Default)]
pub(crate) struct Reported(tokio::sync::Mutex<Option<(Instant, Report)>>);

impl Reported {
    async fn get(&self, health: &Health) -> Report {
        let mut last = self.0.lock().await;
        match &*last {
            Some((at, report)) if at.elapsed() < FRESH => report.clone(),
            _ => {
                let report = health.report().await;
                *last = Some((Instant::now(), report.clone()));
                report
            }
        }
    }
}

/// `GET /v1/status`
#[utoipa::path(
    get, path = "/v1/status", operation_id = "status", tag = "status", summary = "Whether questions can be answered",
    security(()),
    responses((status = 200, description = "The gateway and what it depends on", body = Status)),
)]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    let report = app.reported.get(&app.health).await;
    let dependencies = report.checks.into_iter().map(|check| Dependency { name: check.name, up: check.state == "up" });
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        authentication: if app.requires_authentication() { "required" } else { "none" },
        ready: report.ready,
        dependencies: dependencies.collect(),
    })
}
