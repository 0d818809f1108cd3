//! Finding passages without writing an answer: steps 3, 5, 6 and 7 of a query.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use ragstone_core::{Principal, Result, Scope, SearchResult};
use ragstone_resilience::Deadline;
use serde::Serialize;

use crate::app::App;
use crate::extract;
use crate::limits::Kind;
use crate::openapi::errors::{Guarded, JsonBody, Limited, Unusable};
use crate::problem::Problem;
use crate::query::view::{HitView, TimingsView};
use crate::query::{SearchInput, Trail, candidates, embed, rerank, retrieve};

/// What was found, and how.
pub(crate) struct Found {
    /// Best first.
    pub result: SearchResult,
    /// What was degraded and how long it took.
    pub trail: Trail,
}

/// Searches.
///
/// # Errors
/// `RateLimited`, `InvalidArgument`, or `Unavailable` when nothing can be searched.
#[tracing::instrument(name = "search", skip_all)]
pub(crate) async fn search(app: &App, caller: &Principal, input: SearchInput, deadline: Deadline) -> Result<Found> {
    let admission = app.admit(caller, Kind::Search).await?;
    let started = Instant::now();
    let mut trail = Trail::after(&admission);
    let search = input.check(app.config.max_query_chars)?;
    let embedded = embed(app, &search, deadline, &mut trail).await?;
    let mut result = retrieve(app, caller, &candidates(&search, &app.config), embedded, deadline, &mut trail).await?;
    result.hits = rerank(app, &search, result.hits, deadline, &mut trail).await;
    trail.timings.total = started.elapsed();
    Ok(Found { result, trail })
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SearchAnswer {
    hits: Vec<HitView>,
    shards: ShardsView,
    degraded: Vec<String>,
    timings_ms: TimingsView,
    trace_id: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ShardsAsked)]
struct ShardsView {
    asked: u32,
    answered: u32,
    missing: Vec<String>,
}

impl From<Found> for SearchAnswer {
    fn from(Found { result, trail }: Found) -> Self {
        let shards = result.shards;
        Self {
            hits: result.hits.into_iter().map(HitView::from).collect(),
            shards: ShardsView { asked: shards.asked, answered: shards.answered, missing: shards.missing },
            timings_ms: TimingsView::without_generation(&trail.timings),
            degraded: trail.degraded,
            trace_id: ragstone_telemetry::trace_id(),
        }
    }
}

/// `POST /v1/search`
#[utoipa::path(
    post, path = "/v1/search", operation_id = "search", tag = "search", summary = "The passages that fit best",
    request_body = SearchInput,
    responses((status = 200, description = "Best first", body = SearchAnswer), Guarded, JsonBody, Unusable, Limited),
)]
pub(crate) async fn rest(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SearchAnswer>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let work = async { search(&app, &caller, extract::json(&headers, body).await?, deadline).await };
    Ok(Json(deadline.run(work).await?.into()))
}
