//! The indexes there are, and the maintenance jobs that fill them or move documents within them.
//!
//! Every live document is in every index, or has a `Rebuild` job for it, at any moment: whoever adds an index and whoever
//! lets a version go live shut each other out (`lock_indexes`).

use ragstone_core::ports::Unfinished;
use ragstone_core::{
    AuditAction, Caller, DocumentId, Error, Index, IndexName, IndexSpec, IndexState, Job, JobKind, JobStatus, Priority,
    Result, Stage, TenantId,
};
use sqlx::Row as _;

use super::Store;
use super::audit::{self, Note};
use super::dialect::{Connection, Sharing, elements, lock_indexes, new_uuid};
use super::end::end;
use super::failure::Failure;
use super::rows::{self, to_int, unsigned};

/// Inserts maintenance jobs for live documents that meet further conditions. Parameters: kind, stage, priority, index, now.
macro_rules! enqueue_query {
    ($conditions:expr, $conflict:literal) => {
        concat!(
            "INSERT INTO jobs (job_id, tenant, document_id, version, kind, index_name, priority, status, stage, \
             wake_at, created_at, updated_at) SELECT ",
            new_uuid!(),
            ", d.tenant, d.document_id, d.live_version, $1, $4, $3, 'queued', $2, $5, $5, $5 FROM documents d \
             WHERE d.live_version IS NOT NULL",
            $conditions,
            // In one order, so that two who do this never wait for each other.
            " ORDER BY d.tenant, d.document_id \
             ON CONFLICT (tenant, document_id, kind, index_name) WHERE index_name IS NOT NULL ",
            $conflict
        )
    };
}

/// Where a maintenance job begins.
fn first_stage(kind: JobKind) -> Result<Stage> {
    match kind {
        JobKind::Rebuild => Ok(Stage::Embed),
        JobKind::Move => Ok(Stage::Clean),
        JobKind::Ingest | JobKind::Delete => {
            Err(Error::invalid(format!("'{}' is not a kind of maintenance", kind.as_str())))
        }
    }
}

pub(super) async fn all(store: &Store) -> Result<Vec<Index>, Failure> {
    let mut connection = store.primary().await?;
    list(&mut connection).await
}

async fn list(connection: &mut Connection) -> Result<Vec<Index>, Failure> {
    let rows = sqlx::query("SELECT * FROM indexes ORDER BY seq").fetch_all(connection).await?;
    rows.iter().map(rows::index).collect()
}

async fn find(connection: &mut Connection, name: &IndexName) -> Result<Option<Index>, Failure> {
    let row =
        sqlx::query("SELECT * FROM indexes WHERE name = $1").bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(rows::index).transpose()
}

pub(super) async fn add(store: &Store, spec: &IndexSpec, by: Option<&Caller>) -> Result<Index, Failure> {
    let mut tx = store.begin_long().await?;
    let outcome = add_in(store, &mut tx, spec, by).await;
    end(tx, outcome).await
}

async fn add_in(store: &Store, tx: &mut Connection, spec: &IndexSpec, by: Option<&Caller>) -> Result<Index, Failure> {
    lock_indexes(tx, Sharing::Alone).await?;
    let now = store.now(tx).await?;
    sqlx::query(
        "INSERT INTO indexes (name, model, revision, dimension, state, created_at) \
         SELECT $1, $2, $3, $4, CASE WHEN EXISTS (SELECT 1 FROM indexes) THEN 'building' ELSE 'serving' END, $5 \
         WHERE NOT EXISTS (SELECT 1 FROM indexes WHERE name = $1)",
    )
    .bind(spec.name.as_str())
    .bind(&spec.model)
    .bind(&spec.revision)
    .bind(to_int(spec.dimension as u64))
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let index = find(tx, &spec.name).await?.ok_or_else(|| Error::internal("the index is not there"))?;
    sqlx::query(enqueue_query!("", "DO NOTHING"))
        .bind(JobKind::Rebuild.as_str())
        .bind(first_stage(JobKind::Rebuild)?.as_str())
        .bind(i64::from(Priority::Low.rank()))
        .bind(spec.name.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await?;
    note(store, tx, AuditAction::ReindexBegin, &spec.name, by).await?;
    Ok(index)
}

/// Notes who changed an index, where somebody did.
async fn note(
    store: &Store,
    tx: &mut Connection,
    action: AuditAction,
    name: &IndexName,
    by: Option<&Caller>,
) -> Result<(), Failure> {
    let Some(caller) = by else { return Ok(()) };
    let now = store.now(tx).await?;
    audit::append(tx, caller.tenant(), &[Note::new(action, caller, name.as_str(), now)]).await
}

pub(super) async fn serve(store: &Store, name: &IndexName, by: Option<&Caller>) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let outcome = serve_in(store, &mut tx, name, by).await;
    end(tx, outcome).await
}

