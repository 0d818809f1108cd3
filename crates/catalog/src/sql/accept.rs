//! New versions and tombstones: one transaction assigns the number, writes the rows, enqueues the job, keeps the idempotency
//! key and notes who did it.

use ragstone_core::ports::{Accepted, NewVersion, Write};
use ragstone_core::{
    AuditAction, Caller, DocumentId, DocumentStatus, Error, ErrorCode, Job, JobId, JobKind, JobStatus, Metadata,
    Priority, Result, Stage, TenantId,
};
use sqlx::Row as _;

use super::audit::{self, Note};
use super::dialect::{Connection, lock_document, stored};
use super::end::end;
use super::failure::Failure;
use super::idempotency::{self, Earlier};
use super::rows::{self, job_columns, to_int};
use super::{Store, work};

/// The newest version of a document, as far as accepting the next one depends on it.
struct Newest {
    job: Job,
    fingerprint: String,
    status: String,
    groups: Vec<String>,
    /// Of the version that searches see.
    live_groups: Option<Vec<String>>,
}

impl Newest {
    fn is_tombstone(&self) -> bool {
        self.job.kind == JobKind::Delete
    }

    /// Whether somebody may see the document.
    fn is_visible_to(&self, caller: &Caller) -> bool {
        caller.may_read(&self.groups) && self.live_is_visible_to(caller)
    }

    fn live_is_visible_to(&self, caller: &Caller) -> bool {
        self.live_groups.as_ref().is_none_or(|groups| caller.may_read(groups))
    }

    /// Refuses who would write over what they may not read. A deleted document is in nobody's way.
    fn check_writer(&self, caller: &Caller) -> Result<()> {
        let free = self.is_tombstone() && self.live_is_visible_to(caller);
        if free || self.is_visible_to(caller) {
            return Ok(());
        }
        let message = "a document of this id exists that you may not read";
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }

    /// Whether offering `fingerprint` again would change nothing.
    fn equals(&self, fingerprint: &str) -> bool {
        !self.is_tombstone() && self.status != DocumentStatus::Failed.as_str() && self.fingerprint == fingerprint
    }
}

pub(super) async fn accept(store: &Store, write: &Write, version: NewVersion) -> Result<Accepted, Failure> {
    if version.tenant != *write.caller.tenant() {
        return Err(Error::internal("a version for another tenant than its writer's").into());
    }
    let mut tx = store.begin().await?;
    let outcome = accept_in(store, &mut tx, write, &version).await;
    end(tx, outcome).await
}

async fn accept_in(
    store: &Store,
    tx: &mut Connection,
    write: &Write,
    version: &NewVersion,
) -> Result<Accepted, Failure> {
    let now = store.now(tx).await?;
    if let Some(earlier) = idempotency::enter(tx, write, now).await? {
        return answer_again(tx, &write.caller, earlier).await;
    }
    enter_document(tx, version, now).await?;
    let newest = newest(tx, &version.tenant, &version.document_id).await?;
    if let Some(newest) = &newest {
        newest.check_writer(&write.caller)?;
    }
    check_if_version(version.if_version, newest.as_ref())?;
    if let Some(newest) = &newest
        && newest.equals(&version.fingerprint)
    {
        let accepted = Accepted { job: newest.job.clone(), unchanged: true };
        idempotency::keep(tx, write, &accepted).await?;
        return Ok(accepted);
    }
    let job = write_version(tx, version, JobKind::Ingest, next(newest.as_ref()), now).await?;
    work::supersede_waiting(tx, &job, now).await?;
    let accepted = Accepted { job, unchanged: false };
    idempotency::keep(tx, write, &accepted).await?;
    note(tx, AuditAction::DocumentWrite, &write.caller, &accepted.job, now).await?;
    Ok(accepted)
}

