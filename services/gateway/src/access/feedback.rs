//! `POST /v1/feedback`: what somebody thought of an answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use ragstone_core::{Error, ErrorCode, Principal, Result, Scope};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use serde::Deserialize;

use super::INGESTION;
use crate::app::App;
use crate::backends::failed;
use crate::documents::wire;
use crate::extract;
use crate::openapi::errors::{Absent, Guarded, JsonBody, Unusable};
use crate::problem::Problem;

/// Answers are noted a moment after they are given: an unknown one is looked for again after these pauses.
const PAUSES: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(350), Duration::from_millis(1500)];
/// How often ratings are summed up, and of which time.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);
const SUMMARY_OF: Duration = Duration::from_secs(24 * 3600);

/// The body of `POST /v1/feedback`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedbackInput {
    query_id: String,
    rating: Rating,
    #[serde(default)]
    comment: String,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Rating {
    Up,
    Down,
}

/// `POST /v1/feedback`
#[utoipa::path(
    post, path = "/v1/feedback", operation_id = "feedback", tag = "search",
    summary = "What somebody thought of an answer",
    request_body = FeedbackInput,
    responses((status = 204, description = "It is noted"), Guarded, JsonBody, Absent, Unusable),
)]
pub(crate) async fn rest(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<StatusCode, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let work = async {
        let FeedbackInput { query_id, rating, comment } = extract::json(&headers, body).await?;
        let rating = match rating {
            Rating::Up => v1::Rating::Up,
            Rating::Down => v1::Rating::Down,
        };
        give(&app, &caller, query_id, rating, comment, deadline).await
    };
    deadline.run(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps the share of good ratings of the last day, over all tenants, in the metric `rag_thumbs_up_rate`.
pub(crate) async fn watch(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SUMMARY_EVERY);
    loop {
        ticks.tick().await;
        let since = Some((SystemTime::now() - SUMMARY_OF).into());
        let message = v1::ReadFeedbackSummaryRequest { tenant: String::new(), since };
        let answer = app.backends.access.clone().read_feedback_summary(request(message, app.deadline())).await;
        match answer.map_err(failed(INGESTION)).map(tonic::Response::into_inner) {
            Ok(v1::ReadFeedbackSummaryResponse { up, down }) if up + down > 0 => {
                metrics::gauge!("rag_thumbs_up_rate").set(up as f64 / (up + down) as f64);
            }
            // Nobody rated anything: there is no rate.
            Ok(_) => {}
            Err(error) => tracing::debug!(error = error.chain(), "ratings cannot be summed up"),
        }
    }
}

/// Stores a rating and counts it.
///
/// # Errors
/// `InvalidArgument`, or `NotFound` when no such answer was given to the caller's tenant.
pub(crate) async fn give(
    app: &App,
    caller: &Principal,
    query_id: String,
    rating: v1::Rating,
    comment: String,
    deadline: Deadline,
) -> Result<()> {
    let name = match rating {
        v1::Rating::Up => "up",
        v1::Rating::Down => "down",
        v1::Rating::Unspecified => return Err(Error::invalid("field 'rating' must be up or down")),
    };
    let caller = Some(wire(caller));
    let message = v1::GiveFeedbackRequest { caller, query_id, rating: rating.into(), comment };
    let mut pauses = PAUSES.into_iter();
    loop {
        let answer = app.backends.access.clone().give_feedback(request(message.clone(), deadline)).await;
        match answer.map_err(failed(INGESTION)) {
            Err(error) if error.code == ErrorCode::NotFound => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            Err(error) => return Err(error),
            Ok(_) => {
                metrics::counter!("rag_feedback_total", "rating" => name).increment(1);
                return Ok(());
            }
        }
    }
}
