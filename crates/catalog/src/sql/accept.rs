//! New versions and tombstones: one transaction assigns the number, writes the rows and enqueues the job.

use ragstone_core::ports::{Accepted, NewVersion};
use ragstone_core::{
    DocumentId, DocumentStatus, Error, Job, JobId, JobKind, JobStatus, Metadata, Priority, Result, Stage, TenantId,
};
use sqlx::Row as _;

use super::dialect::{Connection, lock_document, stored};
use super::end::end;
use super::failure::Failure;
use super::rows::{self, job_columns, to_int};
use super::{Store, work};

/// The newest version of a document, as far as accepting the next one depends on it.
struct Newest {
    job: Job,
    fingerprint: String,
    status: String,
}

impl Newest {
    fn is_tombstone(&self) -> bool {
        self.job.kind == JobKind::Delete
    }

    /// Whether offering `fingerprint` again would change nothing.
    fn equals(&self, fingerprint: &str) -> bool {
        !self.is_tombstone() && self.status != DocumentStatus::Failed.as_str() && self.fingerprint == fingerprint
    }
}

pub(super) async fn accept(store: &Store, version: NewVersion) -> Result<Accepted, Failure> {
    let mut tx = store.begin().await?;
    let outcome = accept_in(store, &mut tx, &version).await;
    end(tx, outcome).await
}

async fn accept_in(store: &Store, tx: &mut Connection, version: &NewVersion) -> Result<Accepted, Failure> {
    let now = store.now(tx).await?;
    enter_document(tx, version, now).await?;
    let newest = newest(tx, &version.tenant, &version.document_id).await?;
    check_if_version(version.if_version, newest.as_ref())?;
    if let Some(newest) = &newest
        && newest.equals(&version.fingerprint)
    {
        return Ok(Accepted { job: newest.job.clone(), unchanged: true });
    }
    let job = write_version(tx, version, JobKind::Ingest, next(newest.as_ref()), now).await?;
    work::supersede_waiting(tx, &job, now).await?;
    Ok(Accepted { job, unchanged: false })
}

pub(super) async fn delete(
    store: &Store,
    tenant: &TenantId,
    document: &DocumentId,
    if_version: Option<u64>,
    traceparent: Option<String>,
) -> Result<Option<Job>, Failure> {
    let mut tx = store.begin().await?;
    let outcome = delete_in(store, &mut tx, tenant, document, if_version, traceparent).await;
    end(tx, outcome).await
}

async fn delete_in(
    store: &Store,
    tx: &mut Connection,
    tenant: &TenantId,
    document: &DocumentId,
    if_version: Option<u64>,
    traceparent: Option<String>,
) -> Result<Option<Job>, Failure> {
    let now = store.now(tx).await?;
    lock_document(tx, tenant, document).await?;
    let Some(newest) = newest(tx, tenant, document).await? else { return Ok(None) };
    // A removal that failed for good may be asked for again; one that is done or under way is enough.
    if newest.is_tombstone() && !matches!(newest.job.status, JobStatus::Failed | JobStatus::Dead) {
        return Ok(None);
    }
    if if_version.is_some() {
        check_if_version(if_version, Some(&newest))?;
    }
    let tombstone = NewVersion {
        tenant: tenant.clone(),
        document_id: document.clone(),
        title: String::new(),
        media_type: String::new(),
        bytes: 0,
        content_hash: String::new(),
        metadata: Metadata::new(),
        groups: Vec::new(),
        fingerprint: String::new(),
        if_version: None,
        traceparent,
        priority: Priority::High,
    };
    let job = write_version(tx, &tombstone, JobKind::Delete, next(Some(&newest)), now).await?;
    work::supersede_waiting(tx, &job, now).await?;
    Ok(Some(job))
}

/// Numbers are never used twice, also not after a deletion: the tombstone has one too.
fn next(newest: Option<&Newest>) -> u64 {
    newest.map_or(0, |newest| newest.job.version) + 1
}

