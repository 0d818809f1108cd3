//! Workers: lease a job, keep the lease alive while the pipeline runs, and settle how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use ragstone_core::ports::{Lease, LeasedJob};
use ragstone_core::{Caller, Error, ErrorCode, Job, JobKind, JobStatus, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::Config;
use crate::follow::Changes;
use crate::pipeline::{Outcome, Pipeline, Progress};
use crate::policy::{Verdict, judge};

/// The queue is looked at this often even when nobody says that there is work.
const POLL: Duration = Duration::from_millis(500);
/// A worker whose job had to wait for a dependency pauses this long; the pause doubles while that goes on.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Moves between shards under way at once, beside other jobs: they mostly wait for searches to end.
const MOVES: usize = 64;
/// How often the gauges of the queue are set.
const GAUGES: Duration = Duration::from_secs(5);

/// What a worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to do.
    Idle,
    /// A job ended, or its try did.
    Worked,
    /// A job was given back because a dependency is away.
    Waited,
    /// A job was given back because the service stops.
    Stopped,
}

/// Does jobs, one at a time for each caller of [`Worker::step`].
pub(crate) struct Worker {
    pipeline: Pipeline,
    changes: Changes,
    lease: Duration,
    attempts: u32,
    moves: Arc<Semaphore>,
    moving: TaskTracker,
}

/// Starts `workers` workers and the gauges; they end when `shutdown` fires.
pub(crate) fn start(worker: Worker, workers: usize, shutdown: CancellationToken) -> JoinSet<()> {
    let worker = Arc::new(worker);
    let mut tasks = JoinSet::new();
    // Several processes may share the queue: the name tells whose worker holds a job.
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
    for number in 0..workers {
        let (worker, shutdown) = (worker.clone(), shutdown.clone());
        let name = format!("{host}-{}-{number}", std::process::id());
        tasks.spawn(async move { worker.work(&name, &shutdown).await });
    }
    tasks.spawn(async move {
        worker.measure(&shutdown).await;
        worker.moving.close();
        worker.moving.wait().await;
    });
    tasks
}

impl Worker {
    pub(crate) fn new(pipeline: Pipeline, changes: Changes, config: &Config) -> Self {
        let (moves, moving) = (Arc::new(Semaphore::new(MOVES)), TaskTracker::new());
        Self { pipeline, changes, lease: config.lease(), attempts: config.attempts, moves, moving }
    }

    async fn work(self: &Arc<Self>, name: &str, shutdown: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let step = match self.lease(name).await {
                Ok(None) => Ok(Step::Idle),
                Ok(Some(leased)) if leased.job.kind == JobKind::Move => self.begin_move(leased, shutdown).await,
                Ok(Some(leased)) => self.work_on(&leased, shutdown).await,
                Err(error) => Err(error),
            };
            let wait = match step {
                Ok(Step::Worked) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Ok(Step::Stopped) => return,
                Ok(Step::Idle) => {
                    tokio::select! {
                        () = self.changes.work() => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                    continue;
                }
                Ok(Step::Waited) => pause,
                Err(error) => {
                    tracing::error!(error = error.chain(), "the job queue cannot be used");
                    pause
                }
            };
            pause = (pause * 2).min(MAX_PAUSE);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Leases the next job and sees it to the end of this try.
    ///
    /// # Errors
    /// When the catalog does not answer; the job comes back when its lease ends.
    #[cfg(test)]
    pub(crate) async fn step(&self, name: &str, shutdown: &CancellationToken) -> Result<Step> {
        match self.lease(name).await? {
            Some(leased) => self.work_on(&leased, shutdown).await,
            None => Ok(Step::Idle),
        }
    }

    async fn lease(&self, name: &str) -> Result<Option<LeasedJob>> {
        let leased = self.pipeline.catalog.lease(name, self.lease).await?;
        if let Some(leased) = &leased {
            // One signal stands for any number of new jobs: whoever got one passes it on.
            self.changes.work_added();
            self.changes.job_changed(leased.job.id);
        }
        Ok(leased)
    }

    /// Lets a move run beside the worker, which goes on with the next job; waits where too many are under way.
    async fn begin_move(self: &Arc<Self>, leased: LeasedJob, shutdown: &CancellationToken) -> Result<Step> {
        let permit = tokio::select! {
            permit = self.moves.clone().acquire_owned() => permit,
            () = shutdown.cancelled() => return Ok(Step::Stopped),
        };
        let permit = permit.map_err(|error| Error::internal("moves were closed").with_source(error))?;
        // Waiting may have taken longer than the lease lasts: whoever lost it must not begin.
        if !self.pipeline.catalog.heartbeat(&leased.lease, self.lease, 0.0).await? {
            return Ok(Step::Worked);
        }
        let (worker, shutdown) = (self.clone(), shutdown.clone());
        self.moving.spawn(async move {
            let _permit = permit;
            match worker.work_on(&leased, &shutdown).await {
                // A shard store that is away is not asked again at once.
                Ok(Step::Waited) => tokio::time::sleep(FIRST_PAUSE).await,
                Ok(_) => {}
                Err(error) => tracing::error!(error = error.chain(), "the job queue cannot be used"),
            }
        });
        Ok(Step::Worked)
    }

    /// Sees a leased job to the end of this try.
    async fn work_on(&self, leased: &LeasedJob, shutdown: &CancellationToken) -> Result<Step> {
        let span = span(leased);
        let step = self.try_job(leased, shutdown).instrument(span).await;
        self.changes.job_changed(leased.job.id);
        match step {
            // Somebody else has the job now, or a newer version ended it: nothing is left to settle.
            Err(error) if error.code == ErrorCode::Conflict => Ok(Step::Worked),
            other => other,
        }
    }

    async fn try_job(&self, leased: &LeasedJob, shutdown: &CancellationToken) -> Result<Step> {
        if leased.resumed {
            metrics::counter!("rag_ingest_resumed_total").increment(1);
            tracing::info!(stage = leased.job.stage.as_str(), attempt = leased.job.attempts, "resuming a job");
        }
        if leased.job.attempts > self.attempts {
            let message = format!("the process ended in the middle of each of {} tries", self.attempts);
            return self.end(leased, &Error::internal(message), JobStatus::Dead).await;
        }
        let progress = Progress::default();
        let run = AssertUnwindSafe(self.pipeline.run(leased, &progress)).catch_unwind();
        let outcome = tokio::select! {
            outcome = run => outcome,
            () = self.keep_alive(&leased.lease, &progress) => {
                tracing::warn!("the lease was lost: somebody else has the job");
                return Ok(Step::Worked);
            }
            () = shutdown.cancelled() => {
                self.pipeline.catalog.release(&leased.lease, None, Duration::ZERO).await?;
                tracing::info!("the job was given back: the service is stopping");
                return Ok(Step::Stopped);
            }
        };
        match outcome.unwrap_or_else(|_| Err(Error::internal("a bug: the work on this document panicked"))) {
            Ok(outcome) => {
                finished(&leased.job, outcome);
                Ok(Step::Worked)
            }
            Err(error) => self.settle(leased, &error).await,
        }
    }

    /// Extends the lease three times within its length. Returns only when it is lost.
    async fn keep_alive(&self, lease: &Lease, progress: &Progress) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match self.pipeline.catalog.heartbeat(lease, self.lease, progress.get()).await {
                Ok(true) => self.changes.job_changed(lease.job),
                Ok(false) => return,
                // It may work the next time; if not, the lease ends, and the first write tells.
                Err(error) => tracing::warn!(error = error.chain(), "a heartbeat failed"),
            }
        }
    }

