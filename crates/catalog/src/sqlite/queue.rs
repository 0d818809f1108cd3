//! The job queue: who works on what, and what becomes of a try that did not succeed.
//!
//! `attempts` counts the tries begun since the last durable stage. [`lease`] counts one; [`release`] takes it back, for
//! a shutdown or an absent dependency is not the document's fault; a crash gives nothing back, or a document that
//! brings the process down would do so for ever.

use std::time::Duration;

use ragstone_core::ports::{Lease, LeasedJob};
use ragstone_core::{DocumentStatus, Error, Job, JobId, JobStatus, Result, TenantId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteCatalog;
use super::failure::Failure;
use super::rows::{self, job_columns, to_int, unsigned};
use super::work::{Held, finish, held, set_version_status, supersede};
use crate::clock::millis;

/// The next job: of the tenants with something due, the one with the fewest running jobs; of that, the job that has
/// been due longest and whose document no other job is at work on. That is the order of acceptance, except that a job
/// that went back to the queue lets the others go first. A lease that ended is due like a queued job.
///
/// `waiting` walks the tenants with one index step each instead of reading the whole queue.
const NEXT: &str = "\
    WITH RECURSIVE waiting (tenant) AS ( \
        SELECT min(tenant) FROM jobs INDEXED BY jobs_active WHERE status IN ('queued', 'running') \
        UNION ALL \
        SELECT (SELECT min(tenant) FROM jobs INDEXED BY jobs_active \
                WHERE status IN ('queued', 'running') AND tenant > w.tenant) \
        FROM waiting w WHERE w.tenant IS NOT NULL \
    ), candidates (seq, running) AS MATERIALIZED ( \
        SELECT \
            (SELECT j.seq FROM jobs j INDEXED BY jobs_active \
             WHERE j.status IN ('queued', 'running') AND j.tenant = w.tenant AND j.wake_at <= ?1 \
             AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.tenant = j.tenant AND o.document_id = j.document_id \
                             AND o.status = 'running' AND o.seq <> j.seq) \
             ORDER BY j.wake_at, j.seq LIMIT 1), \
            (SELECT count(*) FROM jobs r WHERE r.tenant = w.tenant AND r.status = 'running' AND r.wake_at > ?1) \
        FROM waiting w WHERE w.tenant IS NOT NULL \
    ) \
    SELECT j.seq FROM candidates JOIN jobs j USING (seq) ORDER BY running, j.wake_at, j.seq LIMIT 1";

pub(super) async fn lease(catalog: &SqliteCatalog, worker: &str, ttl: Duration) -> Result<Option<LeasedJob>, Failure> {
    // Most looks at the queue find nothing: those must not wait for the writer.
    let mut reader = catalog.readers.acquire().await?;
    if next(&mut reader, catalog.now()).await?.is_none() {
        return Ok(None);
    }
    drop(reader);
    let mut tx = catalog.begin().await?;
    let now = catalog.now();
    let Some(seq) = next(&mut tx, now).await? else { return Ok(None) };
    let resumed: bool = sqlx::query_scalar("SELECT status = 'running' OR interrupted FROM jobs WHERE seq = ?")
        .bind(seq)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE jobs SET status = 'running', attempts = attempts + 1, worker = ?, lease_token = lease_token + 1, \
         wake_at = ?, interrupted = 0, updated_at = ? WHERE seq = ?",
    )
    .bind(worker)
    .bind(now.saturating_add(millis(ttl)))
    .bind(now)
    .bind(seq)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query(concat!("SELECT ", job_columns!(), " FROM jobs j WHERE j.seq = ?"))
        .bind(seq)
        .fetch_one(&mut *tx)
        .await?;
    let job = rows::job(&row)?;
    let version = sqlx::query("SELECT * FROM versions WHERE tenant = ? AND document_id = ? AND version = ?")
        .bind(job.tenant.as_str())
        .bind(job.document_id.as_str())
        .bind(to_int(job.version))
        .fetch_one(&mut *tx)
        .await?;
    let version = rows::new_version(&version)?;
    tx.commit().await?;
    let lease = Lease { job: job.id, token: unsigned(&row, "lease_token")? };
    Ok(Some(LeasedJob { lease, job, version, resumed }))
}

async fn next(connection: &mut SqliteConnection, now: i64) -> Result<Option<i64>, Failure> {
    Ok(sqlx::query_scalar(NEXT).bind(now).fetch_optional(connection).await?)
}

