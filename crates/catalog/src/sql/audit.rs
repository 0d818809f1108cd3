//! The audit log: entries are appended in the transaction of what they tell of. Whoever appends holds the tenant's head row
//! until the transaction ends, so that a log never forks.

use ragstone_core::{
    AuditAct, AuditAction, AuditCheck, AuditEntry, AuditFilter, Caller, DocumentRead, Error, Result, TenantId,
};
use sqlx::{QueryBuilder, Row as _};

use super::Store;
use super::dialect::{Connection, Db, Row, stored};
use super::end::end;
use super::failure::Failure;
use super::read::check_limit;
use super::rows::{self, from_int, optional_prose, prose, to_int, unsigned};
use crate::chain;
use crate::clock::{from_millis, to_millis};

/// Entries that go in with one statement.
const BATCH: usize = 500;
/// Entries that are verified at a time.
const PAGE: i64 = 1_000;

/// An entry before it has its place.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) at: i64,
    pub(super) subject: String,
    pub(super) action: AuditAction,
    pub(super) object_id: String,
    pub(super) version: Option<u64>,
    pub(super) request_id: String,
    pub(super) query_id: Option<String>,
    pub(super) documents: Vec<DocumentRead>,
    pub(super) detail: String,
}

impl Note {
    /// What `caller` does to `object` now.
    pub(super) fn new(action: AuditAction, caller: &Caller, object: &str, now: i64) -> Self {
        Self {
            at: now,
            subject: caller.subject.clone(),
            action,
            object_id: object.to_owned(),
            version: None,
            request_id: caller.request_id.clone(),
            query_id: None,
            documents: Vec::new(),
            detail: String::new(),
        }
    }

    /// The entry that follows `head`.
    fn follow(&self, tenant: &TenantId, head: &Head) -> AuditEntry {
        let mut entry = AuditEntry {
            seq: head.seq + 1,
            at: from_millis(self.at),
            subject: self.subject.clone(),
            action: self.action,
            object_id: self.object_id.clone(),
            version: self.version,
            request_id: self.request_id.clone(),
            query_id: self.query_id.clone(),
            documents: self.documents.clone(),
            detail: self.detail.clone(),
            prev_hash: head.hash.clone(),
            hash: String::new(),
        };
        entry.hash = chain::hash(tenant, &entry);
        entry
    }
}

/// The last entry of a log.
pub(super) struct Head {
    seq: u64,
    hash: String,
}

/// Holds the tenant's log until the transaction ends.
pub(super) async fn hold(tx: &mut Connection, tenant: &TenantId) -> Result<Head, Failure> {
    let row = sqlx::query(
        "INSERT INTO audit_heads (tenant, seq, hash) VALUES ($1, 0, $2) \
         ON CONFLICT (tenant) DO UPDATE SET seq = audit_heads.seq RETURNING seq, hash",
    )
    .bind(tenant.as_str())
    .bind(chain::START)
    .fetch_one(tx)
    .await?;
    Ok(Head { seq: unsigned(&row, "seq")?, hash: row.try_get("hash")? })
}

/// Appends to the tenant's log. The last thing a transaction does, as others wait from here on.
pub(super) async fn append(tx: &mut Connection, tenant: &TenantId, notes: &[Note]) -> Result<(), Failure> {
    let head = hold(tx, tenant).await?;
    append_after(tx, tenant, head, notes).await
}

/// The same for whoever holds the log already.
pub(super) async fn append_after(
    tx: &mut Connection,
    tenant: &TenantId,
    mut head: Head,
    notes: &[Note],
) -> Result<(), Failure> {
    for notes in notes.chunks(BATCH) {
        let mut entries = Vec::with_capacity(notes.len());
        for note in notes {
            let entry = note.follow(tenant, &head);
            head = Head { seq: entry.seq, hash: entry.hash.clone() };
            entries.push((serde_json::to_string(&entry.documents)?, entry));
        }
        insert(tx, tenant, entries).await?;
    }
    sqlx::query("UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant = $1")
        .bind(tenant.as_str())
        .bind(to_int(head.seq))
        .bind(head.hash)
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert(tx: &mut Connection, tenant: &TenantId, entries: Vec<(String, AuditEntry)>) -> Result<(), Failure> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new(
        "INSERT INTO audit_log (tenant, seq, at, subject, action, object_id, version, request_id, query_id, documents, \
         detail, prev_hash, hash) ",
    );
    query.push_values(entries, |mut row, (documents, entry)| {
        row.push_bind(tenant.as_str().to_owned())
            .push_bind(to_int(entry.seq))
            .push_bind(to_millis(entry.at))
            .push_bind(stored(&entry.subject).into_owned())
            .push_bind(entry.action.as_str())
            .push_bind(stored(&entry.object_id).into_owned())
            .push_bind(entry.version.map(to_int))
            .push_bind(stored(&entry.request_id).into_owned())
            .push_bind(entry.query_id.map(|id| stored(&id).into_owned()))
            .push_bind(documents)
            .push_bind(stored(&entry.detail).into_owned())
            .push_bind(entry.prev_hash)
            .push_bind(entry.hash);
    });
    query.build().execute(tx).await?;
    Ok(())
}

