//! The job queue: who works on what, and what becomes of a try that did not succeed.
//!
//! `attempts` counts the tries begun since the last durable stage. [`lease`] counts one; [`release`] takes it back, for
//! a shutdown or an absent dependency is not the document's fault; a crash gives nothing back, or a document that
//! brings the process down would do so for ever.

use std::time::Duration;

use super::Store;
use super::audit::{self, Note};
use super::dialect::{Connection, Row, groups, lock_document_of, may_be_due, next_due, readable, stored};
use super::end::end;
use super::failure::Failure;
use super::read::visible;
use super::rows::{self, job_columns, to_int, unsigned};
use super::work::{Held, finish, hold, set_version_status, supersede};
use crate::clock::millis;
use ragstone_core::ports::{Lease, LeasedJob};
use ragstone_core::{AuditAction, Caller, DocumentStatus, Error, Job, JobId, JobStatus, Result};

/// How often a claim starts anew because another process took the job in between. Each time that one got further.
const CLAIMS: usize = 16;

pub(super) async fn lease(store: &Store, worker: &str, ttl: Duration) -> Result<Option<LeasedJob>, Failure> {
    if !may_be_due(store).await? {
        return Ok(None);
    }
    for _ in 0..CLAIMS {
        let mut tx = store.begin().await?;
        let outcome = claim(store, &mut tx, worker, ttl).await;
        match end(tx, outcome).await? {
            Claim::Leased(leased) => return Ok(Some(*leased)),
            Claim::NothingDue => return Ok(None),
            Claim::TooLate => {}
        }
    }
    Ok(None)
}

enum Claim {
    Leased(Box<LeasedJob>),
    NothingDue,
    /// Another process was faster.
    TooLate,
}

async fn claim(store: &Store, tx: &mut Connection, worker: &str, ttl: Duration) -> Result<Claim, Failure> {
    let now = store.now(tx).await?;
    let Some(seq) = next_due(tx, now).await? else { return Ok(Claim::NothingDue) };
    let Some(resumed) = still_due(tx, seq, now).await? else { return Ok(Claim::TooLate) };
    Ok(Claim::Leased(Box::new(take(tx, seq, resumed, worker, ttl, now).await?)))
}

/// Whether the job may be taken still, now that it is locked; and if so, whether somebody was in the middle of it.
async fn still_due(tx: &mut Connection, seq: i64, now: i64) -> Result<Option<bool>, Failure> {
    Ok(sqlx::query_scalar(
        "SELECT j.status = 'running' OR j.interrupted FROM jobs j \
         WHERE j.seq = $1 AND j.status IN ('queued', 'running') AND j.wake_at <= $2 \
         AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.tenant = j.tenant AND o.document_id = j.document_id \
                         AND o.status = 'running' AND o.seq <> j.seq)",
    )
    .bind(seq)
    .bind(now)
    .fetch_optional(tx)
    .await?)
}

async fn take(
    tx: &mut Connection,
    seq: i64,
    resumed: bool,
    worker: &str,
    ttl: Duration,
    now: i64,
) -> Result<LeasedJob, Failure> {
    sqlx::query(
        "UPDATE jobs SET status = 'running', attempts = attempts + 1, worker = $1, lease_token = lease_token + 1, \
         wake_at = $2, interrupted = FALSE, updated_at = $3 WHERE seq = $4",
    )
    .bind(worker)
    .bind(now.saturating_add(millis(ttl)))
    .bind(now)
    .bind(seq)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query(concat!("SELECT ", job_columns!(), " FROM jobs j WHERE j.seq = $1"))
        .bind(seq)
        .fetch_one(&mut *tx)
        .await?;
    let job = rows::job(&row)?;
    let version = sqlx::query("SELECT * FROM versions WHERE tenant = $1 AND document_id = $2 AND version = $3")
        .bind(job.tenant.as_str())
        .bind(job.document_id.as_str())
        .bind(to_int(job.version))
        .fetch_one(&mut *tx)
        .await?;
    let version = rows::new_version(&version, rows::priority(&row)?)?;
    let lease = Lease { job: job.id, token: unsigned(&row, "lease_token")? };
    Ok(LeasedJob { lease, job, version, resumed, index: rows::index_of_job(&row)? })
}