async fn serve_in(store: &Store, tx: &mut Connection, name: &IndexName, by: Option<&Caller>) -> Result<(), Failure> {
    lock_indexes(tx, Sharing::Alone).await?;
    if find(tx, name).await?.is_none() {
        return Err(Error::not_found(format!("there is no index '{name}'")).into());
    }
    let Unfinished { active, stuck } = count_unfinished(tx, JobKind::Rebuild, name).await?;
    if active + stuck > 0 {
        let message = format!("the index '{name}' is not complete: {active} documents wait, {stuck} failed");
        return Err(Error::conflict(message).into());
    }
    // Two statements, as at no moment two may serve.
    sqlx::query("UPDATE indexes SET state = $1 WHERE state = $2 AND name <> $3")
        .bind(IndexState::Standby.as_str())
        .bind(IndexState::Serving.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE indexes SET state = $1 WHERE name = $2")
        .bind(IndexState::Serving.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
    note(store, tx, AuditAction::IndexSwitch, name, by).await
}

pub(super) async fn remove(store: &Store, name: &IndexName, by: Option<&Caller>) -> Result<(), Failure> {
    let mut tx = store.begin_long().await?;
    let outcome = remove_in(store, &mut tx, name, by).await;
    end(tx, outcome).await
}

async fn remove_in(store: &Store, tx: &mut Connection, name: &IndexName, by: Option<&Caller>) -> Result<(), Failure> {
    lock_indexes(tx, Sharing::Alone).await?;
    if find(tx, name).await?.is_some_and(|index| index.state == IndexState::Serving) {
        return Err(Error::conflict(format!("the index '{name}' serves: let another one serve first")).into());
    }
    sqlx::query("DELETE FROM jobs WHERE index_name = $1").bind(name.as_str()).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM indexes WHERE name = $1").bind(name.as_str()).execute(&mut *tx).await?;
    note(store, tx, AuditAction::IndexDrop, name, by).await
}

pub(super) async fn enqueue(
    store: &Store,
    kind: JobKind,
    index: &IndexName,
    documents: &[(TenantId, DocumentId)],
) -> Result<u64, Failure> {
    let mut tx = store.begin_long().await?;
    let outcome = enqueue_in(store, &mut tx, kind, index, documents).await;
    end(tx, outcome).await
}

async fn enqueue_in(
    store: &Store,
    tx: &mut Connection,
    kind: JobKind,
    index: &IndexName,
    documents: &[(TenantId, DocumentId)],
) -> Result<u64, Failure> {
    let stage = first_stage(kind)?;
    // Alone: a document that is removed meanwhile would keep a job.
    lock_indexes(tx, Sharing::Alone).await?;
    if find(tx, index).await?.is_none() {
        return Err(Error::not_found(format!("there is no index '{index}'")).into());
    }
    let now = store.now(tx).await?;
    let query = enqueue_query!(
        concat!(" AND (d.tenant, d.document_id) IN (SELECT e.value ->> 0, e.value ->> 1 FROM ", elements!("$6"), " e)"),
        "DO NOTHING"
    );
    let enqueued = sqlx::query(query)
        .bind(kind.as_str())
        .bind(stage.as_str())
        .bind(i64::from(Priority::Low.rank()))
        .bind(index.as_str())
        .bind(now)
        .bind(serde_json::to_string(documents)?)
        .execute(&mut *tx)
        .await?;
    Ok(enqueued.rows_affected())
}

pub(super) async fn unfinished(store: &Store, kind: JobKind, index: &IndexName) -> Result<Unfinished, Failure> {
    let mut connection = store.primary().await?;
    count_unfinished(&mut connection, kind, index).await
}

async fn count_unfinished(
    connection: &mut Connection,
    kind: JobKind,
    index: &IndexName,
) -> Result<Unfinished, Failure> {
    let row = sqlx::query(
        "SELECT count(CASE WHEN status IN ('queued', 'running') THEN 1 END) AS active, \
                count(CASE WHEN status IN ('failed', 'dead') THEN 1 END) AS stuck \
         FROM jobs WHERE kind = $1 AND index_name = $2",
    )
    .bind(kind.as_str())
    .bind(index.as_str())
    .fetch_one(connection)
    .await?;
    Ok(Unfinished { active: unsigned(&row, "active")?, stuck: unsigned(&row, "stuck")? })
}

pub(super) async fn retry_unfinished(store: &Store, kind: JobKind, index: &IndexName) -> Result<u64, Failure> {
    let mut tx = store.begin_long().await?;
    let outcome = retry_unfinished_in(store, &mut tx, kind, index).await;
    end(tx, outcome).await
}

async fn retry_unfinished_in(
    store: &Store,
    tx: &mut Connection,
    kind: JobKind,
    index: &IndexName,
) -> Result<u64, Failure> {
    lock_indexes(tx, Sharing::Alone).await?;
    let now = store.now(tx).await?;
    let changed = sqlx::query(
        "UPDATE jobs SET status = $1, attempts = 0, error = NULL, progress = 0, interrupted = FALSE, wake_at = $2, \
         updated_at = $2 WHERE kind = $3 AND index_name = $4 AND status IN ('failed', 'dead')",
    )
    .bind(JobStatus::Queued.as_str())
    .bind(now)
    .bind(kind.as_str())
    .bind(index.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(changed.rows_affected())
}

/// The job's version is live in the indexes `written`: no `Rebuild` is needed for those any more, and one for every other.
/// What else waits for this document is about this version now.
pub(super) async fn went_live(tx: &mut Connection, job: &Job, written: &[IndexName], now: i64) -> Result<(), Failure> {
    sqlx::query("UPDATE jobs SET version = $1 WHERE tenant = $2 AND document_id = $3 AND index_name IS NOT NULL")
        .bind(to_int(job.version))
        .bind(job.tenant.as_str())
        .bind(job.document_id.as_str())
        .execute(&mut *tx)
        .await?;
    let names = sqlx::query("SELECT name FROM indexes ORDER BY seq").fetch_all(&mut *tx).await?;
    for row in names {
        let name: String = row.try_get("name")?;
        let query = if written.iter().any(|written| written.as_str() == name) {
            sqlx::query("DELETE FROM jobs WHERE kind = $1 AND index_name = $2 AND tenant = $3 AND document_id = $4")
                .bind(JobKind::Rebuild.as_str())
                .bind(name)
        } else {
            sqlx::query(enqueue_query!(
                " AND d.tenant = $6 AND d.document_id = $7",
                "DO UPDATE SET version = excluded.version, status = 'queued', stage = excluded.stage, attempts = 0, \
                 error = NULL, progress = 0, interrupted = FALSE, wake_at = excluded.wake_at, \
                 updated_at = excluded.updated_at"
            ))
            .bind(JobKind::Rebuild.as_str())
            .bind(first_stage(JobKind::Rebuild)?.as_str())
            .bind(i64::from(Priority::Low.rank()))
            .bind(name)
            .bind(now)
        };
        query.bind(job.tenant.as_str()).bind(job.document_id.as_str()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// The job's document is gone: nothing needs to be done for it any more.
pub(super) async fn went_away(tx: &mut Connection, job: &Job) -> Result<(), Failure> {
    sqlx::query("DELETE FROM jobs WHERE tenant = $1 AND document_id = $2 AND index_name IS NOT NULL")
        .bind(job.tenant.as_str())
        .bind(job.document_id.as_str())
        .execute(tx)
        .await?;
    Ok(())
}
