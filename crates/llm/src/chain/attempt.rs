//! One model's turn: its first event, with at most one retry.

use std::time::Duration;

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Error, ErrorCode, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::ChainPolicy;
use super::bill::Bill;
use super::link::{Link, prompt_tokens};

/// A model that has begun to answer.
pub(super) struct Begun {
    /// What it said first.
    pub(super) first: ChatEvent,
    /// The rest.
    pub(super) rest: ChatStream,
    /// When it was asked, the try that worked.
    pub(super) since: Instant,
    /// What that try costs.
    pub(super) bill: Bill,
}

/// Why a model does not answer.
pub(super) enum Missed {
    /// It was not asked: its limit allows that only after this time.
    Limit(Duration),
    /// It failed.
    Failed(Error),
}

/// Asks a model until it says something, once more where that may help. Nothing has been streamed yet.
pub(super) async fn begin(
    link: &Link,
    policy: &ChainPolicy,
    request: &ChatRequest,
    deadline: Option<Deadline>,
) -> Result<Begun, Missed> {
    let asked = Instant::now();
    let bill = reserve(link, request).map_err(Missed::Limit)?;
    let error = match first_event(link, request, bill, deadline).await {
        Ok(begun) => return Ok(begun),
        Err(error) => error,
    };
    let wait = error.retry_after.unwrap_or(policy.backoff);
    let time_left = deadline.is_none_or(|deadline| wait < deadline.remaining());
    let may_help = error.code.is_retryable() && asked.elapsed() <= policy.retry_within;
    if !may_help || !time_left || wait > policy.max_retry_wait {
        return Err(Missed::Failed(error));
    }
    tokio::time::sleep(wait).await;
    let Ok(bill) = reserve(link, request) else { return Err(Missed::Failed(error)) };
    let provider = link.name().to_owned();
    tracing::debug!(provider, error = error.chain(), wait_ms = wait.as_millis(), "asking the model once more");
    metrics::counter!("rag_retries_total", "dependency" => provider).increment(1);
    first_event(link, request, bill, deadline).await.map_err(Missed::Failed)
}

/// Leave to ask a model, or the time until there is.
fn reserve(link: &Link, request: &ChatRequest) -> Result<Bill, Duration> {
    let prompt = prompt_tokens(request);
    let reservation = link.provider.limits.reserve(prompt.saturating_add(request.max_tokens))?;
    Ok(Bill::new(link.clone(), reservation, prompt))
}

async fn first_event(link: &Link, request: &ChatRequest, bill: Bill, deadline: Option<Deadline>) -> Result<Begun> {
    let since = Instant::now();
    let first = async {
        let mut rest = link.provider.model.stream(request.clone()).await?;
        match rest.next().await {
            Some(Ok(ChatEvent::Done { .. })) | None => Err(Error::unavailable("the model's answer is empty")),
            Some(first) => Ok((first?, rest)),
        }
    };
    match within(deadline, first).await {
        Ok((first, rest)) => Ok(Begun { first, rest, since, bill }),
        Err(error) => {
            bill.void();
            Err(error)
        }
    }
}

/// Like `Deadline::run`, but the deadline may be absent, and its passing only ends this model's turn.
async fn within<T>(deadline: Option<Deadline>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(deadline) = deadline else { return work.await };
    match deadline.run(work).await {
        Err(error) if error.code == ErrorCode::DeadlineExceeded => {
            Err(Error::unavailable("the model did not answer before the deadline").with_source(error))
        }
        outcome => outcome,
    }
}