    /// Writes down what an error means for the job.
    async fn settle(&self, leased: &LeasedJob, error: &Error) -> Result<Step> {
        // The count of now: a stage reached during this try began it anew.
        let job = self.pipeline.catalog.job(&Caller::internal(leased.job.tenant.clone()), leased.job.id).await?;
        let attempt = job.map_or(leased.job.attempts, |job| job.attempts).max(1);
        let verdict = judge(error, attempt, self.attempts);
        tracing::warn!(error = error.chain(), code = error.code.as_str(), ?verdict, "a try failed");
        metrics::counter!("rag_errors_total", "type" => error.code.as_str()).increment(1);
        match verdict {
            Verdict::Fail => self.end(leased, error, JobStatus::Failed).await,
            Verdict::Bury => self.end(leased, error, JobStatus::Dead).await,
            Verdict::Retry(wait) => {
                self.pipeline.catalog.fail(&leased.lease, error, JobStatus::Queued, wait).await?;
                Ok(Step::Worked)
            }
            Verdict::Wait(wait) => {
                self.pipeline.catalog.release(&leased.lease, Some(error), wait).await?;
                Ok(Step::Waited)
            }
        }
    }

    async fn end(&self, leased: &LeasedJob, error: &Error, outcome: JobStatus) -> Result<Step> {
        self.pipeline.catalog.fail(&leased.lease, error, outcome, Duration::ZERO).await?;
        tracing::error!(reason = error.message, status = outcome.as_str(), "the job ended without success");
        metrics::counter!("rag_ingest_documents_total", "outcome" => outcome.as_str()).increment(1);
        Ok(Step::Worked)
    }

    async fn measure(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.pipeline.catalog.queue_depth().await {
                Ok((queued, running, dead)) => {
                    for (status, jobs) in [("queued", queued), ("running", running), ("dead", dead)] {
                        metrics::gauge!("rag_ingest_jobs", "status" => status).set(jobs as f64);
                    }
                }
                Err(error) => tracing::warn!(error = error.chain(), "the queue cannot be counted"),
            }
            tokio::select! {
                () = tokio::time::sleep(GAUGES) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

/// The job's span: it goes on with the trace of the request that was accepted.
fn span(leased: &LeasedJob) -> Span {
    let Job { id, kind, document_id, version, stage, .. } = &leased.job;
    let span = tracing::info_span!(
        "ingest",
        job = %id,
        kind = kind.as_str(),
        document = %document_id,
        version,
        stage = stage.as_str()
    );
    if let Some(traceparent) = &leased.version.traceparent {
        ragstone_telemetry::continue_trace(&span, traceparent);
    }
    span
}

fn finished(job: &Job, outcome: Outcome) {
    let outcome = match (outcome, job.kind) {
        (Outcome::Superseded, _) => {
            metrics::counter!("rag_ingest_stale_dropped_total").increment(1);
            "superseded"
        }
        (Outcome::Completed, JobKind::Ingest) => "done",
        (Outcome::Completed, JobKind::Delete) => "deleted",
        (Outcome::Completed, JobKind::Rebuild) => "rebuilt",
        (Outcome::Completed, JobKind::Move) => "moved",
    };
    tracing::info!(outcome, "the job is done");
    metrics::counter!("rag_ingest_documents_total", "outcome" => outcome).increment(1);
}
