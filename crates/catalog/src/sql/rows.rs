//! Rows to domain types: the one place that knows the columns' form.

use ragstone_core::ports::NewVersion;
use ragstone_core::{
    Chunk, Document, DocumentId, DocumentStatus, DocumentVersion, Error, Index, IndexName, IndexSpec, IndexState, Job,
    JobId, JobKind, JobStatus, Priority, Stage, TenantId,
};
use serde::de::DeserializeOwned;
use sqlx::Row as _;

use super::dialect::{Connection, Row, original};
use super::failure::Failure;
use crate::clock::from_millis;

/// The columns of a job, of `jobs` named `j`.
macro_rules! job_columns {
    () => {
        "j.seq, j.job_id, j.tenant, j.document_id, j.version, j.kind, j.index_name, j.priority, j.status, j.stage, \
         j.attempts, j.error, j.progress, j.lease_token, j.created_at, j.updated_at"
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

/// A count, version or size as the databases' integers carry it. None of ours comes near 2^63.
pub(super) fn to_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The same back.
pub(super) fn from_int(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A column that is never negative.
pub(super) fn unsigned(row: &Row, column: &str) -> Result<u64, Failure> {
    Ok(from_int(row.try_get(column)?))
}

/// A text that may hold any character (see [`original`]).
pub(super) fn prose(row: &Row, column: &str) -> Result<String, Failure> {
    Ok(original(row.try_get(column)?))
}

/// The same where it may be missing.
pub(super) fn optional_prose(row: &Row, column: &str) -> Result<Option<String>, Failure> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(original))
}

/// A JSON column.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T, Failure> {
    Ok(serde_json::from_str(row.try_get(column)?)?)
}

/// A column with one of our stable names.
fn named<T>(row: &Row, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, Failure> {
    let name: &str = row.try_get(column)?;
    parse(name).ok_or_else(|| Error::internal(format!("the catalog holds the unknown {column} '{name}'")).into())
}

pub(super) fn tenant(row: &Row) -> Result<TenantId, Failure> {
    Ok(TenantId::new(row.try_get::<String, _>("tenant")?)?)
}

pub(super) fn document_id(row: &Row) -> Result<DocumentId, Failure> {
    Ok(DocumentId::new(row.try_get::<String, _>("document_id")?)?)
}

fn time(row: &Row, column: &str) -> Result<std::time::SystemTime, Failure> {
    Ok(from_millis(row.try_get(column)?))
}

/// A count that began as 32 bits.
pub(super) fn small(row: &Row, column: &str) -> Result<u32, Failure> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

pub(super) fn job(row: &Row) -> Result<Job, Failure> {
    Ok(Job {
        id: JobId::parse(row.try_get("job_id")?)?,
        tenant: tenant(row)?,
        kind: named(row, "kind", JobKind::parse)?,
        document_id: document_id(row)?,
        version: unsigned(row, "version")?,
        status: named(row, "status", JobStatus::parse)?,
        stage: named(row, "stage", Stage::parse)?,
        attempts: small(row, "attempts")?,
        error: optional_prose(row, "error")?,
        progress: row.try_get("progress")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A job that is there.
pub(super) async fn find_job(connection: &mut Connection, id: JobId) -> Result<Job, Failure> {
    let row = sqlx::query(concat!("SELECT ", job_columns!(), " FROM jobs j WHERE j.job_id = $1"))
        .bind(id.to_string())
        .fetch_one(connection)
        .await?;
    job(&row)
}

pub(super) fn document(row: &Row) -> Result<Document, Failure> {
    Ok(Document {
        tenant: tenant(row)?,
        id: document_id(row)?,
        version: unsigned(row, "version")?,
        live_version: row.try_get::<Option<i64>, _>("live_version")?.map(from_int),
        status: named(row, "status", DocumentStatus::parse)?,
        title: prose(row, "title")?,
        media_type: row.try_get("media_type")?,
        bytes: unsigned(row, "bytes")?,
        chunks: small(row, "chunks")?,
        metadata: json(row, "metadata")?,
        groups: json(row, "groups")?,
        error: optional_prose(row, "error")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub(super) fn history(row: &Row) -> Result<DocumentVersion, Failure> {
    Ok(DocumentVersion {
        version: unsigned(row, "version")?,
        status: named(row, "status", DocumentStatus::parse)?,
        bytes: unsigned(row, "bytes")?,
        chunks: small(row, "chunks")?,
        content_hash: row.try_get("content_hash")?,
        error: optional_prose(row, "error")?,
        created_at: time(row, "created_at")?,
    })
}

/// The index that a maintenance job is about.
pub(super) fn index_of_job(row: &Row) -> Result<Option<IndexName>, Failure> {
    Ok(row.try_get::<Option<String>, _>("index_name")?.map(IndexName::new).transpose()?)
}

/// How urgent a job is.
pub(super) fn priority(row: &Row) -> Result<Priority, Failure> {
    let rank: i64 = row.try_get("priority")?;
    let known = [Priority::Low, Priority::Normal, Priority::High].into_iter().find(|p| i64::from(p.rank()) == rank);
    known.ok_or_else(|| Error::internal(format!("the catalog holds the unknown priority {rank}")).into())
}

pub(super) fn index(row: &Row) -> Result<Index, Failure> {
    let spec = IndexSpec {
        name: IndexName::new(row.try_get::<String, _>("name")?)?,
        model: row.try_get("model")?,
        revision: row.try_get("revision")?,
        dimension: usize::try_from(row.try_get::<i64, _>("dimension")?).unwrap_or(0),
    };
    Ok(Index { spec, state: named(row, "state", IndexState::parse)?, created_at: time(row, "created_at")? })
}

/// What was accepted as this version; `priority` is its job's.
pub(super) fn new_version(row: &Row, priority: Priority) -> Result<NewVersion, Failure> {
    Ok(NewVersion {
        tenant: tenant(row)?,
        document_id: document_id(row)?,
        title: prose(row, "title")?,
        media_type: row.try_get("media_type")?,
        bytes: unsigned(row, "bytes")?,
        content_hash: row.try_get("content_hash")?,
        metadata: json(row, "metadata")?,
        groups: json(row, "groups")?,
        fingerprint: row.try_get("fingerprint")?,
        if_version: None,
        traceparent: row.try_get("traceparent")?,
        priority,
    })
}

pub(super) fn chunk(row: &Row) -> Result<Chunk, Failure> {
    Ok(Chunk {
        index: small(row, "chunk_index")?,
        content: prose(row, "content")?,
        heading_path: json(row, "heading_path")?,
        start: unsigned(row, "start_char")?,
        end: unsigned(row, "end_char")?,
        tokens: small(row, "tokens")?,
    })
}
