//! API keys.

use std::collections::BTreeSet;

use ragstone_core::ports::{Page, PageRequest};
use ragstone_core::{
    Access, ApiKey, AuditAction, Caller, Error, GroupAccess, NewApiKey, Result, Scope, StoredKey, TenantId,
};
use sqlx::Row as _;

use super::Store;
use super::audit::{self, Note};
use super::dialect::{Connection, Row, stored};
use super::end::end;
use super::failure::Failure;
use super::read::{cut, limit};
use super::rows::{self, prose};
use crate::clock::{from_millis, to_millis};
use crate::cursor;

pub(super) async fn create(store: &Store, caller: &Caller, key: NewApiKey) -> Result<ApiKey, Failure> {
    key.validate()?;
    if key.access.tenant != *caller.tenant() {
        return Err(Error::internal("a key for another tenant than its maker's").into());
    }
    let mut tx = store.begin().await?;
    let outcome = create_in(store, &mut tx, caller, &key).await;
    end(tx, outcome).await
}

async fn create_in(store: &Store, tx: &mut Connection, caller: &Caller, key: &NewApiKey) -> Result<ApiKey, Failure> {
    let now = store.now(tx).await?;
    let expires_at = key.expires_at.map(to_millis);
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("a key's end must lie in the future").into());
    }
    let (all, groups) = match &key.access.groups {
        GroupAccess::All => (true, "[]".to_owned()),
        GroupAccess::Groups(groups) => (false, serde_json::to_string(groups)?),
    };
    let added = sqlx::query(
        "INSERT INTO api_keys (id, tenant, hash, subject, scopes, all_groups, groups, created_at, created_by, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&key.id)
    .bind(caller.tenant().as_str())
    .bind(&key.hash)
    .bind(stored(&key.subject))
    .bind(serde_json::to_string(&key.scopes)?)
    .bind(all)
    .bind(groups)
    .bind(now)
    .bind(stored(&caller.subject))
    .bind(expires_at)
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() == 0 {
        return Err(Error::conflict("a key with this id was made before").into());
    }
    let detail = format!("for {}", key.subject);
    let note = Note { detail, ..Note::new(AuditAction::KeyCreate, caller, &key.id, now) };
    audit::append(tx, caller.tenant(), &[note]).await?;
    let created = find_in(tx, &key.id).await?;
    Ok(created.ok_or_else(|| Error::internal("the key is not there"))?.key)
}

pub(super) async fn find(store: &Store, id: &str) -> Result<Option<StoredKey>, Failure> {
    // From the primary: a key that was revoked a moment ago must not be good on a replica that lags.
    let mut connection = store.primary().await?;
    find_in(&mut connection, id).await
}

async fn find_in(connection: &mut Connection, id: &str) -> Result<Option<StoredKey>, Failure> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE id = $1").bind(stored(id)).fetch_optional(connection).await?;
    row.as_ref().map(stored_key).transpose()
}

pub(super) async fn list(store: &Store, tenant: &TenantId, page: PageRequest) -> Result<Page<ApiKey>, Failure> {
    let limit = limit(&page)?;
    let after = page.cursor.as_deref().map(cursor::decode).transpose()?.unwrap_or_default();
    let mut connection = store.primary().await?;
    let rows = sqlx::query("SELECT * FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(tenant.as_str())
        .bind(stored(&after))
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut *connection)
        .await?;
    let keys = rows.iter().map(|row| Ok(stored_key(row)?.key)).collect::<Result<Vec<_>, Failure>>()?;
    Ok(cut(keys, limit, |key| key.id.clone()))
}

pub(super) async fn revoke(store: &Store, caller: &Caller, id: &str) -> Result<ApiKey, Failure> {
    let mut tx = store.begin().await?;
    let outcome = revoke_in(store, &mut tx, caller, id).await;
    end(tx, outcome).await
}

async fn revoke_in(store: &Store, tx: &mut Connection, caller: &Caller, id: &str) -> Result<ApiKey, Failure> {
    let now = store.now(tx).await?;
    let revoked =
        sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND tenant = $3 AND revoked_at IS NULL")
            .bind(now)
            .bind(stored(id))
            .bind(caller.tenant().as_str())
            .execute(&mut *tx)
            .await?;
    let key = find_in(tx, id).await?.map(|stored| stored.key).filter(|key| key.access.tenant == *caller.tenant());
    let key = key.ok_or_else(|| Error::not_found(format!("there is no key '{id}'")))?;
    if revoked.rows_affected() == 1 {
        audit::append(tx, caller.tenant(), &[Note::new(AuditAction::KeyRevoke, caller, id, now)]).await?;
    }
    Ok(key)
}

fn stored_key(row: &Row) -> Result<StoredKey, Failure> {
    let groups =
        if row.try_get("all_groups")? { GroupAccess::All } else { GroupAccess::Groups(rows::json(row, "groups")?) };
    let time = |column| Ok::<_, Failure>(row.try_get::<Option<i64>, _>(column)?.map(from_millis));
    let key = ApiKey {
        id: row.try_get("id")?,
        access: Access { tenant: rows::tenant(row)?, groups },
        subject: prose(row, "subject")?,
        scopes: rows::json::<BTreeSet<Scope>>(row, "scopes")?,
        created_at: from_millis(row.try_get("created_at")?),
        created_by: prose(row, "created_by")?,
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
    };
    Ok(StoredKey { key, hash: row.try_get("hash")? })
}