fn check_if_version(wanted: Option<u64>, newest: Option<&Newest>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    match newest {
        None if wanted == 0 => Ok(()),
        Some(newest) if newest.job.version == wanted || (wanted == 0 && newest.is_tombstone()) => Ok(()),
        None => Err(Error::conflict(format!("there is no version {wanted}: the document does not exist"))),
        Some(newest) => {
            let newest = newest.job.version;
            Err(Error::conflict(format!("the newest version of the document is {newest}, not {wanted}")))
        }
    }
}

/// Makes sure that the document has a row, and locks it: of two callers who bring the same new document, the second waits
/// here and then finds the first one's version. Version 0 never outlives the transaction.
async fn enter_document(tx: &mut Connection, version: &NewVersion, now: i64) -> Result<(), Failure> {
    sqlx::query("INSERT INTO tenants (tenant, corpus_generation) VALUES ($1, 0) ON CONFLICT (tenant) DO NOTHING")
        .bind(version.tenant.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO documents (tenant, document_id, version, status, created_at, updated_at) \
         VALUES ($1, $2, 0, $3, $4, $4) \
         ON CONFLICT (tenant, document_id) DO UPDATE SET version = documents.version WHERE FALSE",
    )
    .bind(version.tenant.as_str())
    .bind(version.document_id.as_str())
    .bind(DocumentStatus::Processing.as_str())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn newest(tx: &mut Connection, tenant: &TenantId, document: &DocumentId) -> Result<Option<Newest>, Failure> {
    let row = sqlx::query(concat!(
        "SELECT ",
        job_columns!(),
        ", v.fingerprint, v.status AS version_status FROM documents d \
         JOIN versions v USING (tenant, document_id, version) JOIN jobs j USING (tenant, document_id, version) \
         WHERE d.tenant = $1 AND d.document_id = $2 AND j.index_name IS NULL"
    ))
    .bind(tenant.as_str())
    .bind(document.as_str())
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        Ok(Newest {
            job: rows::job(&row)?,
            fingerprint: row.try_get("fingerprint")?,
            status: row.try_get("version_status")?,
        })
    })
    .transpose()
}

/// Writes version and job rows of `version`, which gets `number`, and makes it the newest.
async fn write_version(
    tx: &mut Connection,
    version: &NewVersion,
    kind: JobKind,
    number: u64,
    now: i64,
) -> Result<Job, Failure> {
    let (tenant, document) = (version.tenant.as_str(), version.document_id.as_str());
    sqlx::query(
        "UPDATE documents SET version = $3, status = $4, updated_at = $5 WHERE tenant = $1 AND document_id = $2",
    )
    .bind(tenant)
    .bind(document)
    .bind(to_int(number))
    .bind(DocumentStatus::Processing.as_str())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO versions (tenant, document_id, version, status, title, media_type, bytes, content_hash, \
         needs_body, metadata, groups, fingerprint, traceparent, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(tenant)
    .bind(document)
    .bind(to_int(number))
    .bind(DocumentStatus::Processing.as_str())
    .bind(stored(&version.title))
    .bind(&version.media_type)
    .bind(to_int(version.bytes))
    .bind(&version.content_hash)
    .bind(!version.content_hash.is_empty())
    .bind(serde_json::to_string(&version.metadata)?)
    .bind(serde_json::to_string(&version.groups)?)
    .bind(&version.fingerprint)
    .bind(&version.traceparent)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let id = JobId::generate();
    // A removal has nothing to extract, embed or publish.
    let stage = if kind == JobKind::Delete { Stage::Clean } else { Stage::Extract };
    sqlx::query(
        "INSERT INTO jobs (job_id, tenant, document_id, version, kind, priority, status, stage, wake_at, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(document)
    .bind(to_int(number))
    .bind(kind.as_str())
    .bind(i64::from(version.priority.rank()))
    .bind(JobStatus::Queued.as_str())
    .bind(stage.as_str())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    rows::find_job(tx, id).await
}
