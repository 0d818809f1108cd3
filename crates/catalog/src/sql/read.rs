//! Questions to the catalog. What people look at may come from a read replica (`store.reads`); what a decision rests on
//! comes from the primary.

use ragstone_core::ports::{DocumentFilter, JobFilter, LiveDocument, LiveText, Page, PageRequest};
use ragstone_core::{
    Caller, Document, DocumentId, DocumentStatus, DocumentVersion, Error, Job, JobId, Result, TenantId,
};
use sqlx::{QueryBuilder, Row as _};

use super::Store;
use super::dialect::{Db, groups, readable};
use super::failure::Failure;
use super::rows::{self, document_columns, from_int, job_columns, prose, small, to_int, unsigned};
use crate::cursor;

/// The most items of a page.
const MAX_LIMIT: u32 = 1_000;
/// Hashes asked for by one statement.
const HASHES: usize = 1_000;

/// Whether somebody may see a row of documents, versions or jobs (`row` is its alias): no version that counts, which are the
/// document's newest and live one and the row's own, is closed to them. `all` and `mine` as [`readable`] takes them.
macro_rules! visible {
    ($row:literal, $all:literal, $mine:literal) => {
        concat!(
            "(",
            $all,
            " OR NOT EXISTS (SELECT 1 FROM documents o JOIN versions r USING (tenant, document_id) WHERE o.tenant = ",
            $row,
            ".tenant AND o.document_id = ",
            $row,
            ".document_id AND r.version IN (o.version, o.live_version, ",
            $row,
            ".version) AND NOT ",
            readable!("r.groups", $all, $mine),
            "))"
        )
    };
}
pub(super) use visible;

pub(super) async fn document(
    store: &Store,
    caller: &Caller,
    document: &DocumentId,
) -> Result<Option<Document>, Failure> {
    let (all, mine) = groups(&caller.access)?;
    let mut connection = store.reads().await?;
    let row = sqlx::query(concat!(
        "SELECT ",
        document_columns!(),
        " FROM documents d JOIN versions v USING (tenant, document_id, version) \
         WHERE d.tenant = $1 AND d.document_id = $2 AND ",
        visible!("d", "$3", "$4")
    ))
    .bind(caller.tenant().as_str())
    .bind(document.as_str())
    .bind(all)
    .bind(mine)
    .fetch_optional(&mut *connection)
    .await?;
    row.as_ref().map(rows::document).transpose()
}

pub(super) async fn documents(
    store: &Store,
    caller: &Caller,
    filter: DocumentFilter,
    page: PageRequest,
) -> Result<Page<Document>, Failure> {
    let (all, mine) = groups(&caller.access)?;
    let limit = limit(&page)?;
    let after = page.cursor.as_deref().map(cursor::decode).transpose()?.unwrap_or_default();
    // Two statements, as each has its own index.
    let query = match filter.status {
        None => sqlx::query(concat!(
            "SELECT ",
            document_columns!(),
            " FROM documents d JOIN versions v USING (tenant, document_id, version) \
             WHERE d.tenant = $1 AND d.status <> $2 AND d.document_id > $3 AND ",
            visible!("d", "$5", "$6"),
            " ORDER BY d.document_id LIMIT $4"
        )),
        Some(_) => sqlx::query(concat!(
            "SELECT ",
            document_columns!(),
            " FROM documents d JOIN versions v USING (tenant, document_id, version) \
             WHERE d.tenant = $1 AND d.status = $2 AND d.document_id > $3 AND ",
            visible!("d", "$5", "$6"),
            " ORDER BY d.document_id LIMIT $4"
        )),
    };
    let mut connection = store.reads().await?;
    let rows = query
        .bind(caller.tenant().as_str())
        .bind(filter.status.unwrap_or(DocumentStatus::Deleted).as_str())
        .bind(after)
        .bind(i64::from(limit) + 1)
        .bind(all)
        .bind(mine)
        .fetch_all(&mut *connection)
        .await?;
    let items = rows.iter().map(rows::document).collect::<Result<Vec<_>, _>>()?;
    Ok(cut(items, limit, |document| document.id.to_string()))
}

