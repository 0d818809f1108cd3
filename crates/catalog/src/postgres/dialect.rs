//! What is PostgreSQL's own: types, locks, error codes. Its full-text search is in `words`.

use std::borrow::Cow;

use ragstone_core::{Access, DocumentId, GroupAccess, JobId, Result, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres};

use super::PostgresCatalog;
pub(super) use super::classify::sql_error;
use super::due::{head, with_turns};
use super::failure::Failure;
pub(super) use super::words::{Question, delete_chunks, insert_chunks, matches};

pub(super) type Db = Postgres;
pub(super) type Connection = PgConnection;
pub(super) type Row = PgRow;

/// The advisory lock that stands for the set of indexes; any number will do that nothing else in the database uses.
const INDEXES: i64 = 0x7261_6773_746f_6e65;
/// Begins the two characters that stand for one that PostgreSQL's texts cannot hold, or for itself. No text has it for
/// anything else: it is a noncharacter.
const ESCAPE: char = '\u{fdd0}';

macro_rules! active_jobs {
    ($alias:literal) => {
        concat!("jobs ", $alias)
    };
}
/// Locks the rows that a query finds in this table.
macro_rules! for_update {
    ($table:literal) => {
        concat!(" FOR UPDATE OF ", $table)
    };
}
/// An expression for a random UUID.
macro_rules! new_uuid {
    () => {
        "gen_random_uuid()::text"
    };
}
/// The elements of the JSON array that a parameter gives as text, in the column `value`.
macro_rules! elements {
    ($parameter:literal) => {
        concat!("json_array_elements(CAST(", $parameter, " AS json))")
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
            " = '[]' OR EXISTS (SELECT 1 FROM json_array_elements(",
            $list,
            "::json) has WHERE has.value::text = ANY (",
            $mine,
            ")))"
        )
    };
}
pub(super) use {elements, for_update, new_uuid, readable};

/// Tenants in order of their turns, each with its ranks; the first job that nobody else has locked, and whose document nobody
/// is changing, is locked and taken. The nested loop keeps the order of `line` and ends with the first row.
const NEXT: &str = concat!(
    with_turns!(),
    ", line (tenant, rank) AS MATERIALIZED ( \
        SELECT h.tenant, r.rank FROM turns t JOIN jobs h USING (seq) CROSS JOIN (VALUES (2), (1), (0)) AS r (rank) \
        ORDER BY t.running, h.wake_at, h.seq, r.rank DESC \
    ) \
    SELECT taken.seq FROM line l CROSS JOIN LATERAL ( \
        SELECT j.seq FROM jobs j JOIN documents d USING (tenant, document_id) \
        WHERE j.status IN ('queued', 'running') AND j.tenant = l.tenant AND j.priority = l.rank AND j.wake_at <= $1 \
        AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.tenant = j.tenant AND o.document_id = j.document_id \
                        AND o.status = 'running' AND o.seq <> j.seq) \
        ORDER BY j.wake_at, j.seq LIMIT 1 FOR UPDATE OF j, d SKIP LOCKED \
    ) taken LIMIT 1"
);

/// Whether the indexes are held with others or alone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sharing {
    Shared,
    Alone,
}

/// Looking is as cheap as asking whether to look.
pub(super) async fn may_be_due(_: &PostgresCatalog) -> Result<bool, Failure> {
    Ok(true)
}

/// The next job, locked with its document: of the tenants with something due, that of the one with the fewest running jobs.
/// What it is based on may be a moment old; whoever takes the job looks again.
pub(super) async fn next_due(tx: &mut PgConnection, now: i64) -> Result<Option<i64>, Failure> {
    Ok(sqlx::query_scalar(NEXT).bind(now).fetch_optional(tx).await?)
}

/// Waits until nobody else changes the document or its jobs. The next statement sees what they did.
pub(super) async fn lock_document(
    tx: &mut PgConnection,
    tenant: &TenantId,
    document: &DocumentId,
) -> Result<(), Failure> {
    sqlx::query("SELECT 1 FROM documents WHERE tenant = $1 AND document_id = $2 FOR UPDATE")
        .bind(tenant.as_str())
        .bind(document.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The same for the document of a job.
pub(super) async fn lock_document_of(tx: &mut PgConnection, job: JobId) -> Result<(), Failure> {
    sqlx::query(
        "SELECT 1 FROM documents WHERE (tenant, document_id) = \
         (SELECT tenant, document_id FROM jobs WHERE job_id = $1) FOR UPDATE",
    )
    .bind(job.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

/// Holds the set of indexes until the transaction ends.
pub(super) async fn lock_indexes(tx: &mut PgConnection, sharing: Sharing) -> Result<(), Failure> {
    let lock = match sharing {
        Sharing::Shared => sqlx::query("SELECT pg_advisory_xact_lock_shared($1)"),
        Sharing::Alone => sqlx::query("SELECT pg_advisory_xact_lock($1)"),
    };
    lock.bind(INDEXES).execute(tx).await?;
    Ok(())
}

/// Whether every group may be read, and else which, as a query takes it: each as JSON, which is how a document's groups are
/// compared, for a group's name may hold any character.
pub(super) fn groups(access: &Access) -> Result<(bool, Vec<String>), Failure> {
    Ok(match &access.groups {
        GroupAccess::All => (true, Vec::new()),
        GroupAccess::Groups(groups) => {
            (false, groups.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?)
        }
    })
}

/// A text as it is stored: U+0000, which PostgreSQL does not take, becomes two other characters.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return text.into();
    }
    text.replace(ESCAPE, &format!("{ESCAPE}1")).replace('\0', &format!("{ESCAPE}0")).into()
}

/// The same back.
pub(super) fn original(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    text.replace(&format!("{ESCAPE}0"), "\0").replace(&format!("{ESCAPE}1"), &ESCAPE.to_string())
}

/// Rows that were brought in with their numbers do not move the counters.
pub(super) async fn advance_sequences(tx: &mut PgConnection) -> Result<(), Failure> {
    for statement in [
        "SELECT setval(pg_get_serial_sequence('jobs', 'seq'), coalesce(max(seq), 0) + 1, false) FROM jobs",
        "SELECT setval(pg_get_serial_sequence('indexes', 'seq'), coalesce(max(seq), 0) + 1, false) FROM indexes",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back() {
        for text in ["plain", "", "a\0b", "\u{fdd0}", "\u{fdd0}0", "\u{fdd0}1\0\0", "0\u{fdd0}\0\u{fdd0}\u{fdd0}1"] {
            let kept = stored(text);
            assert!(!kept.contains('\0'));
            assert_eq!(original(kept.into_owned()), text);
        }
    }
}
