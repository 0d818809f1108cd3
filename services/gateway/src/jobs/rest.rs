//! The REST routes of jobs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use ragstone_core::{Result, Scope};
use ragstone_proto::v1;
use serde_json::json;

use super::{Job, status_named};
use crate::app::App;
use crate::documents::wire;
use crate::extract::{IdPath, Page, Parameters, page_limit};
use crate::problem::Problem;
use crate::sse;

/// `GET /v1/jobs/{id}`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Json<Job>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let job = deadline.run(super::get(&app, &caller, id, deadline)).await?;
    Ok(Json(job.into()))
}

/// `GET /v1/jobs`
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let request = v1::ScanJobsRequest {
        caller: Some(wire(&caller)),
        limit: page_limit(page.limit)?,
        cursor: page.cursor,
        status: page.status.as_deref().map(status_named).transpose()?.unwrap_or_default().into(),
    };
    let deadline = app.deadline();
    let page = deadline.run(super::list(&app, request, deadline)).await?;
    let items: Vec<_> = page.jobs.into_iter().map(Job::from).collect();
    let next_cursor = Some(page.next_cursor).filter(|cursor| !cursor.is_empty());
    Ok(Json(json!({ "items": items, "next_cursor": next_cursor })).into_response())
}

/// `POST /v1/jobs/{id}/retry`
pub(crate) async fn retry(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Ingest).await?;
    let deadline = app.deadline();
    let job = deadline.run(super::retry(&app, &caller, id, deadline)).await?;
    Ok((StatusCode::ACCEPTED, Json(Job::from(job))).into_response())
}

/// `GET /v1/jobs/{id}/events`
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let states = super::follow(&app, &caller, id).await?;
    Ok(sse::respond(states.map(|state| match state {
        Ok(job) => Event::default().event("job").json_data(Job::from(job)),
        Err(error) => sse::error(error),
    })))
}
