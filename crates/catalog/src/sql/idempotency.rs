//! Idempotency keys: a write that is sent twice is done once. The key's row is taken before anything else in the write's own
//! transaction, so that of two that come at once the second waits here and then finds the first one's answer.

use ragstone_core::ports::{Accepted, Idempotency, Write};
use ragstone_core::{Error, JobId, Result};
use sqlx::Row as _;

use super::Store;
use super::dialect::{Connection, stored};
use super::failure::Failure;
use super::rows::{self, prose};
use crate::clock::millis;

/// What a key stands for already.
pub(super) struct Earlier {
    /// Who got the answer.
    pub(super) subject: String,
    /// It, with the job as it stands now.
    pub(super) accepted: Accepted,
}

/// Takes the key for this write, or finds what it stands for already. A write without a key is always new.
pub(super) async fn enter(tx: &mut Connection, write: &Write, now: i64) -> Result<Option<Earlier>, Failure> {
    let Some(Idempotency { key, fingerprint, ttl }) = &write.idempotency else { return Ok(None) };
    Idempotency::check_key(key)?;
    // A key whose time is over is as good as new.
    let taken = sqlx::query(
        "INSERT INTO idempotency_keys (tenant, idempotency_key, subject, fingerprint, job_id, unchanged, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, NULL, FALSE, $5, $6) \
         ON CONFLICT (tenant, idempotency_key) DO UPDATE SET subject = excluded.subject, \
         fingerprint = excluded.fingerprint, job_id = NULL, unchanged = FALSE, created_at = excluded.created_at, \
         expires_at = excluded.expires_at WHERE idempotency_keys.expires_at <= excluded.created_at",
    )
    .bind(write.caller.tenant().as_str())
    .bind(key)
    .bind(stored(&write.caller.subject))
    .bind(fingerprint)
    .bind(now)
    .bind(now.saturating_add(millis(*ttl)))
    .execute(&mut *tx)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(None);
    }
    find(tx, write, key, fingerprint).await.map(Some)
}

async fn find(tx: &mut Connection, write: &Write, key: &str, fingerprint: &str) -> Result<Earlier, Failure> {
    let row = sqlx::query(
        "SELECT subject, fingerprint, job_id, unchanged FROM idempotency_keys \
         WHERE tenant = $1 AND idempotency_key = $2",
    )
    .bind(write.caller.tenant().as_str())
    .bind(key)
    .fetch_optional(&mut *tx)
    .await?
    // It was forgotten just now: its time is over.
    .ok_or_else(|| Error::conflict("the idempotency key is just being forgotten; send the same again"))?;
    if row.try_get::<&str, _>("fingerprint")? != fingerprint {
        let message = "the idempotency key was used for another request: the same key must come with the same body and \
                       fields";
        return Err(Error::unprocessable(message).into());
    }
    let subject = prose(&row, "subject")?;
    let (job, unchanged) = (JobId::parse(row.try_get("job_id")?)?, row.try_get("unchanged")?);
    Ok(Earlier { subject, accepted: Accepted { job: rows::find_job(tx, job).await?, unchanged } })
}

/// Keeps the answer for the key of this write, if it has one.
pub(super) async fn keep(tx: &mut Connection, write: &Write, accepted: &Accepted) -> Result<(), Failure> {
    let Some(Idempotency { key, .. }) = &write.idempotency else { return Ok(()) };
    sqlx::query("UPDATE idempotency_keys SET job_id = $1, unchanged = $2 WHERE tenant = $3 AND idempotency_key = $4")
        .bind(accepted.job.id.to_string())
        .bind(accepted.unchanged)
        .bind(write.caller.tenant().as_str())
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives the key back: there is no answer to keep.
pub(super) async fn forget(tx: &mut Connection, write: &Write) -> Result<(), Failure> {
    let Some(Idempotency { key, .. }) = &write.idempotency else { return Ok(()) };
    sqlx::query("DELETE FROM idempotency_keys WHERE tenant = $1 AND idempotency_key = $2")
        .bind(write.caller.tenant().as_str())
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets the keys whose time is over.
pub(super) async fn sweep(store: &Store) -> Result<u64, Failure> {
    let mut connection = store.writing().await?;
    let now = store.now(&mut connection).await?;
    let swept =
        sqlx::query("DELETE FROM idempotency_keys WHERE expires_at <= $1").bind(now).execute(&mut *connection).await?;
    Ok(swept.rows_affected())
}