/// The answer that was given before, to whoever got it or may see what it is about.
async fn answer_again(tx: &mut Connection, caller: &Caller, earlier: Earlier) -> Result<Accepted, Failure> {
    let Earlier { subject, accepted } = earlier;
    if subject != caller.subject
        && let Some(newest) = newest(tx, caller.tenant(), &accepted.job.document_id).await?
    {
        newest.check_writer(caller)?;
    }
    Ok(accepted)
}

/// Notes what was written. Last of all, as every writer of the tenant waits for its log.
async fn note(tx: &mut Connection, action: AuditAction, caller: &Caller, job: &Job, now: i64) -> Result<(), Failure> {
    let note = Note { version: Some(job.version), ..Note::new(action, caller, job.document_id.as_str(), now) };
    audit::append(tx, caller.tenant(), &[note]).await
}

pub(super) async fn delete(
    store: &Store,
    write: &Write,
    document: &DocumentId,
    if_version: Option<u64>,
    traceparent: Option<String>,
) -> Result<Option<Job>, Failure> {
    let mut tx = store.begin().await?;
    let outcome = delete_in(store, &mut tx, write, document, if_version, traceparent).await;
    end(tx, outcome).await
}

async fn delete_in(
    store: &Store,
    tx: &mut Connection,
    write: &Write,
    document: &DocumentId,
    if_version: Option<u64>,
    traceparent: Option<String>,
) -> Result<Option<Job>, Failure> {
    let now = store.now(tx).await?;
    if let Some(earlier) = idempotency::enter(tx, write, now).await? {
        return Ok(Some(answer_again(tx, &write.caller, earlier).await?.job));
    }
    let tenant = write.caller.tenant();
    lock_document(tx, tenant, document).await?;
    let newest = newest(tx, tenant, document).await?;
    let Some(newest) = newest.filter(|newest| may_be_deleted(newest, &write.caller)) else {
        idempotency::forget(tx, write).await?;
        return Ok(None);
    };
    if if_version.is_some() {
        check_if_version(if_version, Some(&newest))?;
    }
    let tombstone = tombstone(tenant, document, &newest, traceparent);
    let job = write_version(tx, &tombstone, JobKind::Delete, next(Some(&newest)), now).await?;
    work::supersede_waiting(tx, &job, now).await?;
    idempotency::keep(tx, write, &Accepted { job: job.clone(), unchanged: false }).await?;
    note(tx, AuditAction::DocumentDelete, &write.caller, &job, now).await?;
    Ok(Some(job))
}

/// A removal that failed for good may be asked for again; one that is done or under way is enough.
fn may_be_deleted(newest: &Newest, caller: &Caller) -> bool {
    let removed = newest.is_tombstone() && !matches!(newest.job.status, JobStatus::Failed | JobStatus::Dead);
    !removed && newest.is_visible_to(caller)
}

/// The version that stands for a deletion. Its groups are those of what it deletes: the history is for the same people.
fn tombstone(tenant: &TenantId, document: &DocumentId, newest: &Newest, traceparent: Option<String>) -> NewVersion {
    NewVersion {
        tenant: tenant.clone(),
        document_id: document.clone(),
        title: String::new(),
        media_type: String::new(),
        bytes: 0,
        content_hash: String::new(),
        metadata: Metadata::new(),
        groups: newest.groups.clone(),
        fingerprint: String::new(),
        if_version: None,
        traceparent,
        priority: Priority::High,
    }
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
        ", v.fingerprint, v.status AS version_status, v.groups, l.groups AS live_groups FROM documents d \
         JOIN versions v USING (tenant, document_id, version) JOIN jobs j USING (tenant, document_id, version) \
         LEFT JOIN versions l ON l.tenant = d.tenant AND l.document_id = d.document_id AND l.version = d.live_version \
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
            groups: rows::json(&row, "groups")?,
            live_groups: match row.try_get::<Option<&str>, _>("live_groups")? {
                Some(json) => Some(serde_json::from_str(json)?),
                None => None,
            },
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
