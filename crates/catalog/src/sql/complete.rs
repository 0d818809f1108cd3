//! The end of a job that went well: what is live now, and what nobody needs any more.

use ragstone_core::ports::Lease;
use ragstone_core::{DocumentStatus, Error, IndexName, Job, JobKind, JobStatus, Result, Stage};

use super::Store;
use super::dialect::{Connection, Sharing, delete_chunks, lock_indexes};
use super::end::end;
use super::failure::Failure;
use super::indexes;
use super::rows::to_int;
use super::work::{finish, hold, older_waiting, set_version_status, supersede};

pub(super) async fn complete(store: &Store, lease: &Lease, written: &[IndexName]) -> Result<Vec<String>, Failure> {
    let mut tx = store.begin().await?;
    let outcome = complete_in(store, &mut tx, lease, written).await;
    end(tx, outcome).await
}

async fn complete_in(
    store: &Store,
    tx: &mut Connection,
    lease: &Lease,
    written: &[IndexName],
) -> Result<Vec<String>, Failure> {
    // Before the document's own lock: an index that is added waits for this, or this sees it.
    lock_indexes(tx, Sharing::Shared).await?;
    let held = hold(tx, lease).await?;
    let now = store.now(tx).await?;
    if held.job.stage < Stage::Clean {
        if !held.is_superseded() {
            return Err(Error::internal("a job ended before its version was published").into());
        }
        supersede(tx, &held.job, now).await?;
        return Ok(Vec::new());
    }
    let status = match held.job.kind {
        JobKind::Ingest => DocumentStatus::Ready,
        JobKind::Delete => DocumentStatus::Deleted,
        JobKind::Rebuild | JobKind::Move => {
            remove(tx, &held.job).await?;
            return Ok(Vec::new());
        }
    };
    set_version_status(tx, &held.job, status, None, now).await?;
    let newest_of_all = set_live(tx, &held.job, now).await?;
    match held.job.kind {
        JobKind::Ingest if newest_of_all => indexes::went_live(tx, &held.job, written, now).await?,
        JobKind::Delete if newest_of_all => indexes::went_away(tx, &held.job).await?,
        _ => {}
    }
    // This job has cleaned up after all older ones: whichever of them waits must not touch the indexes again.
    for older in older_waiting(tx, &held.job).await? {
        supersede(tx, &older, now).await?;
    }
    finish(tx, &held.job, JobStatus::Done, None, now).await?;
    let unused = retire_older(tx, &held.job).await?;
    // Last, as every job of the tenant that ends waits for this row.
    sqlx::query("UPDATE tenants SET corpus_generation = corpus_generation + 1 WHERE tenant = $1")
        .bind(held.job.tenant.as_str())
        .execute(&mut *tx)
        .await?;
    Ok(unused)
}

/// A maintenance job leaves nothing behind.
async fn remove(tx: &mut Connection, job: &Job) -> Result<(), Failure> {
    sqlx::query("DELETE FROM jobs WHERE job_id = $1").bind(job.id.to_string()).execute(tx).await?;
    Ok(())
}

/// Makes the job's version the live one, or none after a removal; unless a newer version got there first, which is said.
async fn set_live(tx: &mut Connection, job: &Job, now: i64) -> Result<bool, Failure> {
    let changed = sqlx::query(
        "UPDATE documents SET live_version = $1, updated_at = $2 WHERE tenant = $3 AND document_id = $4 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.tenant = $3 AND v.document_id = $4 AND v.version > $5 \
                         AND v.status IN ('ready', 'deleted'))",
    )
    .bind((job.kind == JobKind::Ingest).then_some(to_int(job.version)))
    .bind(now)
    .bind(job.tenant.as_str())
    .bind(job.document_id.as_str())
    .bind(to_int(job.version))
    .execute(tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Drops what only versions older than the job's needed: chunk texts, the caller's fields, and the claim on the body.
/// Returns bodies that no version claims any more.
async fn retire_older(tx: &mut Connection, job: &Job) -> Result<Vec<String>, Failure> {
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    delete_chunks(tx, &job.tenant, &job.document_id, 1..=job.version.saturating_sub(1)).await?;
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT content_hash FROM versions \
         WHERE tenant = $1 AND document_id = $2 AND version < $3 AND needs_body",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE versions SET needs_body = FALSE, title = '', metadata = '{}' \
         WHERE tenant = $1 AND document_id = $2 AND version < $3 AND needs_body",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    // The same bytes may be another version's, document's or tenant's.
    let mut unused = Vec::new();
    for body in bodies {
        let claimed: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM versions WHERE content_hash = $1 AND needs_body)")
                .bind(&body)
                .fetch_one(&mut *tx)
                .await?;
        if !claimed {
            unused.push(body);
        }
    }
    Ok(unused)
}
