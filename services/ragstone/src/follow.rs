//! Following jobs until nothing more will happen by itself.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use indicatif::ProgressBar;
use ragstone_core::JobStatus;
use reqwest::Method;

use crate::client::{Client, RequestError, retrying};
use crate::sse;
use crate::wire::Job;

/// How many jobs are followed at a time.
const PARALLEL: usize = 8;
/// Pause before a job's stream that ended too early is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Follows all of `jobs` and returns them in their final state, in no particular order.
pub(crate) async fn follow_all(
    client: &Client,
    jobs: Vec<String>,
    progress: &ProgressBar,
) -> Result<Vec<Job>, RequestError> {
    stream::iter(jobs)
        .map(|id| async move { follow(client, &id).await })
        .buffer_unordered(PARALLEL)
        .inspect(|_| progress.inc(1))
        .try_collect()
        .await
}

/// Follows one job until its final state.
pub(crate) async fn follow(client: &Client, id: &str) -> Result<Job, RequestError> {
    loop {
        let streamed = events(client, id).await;
        // A stream that ended early (a proxy's limit, a restart) says nothing: the job itself does.
        let job = match streamed {
            Ok(Some(job)) => job,
            Ok(None) | Err(RequestError::Unreachable { .. }) => client.get(&["jobs", id]).await?,
            Err(error) => return Err(error),
        };
        if job.status.is_final() {
            return Ok(job);
        }
        tokio::time::sleep(REOPEN).await;
    }
}

/// The last state that the job's event stream gave.
async fn events(client: &Client, id: &str) -> Result<Option<Job>, RequestError> {
    let response = retrying(|| client.send(client.request(Method::GET, &["jobs", id, "events"]))).await?;
    let url = response.url().clone();
    let events = sse::events(response);
    pin_mut!(events);
    let mut last = None;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.event != "job" {
            continue;
        }
        let job: Job = sse::data(&event, &url)?;
        if job.status.is_final() {
            return Ok(Some(job));
        }
        last = Some(job);
    }
    Ok(last)
}

/// Why a job in its final state did not succeed; `None` when it did.
pub(crate) fn failure(job: &Job) -> Option<String> {
    match job.status {
        JobStatus::Failed | JobStatus::Dead => {
            let why = job.error.as_deref().unwrap_or("no reason given");
            Some(format!("job {} is {}: {why}", job.job_id, job.status.as_str()))
        }
        JobStatus::Done | JobStatus::Queued | JobStatus::Running => None,
    }
}