pub(super) async fn history(
    store: &Store,
    caller: &Caller,
    document: &DocumentId,
) -> Result<Vec<DocumentVersion>, Failure> {
    let (all, mine) = groups(&caller.access)?;
    let mut connection = store.reads().await?;
    let rows = sqlx::query(concat!(
        "SELECT version, status, bytes, chunks, content_hash, error, created_at FROM versions v \
         WHERE tenant = $1 AND document_id = $2 AND ",
        visible!("v", "$3", "$4"),
        " ORDER BY version DESC"
    ))
    .bind(caller.tenant().as_str())
    .bind(document.as_str())
    .bind(all)
    .bind(mine)
    .fetch_all(&mut *connection)
    .await?;
    rows.iter().map(rows::history).collect()
}

pub(super) async fn live_text(
    store: &Store,
    caller: &Caller,
    document: &DocumentId,
    from: u32,
    limit: u32,
) -> Result<Option<LiveText>, Failure> {
    check_limit(limit)?;
    let (all, mine) = groups(&caller.access)?;
    let (tenant, document) = (caller.tenant().as_str(), document.as_str());
    // One snapshot, so that all of it is one version.
    let mut tx = store.snapshot().await?;
    let row = sqlx::query(concat!(
        "SELECT v.version, v.title, v.chunks FROM documents d JOIN versions v \
         ON v.tenant = d.tenant AND v.document_id = d.document_id AND v.version = d.live_version \
         WHERE d.tenant = $1 AND d.document_id = $2 AND ",
        visible!("d", "$3", "$4")
    ))
    .bind(tenant)
    .bind(document)
    .bind(all)
    .bind(mine)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let version = unsigned(&row, "version")?;
    let chunks = sqlx::query(
        "SELECT chunk_index, content, heading_path, start_char, end_char, tokens FROM chunks \
         WHERE tenant = $1 AND document_id = $2 AND version = $3 AND chunk_index >= $4 ORDER BY chunk_index LIMIT $5",
    )
    .bind(tenant)
    .bind(document)
    .bind(to_int(version))
    .bind(i64::from(from))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    let chunks = chunks.iter().map(rows::chunk).collect::<Result<_, _>>()?;
    Ok(Some(LiveText { version, title: prose(&row, "title")?, total: small(&row, "chunks")?, chunks }))
}

pub(super) async fn job(store: &Store, caller: &Caller, id: JobId) -> Result<Option<Job>, Failure> {
    let (all, mine) = groups(&caller.access)?;
    let mut connection = store.primary().await?;
    let row = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs j WHERE j.job_id = $1 AND j.tenant = $2 AND ",
        visible!("j", "$3", "$4")
    ))
    .bind(id.to_string())
    .bind(caller.tenant().as_str())
    .bind(all)
    .bind(mine)
    .fetch_optional(&mut *connection)
    .await?;
    row.as_ref().map(rows::job).transpose()
}

pub(super) async fn jobs(
    store: &Store,
    caller: &Caller,
    filter: JobFilter,
    page: PageRequest,
) -> Result<Page<Job>, Failure> {
    let (all, mine) = groups(&caller.access)?;
    let limit = limit(&page)?;
    let before = match &page.cursor {
        None => i64::MAX,
        Some(text) => cursor::decode(text)?.parse().map_err(|_| Error::invalid(format!("'{text}' is not a cursor")))?,
    };
    let query = match filter.status {
        None => sqlx::query(concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs j WHERE j.tenant = $1 AND j.seq < $2 AND ",
            visible!("j", "$4", "$5"),
            " ORDER BY j.seq DESC LIMIT $3"
        )),
        Some(_) => sqlx::query(concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs j WHERE j.tenant = $1 AND j.seq < $2 AND j.status = $6 AND ",
            visible!("j", "$4", "$5"),
            " ORDER BY j.seq DESC LIMIT $3"
        )),
    };
    let query = query.bind(caller.tenant().as_str()).bind(before).bind(i64::from(limit) + 1).bind(all).bind(mine);
    let query = if let Some(status) = filter.status { query.bind(status.as_str()) } else { query };
    let mut connection = store.reads().await?;
    let rows = query.fetch_all(&mut *connection).await?;
    let items = rows
        .iter()
        .map(|row| Ok((row.try_get::<i64, _>("seq")?, rows::job(row)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let page = cut(items, limit, |(seq, _)| seq.to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, job)| job).collect(), next_cursor: page.next_cursor })
}

