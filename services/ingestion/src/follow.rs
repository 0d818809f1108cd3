//! Who waits for what: workers for jobs, callers for a job's next state.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::try_unfold;
use ragstone_core::ports::Catalog;
use ragstone_core::{Caller, Error, Job, JobId, Result};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// Changes that this process did not make itself, such as a wait that is over, are seen after this long.
const POLL: Duration = Duration::from_secs(1);

/// How many changes a slow follower may be behind; beyond that it simply looks.
const BEHIND: usize = 256;

/// Signals between the parts of this process. They only shorten waits: nothing depends on one arriving.
#[derive(Clone)]
pub(crate) struct Changes {
    work: Arc<Notify>,
    jobs: broadcast::Sender<JobId>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { work: Arc::default(), jobs: broadcast::Sender::new(BEHIND) }
    }
}

impl Changes {
    /// There may be a job to lease: wakes one worker.
    pub(crate) fn work_added(&self) {
        self.work.notify_one();
    }

    /// Returns when there may be a job to lease.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// The job is in another state.
    pub(crate) fn job_changed(&self, job: JobId) {
        // Fails when nobody follows any job.
        let _ = self.jobs.send(job);
    }
}

/// Returns when `job` may have changed.
async fn change_of(job: JobId, changes: &mut broadcast::Receiver<JobId>) {
    while changes.recv().await.is_ok_and(|changed| changed != job) {}
}

/// The job now and after each change, until it is final. Ends with `Unavailable` when the service stops.
pub(crate) fn follow(
    catalog: Arc<dyn Catalog>,
    caller: Caller,
    id: JobId,
    changes: &Changes,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<Job>> + use<> {
    let start = (changes.jobs.subscribe(), None::<Job>);
    try_unfold(start, move |(mut changes, last)| {
        let (catalog, caller, shutdown) = (catalog.clone(), caller.clone(), shutdown.clone());
        async move {
            if last.as_ref().is_some_and(|job| job.status.is_final()) {
                return Ok(None);
            }
            loop {
                let job = catalog.job(&caller, id).await?;
                let job = job.ok_or_else(|| Error::not_found(format!("there is no job '{id}'")))?;
                if last.as_ref() != Some(&job) {
                    return Ok(Some((job.clone(), (changes, Some(job)))));
                }
                tokio::select! {
                    // Subscribed before the first look, so no change in between is missed.
                    () = change_of(id, &mut changes) => {}
                    () = tokio::time::sleep(POLL) => {}
                    () = shutdown.cancelled() => return Err(Error::unavailable("the service is stopping")),
                }
            }
        }
    })
}
