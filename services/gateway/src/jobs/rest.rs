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

use super::{Job, status_named};
use crate::app::App;
use crate::documents::wire;
use crate::extract::{IdPath, Listed, Page, Parameters, page_limit};
use crate::openapi::errors::{Absent, Conflicting, Guarded, Malformed};
use crate::openapi::shapes::{JobState, ServerSentEvent};
use crate::problem::Problem;
use crate::sse;

/// `GET /v1/jobs/{id}`
#[utoipa::path(
    get, path = "/v1/jobs/{id}", operation_id = "get_job", tag = "jobs", summary = "One job and how far it is",
    params(("id" = uuid::Uuid, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = Job), Guarded, Malformed, Absent),
)]
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
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs", summary = "Jobs, newest first, page by page",
    params(Page, ("status" = Option<JobState>, Query, description = "Only those in this state")),
    responses((status = 200, description = "A page", body = Listed<Job>), Guarded, Malformed),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Listed<Job>>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let request = v1::ScanJobsRequest {
        caller: Some(wire(&caller)),
        limit: page_limit(page.limit)?,
        cursor: page.cursor,
        status: page.status.as_deref().map(status_named).transpose()?.unwrap_or_default().into(),
    };
    let deadline = app.deadline();
    let page = deadline.run(super::list(&app, request, deadline)).await?;
    Ok(Json(Listed::new(page.jobs, page.next_cursor)))
}

/// `POST /v1/jobs/{id}/retry`
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    summary = "Queues a dead or failed job again",
    params(("id" = uuid::Uuid, Path, description = "The job's id")),
    responses((status = 202, description = "It is queued", body = Job), Guarded, Malformed, Absent, Conflicting),
)]
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
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", operation_id = "watch_job", tag = "jobs",
    summary = "A job now and after each change, until it is final",
    params(("id" = uuid::Uuid, Path, description = "The job's id")),
    responses(
        (status = 200, description = "Events `job`, each with a job; `error` with a problem", body = ServerSentEvent,
            content_type = "text/event-stream"),
        Guarded, Malformed, Absent,
    ),
)]
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
