//! What a worker writes while it holds a lease: text and stages.

use ragstone_core::ports::{Lease, VersionText};
use ragstone_core::{DocumentStatus, Error, Job, JobKind, JobStatus, Result, Stage};
use sqlx::Row as _;

use super::Store;
use super::dialect::{Connection, delete_chunks, for_update, insert_chunks, lock_document_of, stored};
use super::end::end;
use super::failure::Failure;
use super::rows::{self, job_columns, prose, to_int, unsigned};

/// A job that its lease still holds, with the newest version of its document.
pub(super) struct Held {
    pub(super) job: Job,
    pub(super) newest: u64,
}

impl Held {
    /// Whether a newer version makes this work needless.
    pub(super) fn is_superseded(&self) -> bool {
        self.newest > self.job.version && can_be_superseded(&self.job)
    }
}

/// Not a removal, which must happen even when the next version fails; and nothing from `Publish` on, for the index may
/// show that version already, and only finishing tells the catalog.
fn can_be_superseded(job: &Job) -> bool {
    job.kind == JobKind::Ingest && job.stage < Stage::Publish
}

/// The job of a lease with the newest version of its document, if it is still held.
macro_rules! held_query {
    ($lock:expr) => {
        concat!(
            "SELECT ",
            job_columns!(),
            ", d.version AS newest FROM jobs j JOIN documents d USING (tenant, document_id) \
             WHERE j.job_id = $1 AND j.lease_token = $2 AND j.status = 'running'",
            $lock
        )
    };
}

/// The job of `lease`, if it is still held, for a read. A lease whose time is over but that nobody else took still
/// counts: its holder is the only one.
async fn held(connection: &mut Connection, lease: &Lease) -> Result<Held, Failure> {
    find_held(connection, lease, held_query!("")).await
}

/// The same, and it stays held until the transaction ends: whoever writes calls this first.
pub(super) async fn hold(tx: &mut Connection, lease: &Lease) -> Result<Held, Failure> {
    lock_document_of(tx, lease.job).await?;
    find_held(tx, lease, held_query!(for_update!("j"))).await
}

async fn find_held(connection: &mut Connection, lease: &Lease, query: &'static str) -> Result<Held, Failure> {
    let row = sqlx::query(query)
        .bind(lease.job.to_string())
        .bind(to_int(lease.token))
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| Error::conflict(format!("the lease of job {} is lost", lease.job)))?;
    Ok(Held { job: rows::job(&row)?, newest: unsigned(&row, "newest")? })
}

pub(super) async fn store_text(store: &Store, lease: &Lease, text: VersionText) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let outcome = store_text_in(store, &mut tx, lease, &text).await;
    end(tx, outcome).await
}

async fn store_text_in(store: &Store, tx: &mut Connection, lease: &Lease, text: &VersionText) -> Result<(), Failure> {
    let Held { job, .. } = hold(tx, lease).await?;
    let now = store.now(tx).await?;
    delete_chunks(tx, &job.tenant, &job.document_id, job.version..=job.version).await?;
    insert_chunks(store, tx, (&job.tenant, &job.document_id, job.version), text).await?;
    sqlx::query(
        "UPDATE versions SET title = $1, language = $2, chunks = $3 \
         WHERE tenant = $4 AND document_id = $5 AND version = $6",
    )
    .bind(stored(&text.title))
    .bind(&text.language)
    .bind(to_int(text.chunks.len() as u64))
    .bind(job.tenant.as_str())
    .bind(job.document_id.as_str())
    .bind(to_int(job.version))
    .execute(&mut *tx)
    .await?;
    set_stage(tx, lease, Stage::Embed, now).await
}

