//! What is SQLite's own: types, locks (none: there is one writer), full-text search, error codes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use ragstone_core::ports::VersionText;
use ragstone_core::{Access, DocumentId, Error, ErrorCode, GroupAccess, JobId, Result, TenantId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection};

use super::SqliteCatalog;
use super::due::{head, with_turns};
use super::failure::Failure;
use super::rows::to_int;
use crate::words::{ChunkWords, searchable, tenant_word};

pub(super) type Db = Sqlite;
pub(super) type Connection = SqliteConnection;
pub(super) type Row = SqliteRow;

/// Primary result codes that mean something to callers.
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const FULL: i32 = 13;

/// The jobs that workers look through, read by their own small index.
macro_rules! active_jobs {
    ($alias:literal) => {
        concat!("jobs ", $alias, " INDEXED BY jobs_active")
    };
}
/// Nothing: a write transaction is the only one.
macro_rules! for_update {
    ($table:literal) => {
        ""
    };
}
/// An expression for a random UUID.
macro_rules! new_uuid {
    () => {
        "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || \
         substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
    };
}
/// The elements of the JSON array that a parameter gives as text, in the column `value`.
macro_rules! elements {
    ($parameter:literal) => {
        concat!("json_each(", $parameter, ")")
    };
}
/// Whether a list of groups in JSON may be read: `all` is true, the list is empty, or it shares one with `mine` (both made
/// by [`groups`]).
macro_rules! readable {
    ($list:literal, $all:literal, $mine:literal) => {
        concat!(
            "(",
            $all,
            " OR ",
            $list,
            " = '[]' OR EXISTS (SELECT 1 FROM json_each(",
            $list,
            ") has JOIN json_each(",
            $mine,
            ") may ON has.value = may.value))"
        )
    };
}
pub(super) use {elements, for_update, new_uuid, readable};

const NEXT: &str = concat!(
    with_turns!(),
    "SELECT j.seq FROM turns JOIN jobs j USING (seq) ORDER BY running, j.wake_at, j.seq LIMIT 1"
);

/// Whether the indexes are held with others or alone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sharing {
    Shared,
    Alone,
}

/// Most looks at the queue find nothing: those must not wait for the writer.
pub(super) async fn may_be_due(store: &SqliteCatalog) -> Result<bool, Failure> {
    let mut reader = store.primary().await?;
    let now = store.now(&mut reader).await?;
    Ok(next_due(&mut reader, now).await?.is_some())
}

/// The next job: of the tenants with something due, that of the one with the fewest running jobs.
pub(super) async fn next_due(connection: &mut SqliteConnection, now: i64) -> Result<Option<i64>, Failure> {
    Ok(sqlx::query_scalar(NEXT).bind(now).fetch_optional(connection).await?)
}

pub(super) async fn lock_document(_: &mut SqliteConnection, _: &TenantId, _: &DocumentId) -> Result<(), Failure> {
    Ok(())
}

pub(super) async fn lock_document_of(_: &mut SqliteConnection, _: JobId) -> Result<(), Failure> {
    Ok(())
}

pub(super) async fn lock_indexes(_: &mut SqliteConnection, _: Sharing) -> Result<(), Failure> {
    Ok(())
}

/// A text as it is stored: itself, for SQLite keeps any character.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    text.into()
}

/// The same back.
pub(super) fn original(text: String) -> String {
    text
}

/// `AUTOINCREMENT` goes on after the highest number by itself.
pub(super) async fn advance_sequences(_: &mut SqliteConnection) -> Result<(), Failure> {
    Ok(())
}

