//! Rows to domain types: the one place that knows the columns' form.

use ragstone_core::ports::NewVersion;
use ragstone_core::{
    Chunk, Document, DocumentId, DocumentStatus, DocumentVersion, Error, Job, JobId, JobKind, JobStatus, Stage,
    TenantId,
};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::failure::Failure;
use crate::clock::from_millis;

/// The columns of a job, of `jobs` named `j`.
macro_rules! job_columns {
    () => {
        "j.seq, j.job_id, j.tenant, j.document_id, j.version, j.kind, j.status, j.stage, j.attempts, j.error, \
         j.progress, j.lease_token, j.interrupted, j.created_at, j.updated_at"
    };
}
/// The columns of a document, of `documents` named `d` joined with its newest version `v`.
macro_rules! document_columns {
    () => {
        "d.tenant, d.document_id, d.version, d.live_version, d.status, v.title, v.media_type, v.bytes, v.chunks, \
         v.metadata, v.groups, v.error, d.created_at, d.updated_at"
    };
}
pub(super) use {document_columns, job_columns};

/// A count, version or size as SQLite's integers carry it. None of ours comes near 2^63.
pub(super) fn to_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The same back.
pub(super) fn from_int(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A column that is never negative.
pub(super) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, Failure> {
    Ok(from_int(row.try_get(column)?))
}

/// A JSON column.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, Failure> {
    Ok(serde_json::from_str(row.try_get(column)?)?)
}

/// A column with one of our stable names.
fn named<T>(row: &SqliteRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, Failure> {
    let name: &str = row.try_get(column)?;
    parse(name).ok_or_else(|| Error::internal(format!("the catalog holds the unknown {column} '{name}'")).into())
}

fn time(row: &SqliteRow, column: &str) -> Result<std::time::SystemTime, Failure> {
    Ok(from_millis(row.try_get(column)?))
}

/// A count that began as 32 bits.
fn small(row: &SqliteRow, column: &str) -> Result<u32, Failure> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

pub(super) fn job(row: &SqliteRow) -> Result<Job, Failure> {
    Ok(Job {
        id: JobId::parse(row.try_get("job_id")?)?,
        tenant: TenantId::new(row.try_get::<String, _>("tenant")?)?,
        kind: named(row, "kind", JobKind::parse)?,
        document_id: DocumentId::new(row.try_get::<String, _>("document_id")?)?,
        version: unsigned(row, "version")?,
        status: named(row, "status", JobStatus::parse)?,
        stage: named(row, "stage", Stage::parse)?,
        attempts: small(row, "attempts")?,
        error: row.try_get("error")?,
        progress: row.try_get("progress")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A job that is there.
pub(super) async fn find_job(connection: &mut SqliteConnection, id: JobId) -> Result<Job, Failure> {
    let row = sqlx::query(concat!("SELECT ", job_columns!(), " FROM jobs j WHERE j.job_id = ?"))
        .bind(id.to_string())
        .fetch_one(connection)
        .await?;
    job(&row)
}

pub(super) fn document(row: &SqliteRow) -> Result<Document, Failure> {
    Ok(Document {
        tenant: TenantId::new(row.try_get::<String, _>("tenant")?)?,
        id: DocumentId::new(row.try_get::<String, _>("document_id")?)?,
        version: unsigned(row, "version")?,
        live_version: row.try_get::<Option<i64>, _>("live_version")?.map(from_int),
        status: named(row, "status", DocumentStatus::parse)?,
        title: row.try_get("title")?,
        media_type: row.try_get("media_type")?,
        bytes: unsigned(row, "bytes")?,
        chunks: small(row, "chunks")?,
        metadata: json(row, "metadata")?,
        groups: json(row, "groups")?,
        error: row.try_get("error")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub(super) fn history(row: &SqliteRow) -> Result<DocumentVersion, Failure> {
    Ok(DocumentVersion {
        version: unsigned(row, "version")?,
        status: named(row, "status", DocumentStatus::parse)?,
        bytes: unsigned(row, "bytes")?,
        chunks: small(row, "chunks")?,
        content_hash: row.try_get("content_hash")?,
        error: row.try_get("error")?,
        created_at: time(row, "created_at")?,
    })
}

/// What was accepted as this version.
pub(super) fn new_version(row: &SqliteRow) -> Result<NewVersion, Failure> {
    Ok(NewVersion {
        tenant: TenantId::new(row.try_get::<String, _>("tenant")?)?,
        document_id: DocumentId::new(row.try_get::<String, _>("document_id")?)?,
        title: row.try_get("title")?,
        media_type: row.try_get("media_type")?,
        bytes: unsigned(row, "bytes")?,
        content_hash: row.try_get("content_hash")?,
        metadata: json(row, "metadata")?,
        groups: json(row, "groups")?,
        fingerprint: row.try_get("fingerprint")?,
        if_version: None,
        traceparent: row.try_get("traceparent")?,
    })
}

pub(super) fn chunk(row: &SqliteRow) -> Result<Chunk, Failure> {
    Ok(Chunk {
        index: small(row, "chunk_index")?,
        content: row.try_get("content")?,
        heading_path: json(row, "heading_path")?,
        start: unsigned(row, "start_char")?,
        end: unsigned(row, "end_char")?,
        tokens: small(row, "tokens")?,
    })
}