pub(super) async fn text(store: &Store, lease: &Lease) -> Result<VersionText, Failure> {
    // One transaction, so that all of it is one state.
    let mut tx = store.snapshot_of_primary().await?;
    let Held { job, .. } = held(&mut tx, lease).await?;
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    let row = sqlx::query(
        "SELECT title, language, chunks FROM versions WHERE tenant = $1 AND document_id = $2 AND version = $3",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .fetch_one(&mut *tx)
    .await?;
    let chunks = sqlx::query(
        "SELECT chunk_index, content, heading_path, start_char, end_char, tokens FROM chunks \
         WHERE tenant = $1 AND document_id = $2 AND version = $3 ORDER BY chunk_index",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .fetch_all(&mut *tx)
    .await?;
    if chunks.is_empty() || chunks.len() as u64 != unsigned(&row, "chunks")? {
        return Err(Error::internal(format!("the text of version {version} of the document is not stored")).into());
    }
    let chunks = chunks.iter().map(rows::chunk).collect::<Result<_, _>>()?;
    Ok(VersionText { title: prose(&row, "title")?, language: row.try_get("language")?, chunks })
}

pub(super) async fn advance(store: &Store, lease: &Lease, stage: Stage) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let outcome = advance_in(store, &mut tx, lease, stage).await;
    end(tx, outcome).await
}

async fn advance_in(store: &Store, tx: &mut Connection, lease: &Lease, stage: Stage) -> Result<(), Failure> {
    let Held { job, .. } = hold(tx, lease).await?;
    if stage <= job.stage {
        return Err(Error::internal(format!("a job in {} cannot go to {}", job.stage.as_str(), stage.as_str())).into());
    }
    let now = store.now(tx).await?;
    set_stage(tx, lease, stage, now).await
}

/// Tries count from the last durable step: work that gets further each time is not what a dead letter is for.
async fn set_stage(connection: &mut Connection, lease: &Lease, stage: Stage, now: i64) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE jobs SET stage = $1, attempts = CASE WHEN attempts > 1 THEN 1 ELSE attempts END, error = NULL, \
         updated_at = $2 WHERE job_id = $3",
    )
    .bind(stage.as_str())
    .bind(now)
    .bind(lease.job.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn superseded(store: &Store, lease: &Lease) -> Result<bool, Failure> {
    let mut connection = store.primary().await?;
    Ok(held(&mut connection, lease).await?.is_superseded())
}

/// The queued jobs of versions older than `job`'s.
pub(super) async fn older_waiting(tx: &mut Connection, job: &Job) -> Result<Vec<Job>, Failure> {
    let waiting = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs j WHERE j.tenant = $1 AND j.document_id = $2 AND j.version < $3 AND j.status = 'queued' \
         AND j.index_name IS NULL"
    ))
    .bind(job.tenant.as_str())
    .bind(job.document_id.as_str())
    .bind(to_int(job.version))
    .fetch_all(tx)
    .await?;
    waiting.iter().map(rows::job).collect()
}

/// Ends the queued jobs that `job`, of a newer version, makes needless. A removal also covers older removals.
pub(super) async fn supersede_waiting(tx: &mut Connection, job: &Job, now: i64) -> Result<(), Failure> {
    for older in older_waiting(tx, job).await? {
        if can_be_superseded(&older) || (job.kind == JobKind::Delete && older.kind == JobKind::Delete) {
            supersede(tx, &older, now).await?;
        }
    }
    Ok(())
}

/// Ends a job whose version will never be needed.
pub(super) async fn supersede(tx: &mut Connection, job: &Job, now: i64) -> Result<(), Failure> {
    let reason = "a newer version replaced this one before it was processed";
    set_version_status(tx, job, DocumentStatus::Failed, Some(reason), now).await?;
    finish(tx, job, JobStatus::Done, None, now).await
}

/// Sets the version's status, and the document's where it is the newest version.
pub(super) async fn set_version_status(
    tx: &mut Connection,
    job: &Job,
    status: DocumentStatus,
    error: Option<&str>,
    now: i64,
) -> Result<(), Failure> {
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    sqlx::query("UPDATE versions SET status = $1, error = $2 WHERE tenant = $3 AND document_id = $4 AND version = $5")
        .bind(status.as_str())
        .bind(error.map(stored))
        .bind(tenant)
        .bind(document)
        .bind(version)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE documents SET status = $1, updated_at = $2 WHERE tenant = $3 AND document_id = $4 AND version = $5",
    )
    .bind(status.as_str())
    .bind(now)
    .bind(tenant)
    .bind(document)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Puts the job in a final state.
pub(super) async fn finish(
    tx: &mut Connection,
    job: &Job,
    status: JobStatus,
    error: Option<&str>,
    now: i64,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE jobs SET status = $1, error = $2, progress = CASE WHEN $1 = 'done' THEN 1.0 ELSE progress END, \
         worker = NULL, updated_at = $3 WHERE job_id = $4",
    )
    .bind(status.as_str())
    .bind(error.map(stored))
    .bind(now)
    .bind(job.id.to_string())
    .execute(&mut *tx)
    .await?;
    Ok(())
}