pub(super) async fn record(store: &Store, caller: &Caller, act: AuditAct) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    let outcome = record_in(store, &mut tx, caller, act).await;
    end(tx, outcome).await
}

async fn record_in(store: &Store, tx: &mut Connection, caller: &Caller, act: AuditAct) -> Result<(), Failure> {
    let now = store.now(tx).await?;
    let note = Note { detail: act.detail, ..Note::new(act.action, caller, &act.object_id, now) };
    append(tx, caller.tenant(), &[note]).await
}

pub(super) async fn read(
    store: &Store,
    tenant: &TenantId,
    after: u64,
    limit: u32,
    filter: AuditFilter,
) -> Result<Vec<AuditEntry>, Failure> {
    check_limit(limit)?;
    let mut query: QueryBuilder<Db> = QueryBuilder::new("SELECT * FROM audit_log WHERE tenant = ");
    query.push_bind(tenant.as_str().to_owned()).push(" AND seq > ").push_bind(to_int(after));
    if let Some(action) = filter.action {
        query.push(" AND action = ").push_bind(action.as_str());
    }
    if let Some(subject) = filter.subject {
        query.push(" AND subject = ").push_bind(stored(&subject).into_owned());
    }
    if let Some(since) = filter.since {
        query.push(" AND at >= ").push_bind(to_millis(since));
    }
    query.push(" ORDER BY seq LIMIT ").push_bind(i64::from(limit));
    let mut connection = store.reads().await?;
    let rows = query.build().fetch_all(&mut *connection).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<AuditEntry, Failure> {
    let action: &str = row.try_get("action")?;
    let unknown = || Error::internal(format!("the audit log holds the unknown action '{action}'"));
    Ok(AuditEntry {
        seq: unsigned(row, "seq")?,
        at: from_millis(row.try_get("at")?),
        subject: prose(row, "subject")?,
        action: AuditAction::parse(action).ok_or_else(unknown)?,
        object_id: prose(row, "object_id")?,
        version: row.try_get::<Option<i64>, _>("version")?.map(from_int),
        request_id: prose(row, "request_id")?,
        query_id: optional_prose(row, "query_id")?,
        documents: rows::json(row, "documents")?,
        detail: prose(row, "detail")?,
        prev_hash: row.try_get("prev_hash")?,
        hash: row.try_get("hash")?,
    })
}

/// Computes the chain again, a page at a time, as one moment shows it.
pub(super) async fn verify(store: &Store, tenant: &TenantId) -> Result<AuditCheck, Failure> {
    let mut tx = store.snapshot_of_primary().await?;
    let head = sqlx::query("SELECT seq, hash FROM audit_heads WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let head = match head {
        Some(row) => Head { seq: unsigned(&row, "seq")?, hash: row.try_get("hash")? },
        None => Head { seq: 0, hash: chain::START.to_owned() },
    };
    let mut good = Head { seq: 0, hash: chain::START.to_owned() };
    loop {
        let page = sqlx::query("SELECT * FROM audit_log WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(tenant.as_str())
            .bind(to_int(good.seq))
            .bind(PAGE)
            .fetch_all(&mut *tx)
            .await?;
        if page.is_empty() {
            return Ok(end_of_chain(&head, good));
        }
        for row in &page {
            match next_link(tenant, &good, row) {
                Some(link) => good = link,
                None => return Ok(broken_after(good)),
            }
        }
    }
}

/// The entry in `row`, if it is the one that was written after `good`. What cannot even be read was not written so.
fn next_link(tenant: &TenantId, good: &Head, row: &Row) -> Option<Head> {
    let entry = entry(row).ok()?;
    let follows = entry.seq == good.seq + 1 && entry.prev_hash == good.hash;
    (follows && entry.hash == chain::hash(tenant, &entry)).then_some(Head { seq: entry.seq, hash: entry.hash })
}

/// The log ends here: is this where its head says that it ends?
fn end_of_chain(head: &Head, good: Head) -> AuditCheck {
    if head.seq == good.seq && head.hash == good.hash {
        return AuditCheck { entries: good.seq, first_broken: None, hash: good.hash };
    }
    // Entries are missing at the end, or were added to it, or the head is not what was written.
    broken_after(good)
}

fn broken_after(good: Head) -> AuditCheck {
    AuditCheck { entries: good.seq, first_broken: Some(good.seq + 1), hash: good.hash }
}
