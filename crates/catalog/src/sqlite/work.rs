//! What a worker writes while it holds a lease: text, stages, the end.

use ragstone_core::ports::{Lease, VersionText};
use ragstone_core::{DocumentStatus, Error, Job, JobKind, JobStatus, Result, Stage};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SqliteCatalog;
use super::failure::Failure;
use super::rows::{self, from_int, job_columns, to_int, unsigned};

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

/// The job of `lease`, if it is still held. Whoever writes calls this first, in the same transaction. A lease whose
/// time is over but that nobody else took still counts: its holder is the only one.
pub(super) async fn held(connection: &mut SqliteConnection, lease: &Lease) -> Result<Held, Failure> {
    let row: SqliteRow = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        ", d.version AS newest FROM jobs j JOIN documents d USING (tenant, document_id) \
         WHERE j.job_id = ? AND j.lease_token = ? AND j.status = 'running'"
    ))
    .bind(lease.job.to_string())
    .bind(to_int(lease.token))
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::conflict(format!("the lease of job {} is lost", lease.job)))?;
    Ok(Held { job: rows::job(&row)?, newest: unsigned(&row, "newest")? })
}

pub(super) async fn store_text(catalog: &SqliteCatalog, lease: &Lease, text: VersionText) -> Result<(), Failure> {
    let mut tx = catalog.begin().await?;
    let Held { job, .. } = held(&mut tx, lease).await?;
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    sqlx::query("DELETE FROM chunks WHERE tenant = ? AND document_id = ? AND version = ?")
        .bind(tenant)
        .bind(document)
        .bind(version)
        .execute(&mut *tx)
        .await?;
    for chunk in &text.chunks {
        sqlx::query("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(tenant)
            .bind(document)
            .bind(version)
            .bind(chunk.index)
            .bind(&chunk.content)
            .bind(serde_json::to_string(&chunk.heading_path)?)
            .bind(to_int(chunk.start))
            .bind(to_int(chunk.end))
            .bind(chunk.tokens)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "UPDATE versions SET title = ?, language = ?, chunks = ? WHERE tenant = ? AND document_id = ? AND version = ?",
    )
    .bind(&text.title)
    .bind(&text.language)
    .bind(to_int(text.chunks.len() as u64))
    .bind(tenant)
    .bind(document)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    set_stage(&mut tx, lease, Stage::Embed, catalog.now()).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn text(catalog: &SqliteCatalog, lease: &Lease) -> Result<VersionText, Failure> {
    // One transaction, so that all of it is one state.
    let mut tx = catalog.readers.begin().await?;
    let Held { job, .. } = held(&mut tx, lease).await?;
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    let row = sqlx::query(
        "SELECT title, language, chunks FROM versions WHERE tenant = ? AND document_id = ? AND version = ?",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .fetch_one(&mut *tx)
    .await?;
    let chunks = sqlx::query(
        "SELECT chunk_index, content, heading_path, start_char, end_char, tokens FROM chunks \
         WHERE tenant = ? AND document_id = ? AND version = ? ORDER BY chunk_index",
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
    Ok(VersionText { title: row.try_get("title")?, language: row.try_get("language")?, chunks })
}

pub(super) async fn advance(catalog: &SqliteCatalog, lease: &Lease, stage: Stage) -> Result<(), Failure> {
    let mut tx = catalog.begin().await?;
    let Held { job, .. } = held(&mut tx, lease).await?;
    if stage <= job.stage {
        return Err(Error::internal(format!("a job in {} cannot go to {}", job.stage.as_str(), stage.as_str())).into());
    }
    set_stage(&mut tx, lease, stage, catalog.now()).await?;
    Ok(tx.commit().await?)
}

/// Tries count from the last durable step: work that gets further each time is not what a dead letter is for.
async fn set_stage(connection: &mut SqliteConnection, lease: &Lease, stage: Stage, now: i64) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE jobs SET stage = ?, attempts = min(attempts, 1), error = NULL, updated_at = ? WHERE job_id = ?",
    )
    .bind(stage.as_str())
    .bind(now)
    .bind(lease.job.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn superseded(catalog: &SqliteCatalog, lease: &Lease) -> Result<bool, Failure> {
    let mut connection = catalog.readers.acquire().await?;
    Ok(held(&mut connection, lease).await?.is_superseded())
}

pub(super) async fn complete(catalog: &SqliteCatalog, lease: &Lease) -> Result<Vec<String>, Failure> {
    let mut tx = catalog.begin().await?;
    let held = held(&mut tx, lease).await?;
    let now = catalog.now();
    if held.job.stage < Stage::Clean {
        if !held.is_superseded() {
            return Err(Error::internal("a job ended before its version was published").into());
        }
        supersede(&mut tx, &held.job, now).await?;
        tx.commit().await?;
        return Ok(Vec::new());
    }
    let status = match held.job.kind {
        JobKind::Ingest => DocumentStatus::Ready,
        JobKind::Delete => DocumentStatus::Deleted,
    };
    set_version_status(&mut tx, &held.job, status, None, now).await?;
    sqlx::query(
        "UPDATE documents SET live_version = ?, updated_at = ? \
         WHERE tenant = ? AND document_id = ? AND coalesce(live_version, 0) < ?",
    )
    .bind((held.job.kind == JobKind::Ingest).then_some(to_int(held.job.version)))
    .bind(now)
    .bind(held.job.tenant.as_str())
    .bind(held.job.document_id.as_str())
    .bind(to_int(held.job.version))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE tenants SET corpus_generation = corpus_generation + 1 WHERE tenant = ?")
        .bind(held.job.tenant.as_str())
        .execute(&mut *tx)
        .await?;
    finish(&mut tx, &held.job, JobStatus::Done, None, now).await?;
    let unused = retire_older(&mut tx, &held.job).await?;
    tx.commit().await?;
    Ok(unused)
}

/// Drops what only versions older than the job's needed: chunk texts, the caller's fields, and the claim on the body.
/// Returns bodies that no version claims any more.
async fn retire_older(tx: &mut SqliteConnection, job: &Job) -> Result<Vec<String>, Failure> {
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    sqlx::query("DELETE FROM chunks WHERE tenant = ? AND document_id = ? AND version < ?")
        .bind(tenant)
        .bind(document)
        .bind(version)
        .execute(&mut *tx)
        .await?;
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT content_hash FROM versions \
         WHERE tenant = ? AND document_id = ? AND version < ? AND needs_body = 1",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE versions SET needs_body = 0, title = '', metadata = '{}' \
         WHERE tenant = ? AND document_id = ? AND version < ? AND needs_body = 1",
    )
    .bind(tenant)
    .bind(document)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    // The same bytes may be another version's, document's or tenant's.
    let mut unused = Vec::new();
    for body in bodies {
        let claimed: i64 =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM versions WHERE content_hash = ? AND needs_body = 1)")
                .bind(&body)
                .fetch_one(&mut *tx)
                .await?;
        if from_int(claimed) == 0 {
            unused.push(body);
        }
    }
    Ok(unused)
}

/// Ends the queued jobs of versions older than `job`'s. A removal also covers older removals.
pub(super) async fn supersede_waiting(tx: &mut SqliteConnection, job: &Job, now: i64) -> Result<(), Failure> {
    let waiting = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs j WHERE j.tenant = ? AND j.document_id = ? AND j.version < ? AND j.status = 'queued'"
    ))
    .bind(job.tenant.as_str())
    .bind(job.document_id.as_str())
    .bind(to_int(job.version))
    .fetch_all(&mut *tx)
    .await?;
    for row in &waiting {
        let older = rows::job(row)?;
        if can_be_superseded(&older) || (job.kind == JobKind::Delete && older.kind == JobKind::Delete) {
            supersede(tx, &older, now).await?;
        }
    }
    Ok(())
}

