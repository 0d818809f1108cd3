//! `POST /v1/feedback`: what somebody thought of an answer.

use std::sync::Arc;
use std::time::Duration;

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
use crate::problem::Problem;

/// Answers are noted a moment after they are given: for so long an unknown one is looked for again.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// The body of `POST /v1/feedback`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedbackInput {
    query_id: String,
    rating: Rating,
    #[serde(default)]
    comment: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rating {
    Up,
    Down,
}

/// `POST /v1/feedback`
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
    let until = Deadline::after(PATIENCE);
    loop {
        let answer = app.backends.access.clone().give_feedback(request(message.clone(), deadline)).await;
        match answer.map_err(failed(INGESTION)) {
            Err(error) if error.code == ErrorCode::NotFound && !until.remaining().is_zero() => {
                tokio::time::sleep(PAUSE).await
            }
            Err(error) => return Err(error),
            Ok(_) => {
                metrics::counter!("rag_feedback_total", "rating" => name).increment(1);
                return Ok(());
            }
        }
    }
}