pub(super) async fn queue_depth(store: &Store) -> Result<(u64, u64, u64), Failure> {
    let mut connection = store.primary().await?;
    // A dead job whose document has moved on is history, not something to act on. Each condition is said twice, as
    // that is how SQLite finds the partial index `jobs_unfinished`.
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM jobs WHERE status IN ('queued', 'running', 'dead') AND status = 'queued'), \
                (SELECT count(*) FROM jobs WHERE status IN ('queued', 'running', 'dead') AND status = 'running'), \
                (SELECT count(*) FROM jobs j JOIN documents d USING (tenant, document_id) \
                 WHERE j.status IN ('queued', 'running', 'dead') AND j.status = 'dead' \
                 AND (j.version = d.version OR j.index_name IS NOT NULL))",
    )
    .fetch_one(&mut *connection)
    .await?;
    let count = |column: usize| Ok::<_, Failure>(from_int(row.try_get(column)?));
    Ok((count(0)?, count(1)?, count(2)?))
}

pub(super) async fn corpus_generation(store: &Store, tenant: &TenantId) -> Result<u64, Failure> {
    let mut connection = store.primary().await?;
    let row = sqlx::query("SELECT corpus_generation FROM tenants WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    row.map_or(Ok(0), |row| unsigned(&row, "corpus_generation"))
}

pub(super) async fn live_documents(
    store: &Store,
    after: Option<&(TenantId, DocumentId)>,
    limit: u32,
) -> Result<Vec<LiveDocument>, Failure> {
    let (tenant, document) = after.map_or(("", ""), |(tenant, document)| (tenant.as_str(), document.as_str()));
    let mut connection = store.reads().await?;
    let rows = sqlx::query(
        "SELECT d.tenant, d.document_id, v.version, v.chunks FROM documents d JOIN versions v \
         ON v.tenant = d.tenant AND v.document_id = d.document_id AND v.version = d.live_version \
         WHERE d.live_version IS NOT NULL AND (d.tenant, d.document_id) > ($1, $2) \
         ORDER BY d.tenant, d.document_id LIMIT $3",
    )
    .bind(tenant)
    .bind(document)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let live = |row| {
        Ok(LiveDocument {
            tenant: rows::tenant(row)?,
            id: rows::document_id(row)?,
            version: unsigned(row, "version")?,
            chunks: small(row, "chunks")?,
        })
    };
    rows.iter().map(live).collect()
}

pub(super) async fn live_count(store: &Store) -> Result<u64, Failure> {
    let mut connection = store.primary().await?;
    let count = sqlx::query_scalar("SELECT count(*) FROM documents WHERE live_version IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    Ok(from_int(count))
}

pub(super) async fn bodies_in_use(store: &Store, hashes: &[String]) -> Result<Vec<String>, Failure> {
    let mut connection = store.primary().await?;
    let mut used = Vec::new();
    for hashes in hashes.chunks(HASHES) {
        let mut query: QueryBuilder<Db> =
            QueryBuilder::new("SELECT DISTINCT content_hash FROM versions WHERE needs_body AND content_hash IN (");
        let mut list = query.separated(", ");
        for hash in hashes {
            list.push_bind(hash.as_str());
        }
        list.push_unseparated(")");
        used.extend(query.build_query_scalar::<String>().fetch_all(&mut *connection).await?);
    }
    Ok(used)
}

pub(super) fn limit(page: &PageRequest) -> Result<u32> {
    check_limit(page.limit)
}

pub(super) fn check_limit(limit: u32) -> Result<u32> {
    match limit {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Error::invalid(format!("a page has 1 to {MAX_LIMIT} items, not {other}"))),
    }
}

/// The first `limit` of `items`, with a cursor when there are more.
pub(super) fn cut<T>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Page<T> {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| cursor::encode(&key(last)));
    Page { items, next_cursor }
}