pub(super) async fn heartbeat(store: &Store, lease: &Lease, ttl: Duration, progress: f32) -> Result<bool, Failure> {
    let mut connection = store.writing().await?;
    let now = store.now(&mut connection).await?;
    let changed = sqlx::query(
        "UPDATE jobs SET wake_at = $1, progress = $2, updated_at = $3 \
         WHERE job_id = $4 AND lease_token = $5 AND status = 'running'",
    )
    .bind(now.saturating_add(millis(ttl)))
    .bind(progress.clamp(0.0, 1.0))
    .bind(now)
    .bind(lease.job.to_string())
    .bind(to_int(lease.token))
    .execute(&mut *connection)
    .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn fail(
    store: &Store,
    lease: &Lease,
    error: &Error,
    outcome: JobStatus,
    retry_in: Duration,
) -> Result<Job, Failure> {
    let mut tx = store.begin().await?;
    let failed = fail_in(store, &mut tx, lease, error, outcome, retry_in).await;
    end(tx, failed).await
}

async fn fail_in(
    store: &Store,
    tx: &mut Connection,
    lease: &Lease,
    error: &Error,
    outcome: JobStatus,
    retry_in: Duration,
) -> Result<Job, Failure> {
    let held = hold(tx, lease).await?;
    let now = store.now(tx).await?;
    match outcome {
        JobStatus::Queued => requeue(tx, &held, Some(error), 0, retry_in, now).await?,
        JobStatus::Failed | JobStatus::Dead => {
            // What is live stays as it is when its way into one more index fails.
            if !held.job.kind.is_maintenance() {
                set_version_status(tx, &held.job, DocumentStatus::Failed, Some(&error.message), now).await?;
            }
            finish(tx, &held.job, outcome, Some(&error.message), now).await?;
        }
        JobStatus::Running | JobStatus::Done => {
            return Err(Error::internal(format!("a try cannot fail into '{}'", outcome.as_str())).into());
        }
    }
    rows::find_job(tx, held.job.id).await
}

pub(super) async fn release(
    store: &Store,
    lease: &Lease,
    reason: Option<&Error>,
    retry_in: Duration,
) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let outcome = release_in(store, &mut tx, lease, reason, retry_in).await;
    end(tx, outcome).await
}

async fn release_in(
    store: &Store,
    tx: &mut Connection,
    lease: &Lease,
    reason: Option<&Error>,
    retry_in: Duration,
) -> Result<(), Failure> {
    let held = hold(tx, lease).await?;
    let now = store.now(tx).await?;
    requeue(tx, &held, reason, 1, retry_in, now).await
}

/// Back to the queue with `uncount` tries taken back, or to the end when a newer version waits already.
async fn requeue(
    tx: &mut Connection,
    held: &Held,
    reason: Option<&Error>,
    uncount: i64,
    retry_in: Duration,
    now: i64,
) -> Result<(), Failure> {
    if held.is_superseded() {
        return supersede(tx, &held.job, now).await;
    }
    sqlx::query(
        "UPDATE jobs SET status = 'queued', attempts = CASE WHEN attempts > $1 THEN attempts - $1 ELSE 0 END, \
         error = $2, interrupted = $2 IS NULL, worker = NULL, wake_at = $3, updated_at = $4 WHERE job_id = $5",
    )
    .bind(uncount)
    .bind(reason.map(|error| stored(&error.message)))
    .bind(now.saturating_add(millis(retry_in)))
    .bind(now)
    .bind(held.job.id.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn retry(store: &Store, caller: &Caller, id: JobId) -> Result<Job, Failure> {
    let mut tx = store.begin().await?;
    let outcome = retry_in(store, &mut tx, caller, id).await;
    end(tx, outcome).await
}

async fn retry_in(store: &Store, tx: &mut Connection, caller: &Caller, id: JobId) -> Result<Job, Failure> {
    let (all, mine) = groups(&caller.access)?;
    lock_document_of(tx, id).await?;
    let row: Row = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        ", d.version AS newest FROM jobs j JOIN documents d USING (tenant, document_id) \
         WHERE j.job_id = $1 AND j.tenant = $2 AND ",
        visible!("j", "$3", "$4")
    ))
    .bind(id.to_string())
    .bind(caller.tenant().as_str())
    .bind(all)
    .bind(mine)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| Error::not_found(format!("there is no job '{id}'")))?;
    let job = rows::job(&row)?;
    if !matches!(job.status, JobStatus::Failed | JobStatus::Dead) {
        return Err(Error::conflict(format!(
            "the job is {}: only failed and dead ones can be retried",
            job.status.as_str()
        ))
        .into());
    }
    let maintenance = job.kind.is_maintenance();
    if !maintenance && unsigned(&row, "newest")? != job.version {
        return Err(Error::conflict("a newer version of the document exists").into());
    }
    let now = store.now(tx).await?;
    sqlx::query(
        "UPDATE jobs SET status = 'queued', attempts = 0, error = NULL, progress = 0, interrupted = FALSE, \
         wake_at = $1, updated_at = $1 WHERE job_id = $2",
    )
    .bind(now)
    .bind(id.to_string())
    .execute(&mut *tx)
    .await?;
    if !maintenance {
        set_version_status(tx, &job, DocumentStatus::Processing, None, now).await?;
    }
    let note = Note::new(AuditAction::JobRetry, caller, &id.to_string(), now);
    audit::append(tx, caller.tenant(), &[note]).await?;
    rows::find_job(tx, id).await
}

pub(super) async fn release_all_leases(store: &Store) -> Result<u64, Failure> {
    if !Store::SINGLE_PROCESS {
        return Ok(0);
    }
    let mut connection = store.writing().await?;
    let now = store.now(&mut connection).await?;
    // Still `running`, so that the next lease counts as a resumption; the new token shuts out a holder that lives.
    let changed = sqlx::query("UPDATE jobs SET lease_token = lease_token + 1, wake_at = $1 WHERE status = 'running'")
        .bind(now)
        .execute(&mut *connection)
        .await?;
    Ok(changed.rows_affected())
}