/// Ends a job whose version will never be needed.
pub(super) async fn supersede(tx: &mut SqliteConnection, job: &Job, now: i64) -> Result<(), Failure> {
    let reason = "a newer version replaced this one before it was processed";
    set_version_status(tx, job, DocumentStatus::Failed, Some(reason), now).await?;
    finish(tx, job, JobStatus::Done, None, now).await
}

/// Sets the version's status, and the document's where it is the newest version.
pub(super) async fn set_version_status(
    tx: &mut SqliteConnection,
    job: &Job,
    status: DocumentStatus,
    error: Option<&str>,
    now: i64,
) -> Result<(), Failure> {
    let (tenant, document, version) = (job.tenant.as_str(), job.document_id.as_str(), to_int(job.version));
    sqlx::query("UPDATE versions SET status = ?, error = ? WHERE tenant = ? AND document_id = ? AND version = ?")
        .bind(status.as_str())
        .bind(error)
        .bind(tenant)
        .bind(document)
        .bind(version)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE documents SET status = ?, updated_at = ? WHERE tenant = ? AND document_id = ? AND version = ?")
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
    tx: &mut SqliteConnection,
    job: &Job,
    status: JobStatus,
    error: Option<&str>,
    now: i64,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE jobs SET status = ?1, error = ?2, progress = iif(?1 = 'done', 1.0, progress), worker = NULL, \
         updated_at = ?3 WHERE job_id = ?4",
    )
    .bind(status.as_str())
    .bind(error)
    .bind(now)
    .bind(job.id.to_string())
    .execute(&mut *tx)
    .await?;
    Ok(())
}