/// Removes chunks of these versions with their words.
pub(super) async fn delete_chunks(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    document: &DocumentId,
    versions: RangeInclusive<u64>,
) -> Result<(), Failure> {
    for statement in [
        "DELETE FROM chunk_words WHERE rowid IN (SELECT id FROM chunks WHERE tenant = $1 AND document_id = $2 \
         AND version BETWEEN $3 AND $4)",
        "DELETE FROM chunks WHERE tenant = $1 AND document_id = $2 AND version BETWEEN $3 AND $4",
    ] {
        sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(document.as_str())
            .bind(to_int(*versions.start()))
            .bind(to_int(*versions.end()))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Stores chunks with their words.
pub(super) async fn insert_chunks(
    _: &SqliteCatalog,
    tx: &mut SqliteConnection,
    (tenant, document, version): (&TenantId, &DocumentId, u64),
    text: &VersionText,
) -> Result<(), Failure> {
    let (tenant_word, title) = (tenant_word(tenant), searchable(&text.title));
    for chunk in &text.chunks {
        let inserted = sqlx::query(
            "INSERT INTO chunks (tenant, document_id, version, chunk_index, content, heading_path, start_char, \
             end_char, tokens) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant.as_str())
        .bind(document.as_str())
        .bind(to_int(version))
        .bind(chunk.index)
        .bind(&chunk.content)
        .bind(serde_json::to_string(&chunk.heading_path)?)
        .bind(to_int(chunk.start))
        .bind(to_int(chunk.end))
        .bind(chunk.tokens)
        .execute(&mut *tx)
        .await?;
        insert_words(tx, inserted.last_insert_rowid(), &tenant_word, &title, &ChunkWords::of(chunk)).await?;
    }
    Ok(())
}

pub(super) async fn insert_words(
    tx: &mut SqliteConnection,
    id: i64,
    tenant_word: &str,
    title: &str,
    words: &ChunkWords,
) -> Result<(), Failure> {
    sqlx::query("INSERT INTO chunk_words (rowid, tenant, title, headings, content) VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(tenant_word)
        .bind(title)
        .bind(&words.headings)
        .bind(&words.content)
        .execute(tx)
        .await?;
    Ok(())
}

/// Whether every group may be read, and else which, as a query takes it.
pub(super) fn groups(access: &Access) -> Result<(bool, String), Failure> {
    Ok(match &access.groups {
        GroupAccess::All => (true, "[]".to_owned()),
        GroupAccess::Groups(groups) => (false, serde_json::to_string(groups)?),
    })
}

/// A question as FTS5 takes it.
pub(super) struct Question {
    tenant: TenantId,
    words: String,
    all: bool,
    groups: String,
}

impl Question {
    /// Any of the words, each quoted, so that nothing in it is taken for FTS5's own syntax.
    pub(super) fn new(asked: &[String], access: &Access) -> Result<Self, Failure> {
        let mut words = format!("tenant : {} AND {{title headings content}} : (", tenant_word(&access.tenant));
        for (n, word) in asked.iter().enumerate() {
            let or = if n == 0 { "" } else { " OR " };
            let _ = write!(words, "{or}\"{}\"", word.replace('"', "\"\""));
        }
        words.push(')');
        let (all, groups) = groups(access)?;
        Ok(Self { tenant: access.tenant.clone(), words, all, groups })
    }
}

/// Live chunks with some of the words, best first. A word in the title counts double, one in a heading one and a half
/// times; the tenant's word counts nothing.
pub(super) async fn matches(
    connection: &mut SqliteConnection,
    question: &Question,
    limit: i64,
    offset: i64,
) -> Result<Vec<SqliteRow>, Failure> {
    Ok(sqlx::query(concat!(
        "SELECT c.document_id, c.version, c.chunk_index, c.content, c.heading_path, c.start_char, c.end_char, c.tokens, \
         v.title, v.metadata, -bm25(chunk_words, 0.0, 2.0, 1.5, 1.0) AS score \
         FROM chunk_words JOIN chunks c ON c.id = chunk_words.rowid \
         JOIN documents d ON d.tenant = c.tenant AND d.document_id = c.document_id AND d.live_version = c.version \
         JOIN versions v ON v.tenant = c.tenant AND v.document_id = c.document_id AND v.version = c.version \
         WHERE chunk_words MATCH $1 AND c.tenant = $2 AND ",
        readable!("v.groups", "$3", "$4"),
        " ORDER BY score DESC, c.document_id, c.chunk_index LIMIT $5 OFFSET $6",
    ))
    .bind(&question.words)
    .bind(question.tenant.as_str())
    .bind(question.all)
    .bind(&question.groups)
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await?)
}

/// A database error with the code that tells the caller what to do.
pub(super) fn sql_error(error: sqlx::Error) -> Error {
    let primary = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
    let (code, message) = match (&error, primary.map(|code| code & 0xff)) {
        (_, Some(FULL)) => (ErrorCode::StorageFull, "the disk is full: the catalog cannot be written"),
        (_, Some(READ_ONLY)) => (ErrorCode::Internal, "the catalog is open for reading only"),
        (_, Some(BUSY)) | (sqlx::Error::PoolTimedOut, _) => (ErrorCode::Unavailable, "the catalog is busy"),
        (sqlx::Error::PoolClosed, _) => (ErrorCode::Unavailable, "the catalog is closed"),
        _ => (ErrorCode::Internal, "the catalog failed"),
    };
    Error::new(code, message).with_source(error)
}
