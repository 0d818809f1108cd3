//! Questions to the catalog, answered by the reading connections.

use ragstone_core::ports::{DocumentFilter, JobFilter, Page, PageRequest};
use ragstone_core::{Document, DocumentId, DocumentStatus, DocumentVersion, Error, Job, JobId, Result, TenantId};
use sqlx::Row;

use super::failure::Failure;
use super::rows::{self, document_columns, from_int, job_columns, unsigned};
use super::{SqliteCatalog, cursor};

/// The most items of a page.
const MAX_LIMIT: u32 = 1_000;

pub(super) async fn document(
    catalog: &SqliteCatalog,
    tenant: &TenantId,
    document: &DocumentId,
) -> Result<Option<Document>, Failure> {
    let row = sqlx::query(concat!(
        "SELECT ",
        document_columns!(),
        " FROM documents d JOIN versions v USING (tenant, document_id, version) \
         WHERE d.tenant = ? AND d.document_id = ?"
    ))
    .bind(tenant.as_str())
    .bind(document.as_str())
    .fetch_optional(&catalog.readers)
    .await?;
    row.as_ref().map(rows::document).transpose()
}

pub(super) async fn documents(
    catalog: &SqliteCatalog,
    tenant: &TenantId,
    filter: DocumentFilter,
    page: PageRequest,
) -> Result<Page<Document>, Failure> {
    let limit = limit(&page)?;
    let after = page.cursor.as_deref().map(cursor::decode).transpose()?.unwrap_or_default();
    // Two statements, as each has its own index.
    let query = match filter.status {
        None => sqlx::query(concat!(
            "SELECT ",
            document_columns!(),
            " FROM documents d JOIN versions v USING (tenant, document_id, version) \
             WHERE d.tenant = ? AND d.status <> ? AND d.document_id > ? ORDER BY d.document_id LIMIT ?"
        )),
        Some(_) => sqlx::query(concat!(
            "SELECT ",
            document_columns!(),
            " FROM documents d JOIN versions v USING (tenant, document_id, version) \
             WHERE d.tenant = ? AND d.status = ? AND d.document_id > ? ORDER BY d.document_id LIMIT ?"
        )),
    };
    let rows = query
        .bind(tenant.as_str())
        .bind(filter.status.unwrap_or(DocumentStatus::Deleted).as_str())
        .bind(after)
        .bind(limit + 1)
        .fetch_all(&catalog.readers)
        .await?;
    let items = rows.iter().map(rows::document).collect::<Result<Vec<_>, _>>()?;
    Ok(cut(items, limit, |document| document.id.to_string()))
}

pub(super) async fn history(
    catalog: &SqliteCatalog,
    tenant: &TenantId,
    document: &DocumentId,
) -> Result<Vec<DocumentVersion>, Failure> {
    let rows = sqlx::query(
        "SELECT version, status, bytes, chunks, content_hash, error, created_at FROM versions \
         WHERE tenant = ? AND document_id = ? ORDER BY version DESC",
    )
    .bind(tenant.as_str())
    .bind(document.as_str())
    .fetch_all(&catalog.readers)
    .await?;
    rows.iter().map(rows::history).collect()
}

pub(super) async fn job(catalog: &SqliteCatalog, tenant: &TenantId, id: JobId) -> Result<Option<Job>, Failure> {
    let row = sqlx::query(concat!("SELECT ", job_columns!(), " FROM jobs j WHERE j.job_id = ? AND j.tenant = ?"))
        .bind(id.to_string())
        .bind(tenant.as_str())
        .fetch_optional(&catalog.readers)
        .await?;
    row.as_ref().map(rows::job).transpose()
}

pub(super) async fn jobs(
    catalog: &SqliteCatalog,
    tenant: &TenantId,
    filter: JobFilter,
    page: PageRequest,
) -> Result<Page<Job>, Failure> {
    let limit = limit(&page)?;
    let before = match &page.cursor {
        None => i64::MAX,
        Some(text) => cursor::decode(text)?.parse().map_err(|_| Error::invalid(format!("'{text}' is not a cursor")))?,
    };
    let query = match filter.status {
        None => sqlx::query(concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs j WHERE j.tenant = ?1 AND j.seq < ?2 ORDER BY j.seq DESC LIMIT ?3"
        )),
        Some(_) => sqlx::query(concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs j WHERE j.tenant = ?1 AND j.seq < ?2 AND j.status = ?4 ORDER BY j.seq DESC LIMIT ?3"
        )),
    };
    let query = query.bind(tenant.as_str()).bind(before).bind(limit + 1);
    let query = if let Some(status) = filter.status { query.bind(status.as_str()) } else { query };
    let rows = query.fetch_all(&catalog.readers).await?;
    let items = rows
        .iter()
        .map(|row| Ok((row.try_get::<i64, _>("seq")?, rows::job(row)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let page = cut(items, limit, |(seq, _)| seq.to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, job)| job).collect(), next_cursor: page.next_cursor })
}

pub(super) async fn queue_depth(catalog: &SqliteCatalog) -> Result<(u64, u64, u64), Failure> {
    // A dead job whose document has moved on is history, not something to act on. Each condition is said twice, as
    // that is how SQLite finds the partial index `jobs_unfinished`.
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM jobs WHERE status IN ('queued', 'running', 'dead') AND status = 'queued'), \
                (SELECT count(*) FROM jobs WHERE status IN ('queued', 'running', 'dead') AND status = 'running'), \
                (SELECT count(*) FROM jobs j JOIN documents d USING (tenant, document_id, version) \
                 WHERE j.status IN ('queued', 'running', 'dead') AND j.status = 'dead')",
    )
    .fetch_one(&catalog.readers)
    .await?;
    let count = |column: usize| Ok::<_, Failure>(from_int(row.try_get(column)?));
    Ok((count(0)?, count(1)?, count(2)?))
}

pub(super) async fn corpus_generation(catalog: &SqliteCatalog, tenant: &TenantId) -> Result<u64, Failure> {
    let row = sqlx::query("SELECT corpus_generation FROM tenants WHERE tenant = ?")
        .bind(tenant.as_str())
        .fetch_optional(&catalog.readers)
        .await?;
    row.map_or(Ok(0), |row| unsigned(&row, "corpus_generation"))
}

fn limit(page: &PageRequest) -> Result<u32> {
    match page.limit {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Error::invalid(format!("a page has 1 to {MAX_LIMIT} items, not {other}"))),
    }
}

/// The first `limit` of `items`, with a cursor when there are more.
fn cut<T>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Page<T> {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| cursor::encode(&key(last)));
    Page { items, next_cursor }
}
