//! What can be asked about jobs, the same for REST and gRPC; the ingestion service owns them.

pub(crate) mod rest;

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use ragstone_core::{Error, JobKind, JobStatus, Principal, Result};
use ragstone_proto::{required, v1};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use serde::Serialize;

use crate::app::App;
use crate::backends::failed;
use crate::documents::{broken, wire};
use crate::openapi::shapes::JobState;

const INGESTION: &str = "ingestion";
/// A job is followed for this long at most; whoever still wants to know asks again.
const FOLLOW_TIME: Duration = Duration::from_secs(3600);

/// One job.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn get(app: &App, caller: &Principal, id: String, deadline: Deadline) -> Result<v1::Job> {
    let message = v1::ReadJobRequest { caller: Some(wire(caller)), job_id: id };
    let answer = app.backends.ingestion.clone().read_job(request(message, deadline)).await;
    required(answer.map_err(failed(INGESTION))?.into_inner().job, "job").map_err(broken)
}

/// A page of jobs, newest first.
///
/// # Errors
/// `InvalidArgument` for a cursor that is none.
pub(crate) async fn list(app: &App, page: v1::ScanJobsRequest, deadline: Deadline) -> Result<v1::ScanJobsResponse> {
    let answer = app.backends.ingestion.clone().scan_jobs(request(page, deadline)).await;
    Ok(answer.map_err(failed(INGESTION))?.into_inner())
}

/// Puts a dead or failed job back in the queue.
///
/// # Errors
/// `NotFound`, or `Conflict` when it is neither dead nor failed.
pub(crate) async fn retry(app: &App, caller: &Principal, id: String, deadline: Deadline) -> Result<v1::Job> {
    let message = v1::RetryJobRequest { caller: Some(wire(caller)), job_id: id };
    let answer = app.backends.ingestion.clone().retry_job(request(message, deadline)).await;
    required(answer.map_err(failed(INGESTION))?.into_inner().job, "job").map_err(broken)
}

/// A job now and after each change, until it is final. A gateway that stops says so instead of falling silent.
///
/// # Errors
/// `NotFound`; within the stream whatever interrupts it.
pub(crate) async fn follow(
    app: &App,
    caller: &Principal,
    id: String,
) -> Result<impl Stream<Item = Result<v1::Job>> + Send + use<>> {
    let message = v1::FollowJobRequest { caller: Some(wire(caller)), job_id: id };
    let call = request(message, Deadline::after(FOLLOW_TIME));
    let mut ingestion = app.backends.ingestion.clone();
    // With the state as it is now: a job that is not there is an answer of its own, not an event of a stream.
    let begin = async {
        let mut states = ingestion.follow_job(call).await.map_err(failed(INGESTION))?.into_inner();
        let now = states.message().await.map_err(failed(INGESTION))?;
        Ok((stream::iter(now.map(Ok)), states))
    };
    let (now, later) = app.deadline().run(begin).await?;
    let states = now.chain(later).map(|state| {
        let state = state.map_err(failed(INGESTION))?;
        required(state.job, "job").map_err(broken)
    });
    let shutdown = app.shutdown.clone();
    let stopped = shutdown.clone();
    let farewell = stream::once(async move {
        stopped.is_cancelled().then(|| Err(Error::unavailable("the gateway is stopping; follow the job again")))
    });
    Ok(states.take_until(shutdown.cancelled_owned()).chain(farewell.filter_map(std::future::ready)))
}

/// A job status as clients see it.
pub(crate) fn status_name(status: v1::JobStatus) -> &'static str {
    Option::<JobStatus>::from(status).map_or("unknown", JobStatus::as_str)
}

/// A job status by name.
fn status_named(name: &str) -> Result<v1::JobStatus> {
    let status = JobStatus::parse(name).ok_or_else(|| {
        Error::invalid(format!("'{name}' is no status of a job: queued, running, done, failed or dead"))
    })?;
    Ok(status.into())
}

/// A job as JSON.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Job {
    job_id: String,
    kind: &'static str,
    document_id: String,
    version: u64,
    #[schema(value_type = JobState)]
    status: &'static str,
    stage: String,
    attempts: u32,
    error: Option<String>,
    progress: f32,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl From<v1::Job> for Job {
    fn from(job: v1::Job) -> Self {
        let kind = match job.kind() {
            v1::JobKind::Unspecified => "unknown",
            v1::JobKind::Ingest => JobKind::Ingest.as_str(),
            v1::JobKind::Delete => JobKind::Delete.as_str(),
            v1::JobKind::Rebuild => JobKind::Rebuild.as_str(),
            v1::JobKind::Move => JobKind::Move.as_str(),
        };
        Self {
            kind,
            status: status_name(job.status()),
            job_id: job.job_id,
            document_id: job.document_id,
            version: job.version,
            stage: job.stage,
            attempts: job.attempts,
            error: Some(job.error).filter(|error| !error.is_empty()),
            progress: job.progress,
            created_at: job.created_at.map(|time| time.to_string()),
            updated_at: job.updated_at.map(|time| time.to_string()),
        }
    }
}