pub(super) async fn heartbeat(
    catalog: &SqliteCatalog,
    lease: &Lease,
    ttl: Duration,
    progress: f32,
) -> Result<bool, Failure> {
    let now = catalog.now();
    let changed = sqlx::query(
        "UPDATE jobs SET wake_at = ?, progress = ?, updated_at = ? \
         WHERE job_id = ? AND lease_token = ? AND status = 'running'",
    )
    .bind(now.saturating_add(millis(ttl)))
    .bind(progress.clamp(0.0, 1.0))
    .bind(now)
    .bind(lease.job.to_string())
    .bind(to_int(lease.token))
    .execute(&catalog.writer)
    .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn fail(
    catalog: &SqliteCatalog,
    lease: &Lease,
    error: &Error,
    outcome: JobStatus,
    retry_in: Duration,
) -> Result<Job, Failure> {
    let mut tx = catalog.begin().await?;
    let held = held(&mut tx, lease).await?;
    let now = catalog.now();
    match outcome {
        JobStatus::Queued => requeue(&mut tx, &held, Some(error), 0, retry_in, now).await?,
        JobStatus::Failed | JobStatus::Dead => {
            set_version_status(&mut tx, &held.job, DocumentStatus::Failed, Some(&error.message), now).await?;
            finish(&mut tx, &held.job, outcome, Some(&error.message), now).await?;
        }
        JobStatus::Running | JobStatus::Done => {
            return Err(Error::internal(format!("a try cannot fail into '{}'", outcome.as_str())).into());
        }
    }
    let job = rows::find_job(&mut tx, held.job.id).await?;
    tx.commit().await?;
    Ok(job)
}

pub(super) async fn release(
    catalog: &SqliteCatalog,
    lease: &Lease,
    reason: Option<&Error>,
    retry_in: Duration,
) -> Result<(), Failure> {
    let mut tx = catalog.begin().await?;
    let held = held(&mut tx, lease).await?;
    requeue(&mut tx, &held, reason, 1, retry_in, catalog.now()).await?;
    Ok(tx.commit().await?)
}

/// Back to the queue with `uncount` tries taken back, or to the end when a newer version waits already.
async fn requeue(
    tx: &mut SqliteConnection,
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
        "UPDATE jobs SET status = 'queued', attempts = max(attempts - ?1, 0), error = ?2, interrupted = ?2 IS NULL, \
         worker = NULL, wake_at = ?3, updated_at = ?4 WHERE job_id = ?5",
    )
    .bind(uncount)
    .bind(reason.map(|error| error.message.as_str()))
    .bind(now.saturating_add(millis(retry_in)))
    .bind(now)
    .bind(held.job.id.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn retry(catalog: &SqliteCatalog, tenant: &TenantId, id: JobId) -> Result<Job, Failure> {
    let mut tx = catalog.begin().await?;
    let row: SqliteRow = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        ", d.version AS newest FROM jobs j JOIN documents d USING (tenant, document_id) \
         WHERE j.job_id = ? AND j.tenant = ?"
    ))
    .bind(id.to_string())
    .bind(tenant.as_str())
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
    if unsigned(&row, "newest")? != job.version {
        return Err(Error::conflict("a newer version of the document exists").into());
    }
    let now = catalog.now();
    sqlx::query(
        "UPDATE jobs SET status = 'queued', attempts = 0, error = NULL, progress = 0, interrupted = 0, wake_at = ?1, \
         updated_at = ?1 WHERE job_id = ?2",
    )
    .bind(now)
    .bind(id.to_string())
    .execute(&mut *tx)
    .await?;
    set_version_status(&mut tx, &job, DocumentStatus::Processing, None, now).await?;
    let job = rows::find_job(&mut tx, id).await?;
    tx.commit().await?;
    Ok(job)
}

pub(super) async fn release_all_leases(catalog: &SqliteCatalog) -> Result<u64, Failure> {
    // Still `running`, so that the next lease counts as a resumption; the new token shuts out a holder that lives.
    let changed = sqlx::query("UPDATE jobs SET lease_token = lease_token + 1, wake_at = ?1 WHERE status = 'running'")
        .bind(catalog.now())
        .execute(&catalog.writer)
        .await?;
    Ok(changed.rows_affected())
}
