//! Who asks: callers and API keys to and from the wire.

use std::collections::BTreeSet;
use std::time::SystemTime;

use prost_types::Timestamp;
use ragstone_core::{Access, ApiKey, Caller, Error, GroupAccess, NewApiKey, Result, Scope, StoredKey};

use crate::{enum_value, required, v1};

/// The longest subject and request id, in bytes.
const MAX_NAME: usize = 2_048;

impl From<Caller> for v1::Caller {
    fn from(caller: Caller) -> Self {
        Self { access: Some(caller.access.into()), subject: caller.subject, request_id: caller.request_id }
    }
}

impl TryFrom<v1::Caller> for Caller {
    type Error = Error;

    fn try_from(caller: v1::Caller) -> Result<Self> {
        let access = required(caller.access, "access")?.try_into()?;
        if caller.subject.is_empty() || caller.subject.len().max(caller.request_id.len()) > MAX_NAME {
            return Err(Error::invalid("field 'caller' has no usable subject or request id"));
        }
        Ok(Self { access, subject: caller.subject, request_id: caller.request_id })
    }
}

/// The caller of a message, which must have one.
///
/// # Errors
/// `InvalidArgument`, naming what is missing.
pub fn caller(field: Option<v1::Caller>) -> Result<Caller> {
    required(field, "caller")?.try_into()
}

/// A time of the wire.
///
/// # Errors
/// `InvalidArgument`, naming the field, for one that no clock shows.
pub fn time(field: Timestamp, name: &str) -> Result<SystemTime> {
    SystemTime::try_from(field).map_err(|_| Error::invalid(format!("field '{name}' is no time")))
}

/// The same where there may be none.
///
/// # Errors
/// Those of [`time`].
pub fn optional_time(field: Option<Timestamp>, name: &str) -> Result<Option<SystemTime>> {
    field.map(|field| time(field, name)).transpose()
}

impl From<Scope> for v1::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Query => Self::Query,
            Scope::Ingest => Self::Ingest,
            Scope::Admin => Self::Admin,
        }
    }
}

fn scopes(numbers: Vec<i32>) -> Result<BTreeSet<Scope>> {
    let scope = |number| match enum_value::<v1::Scope>(number, "scopes")? {
        v1::Scope::Unspecified => Err(Error::invalid("field 'scopes' has an unspecified scope")),
        v1::Scope::Query => Ok(Scope::Query),
        v1::Scope::Ingest => Ok(Scope::Ingest),
        v1::Scope::Admin => Ok(Scope::Admin),
    };
    numbers.into_iter().map(scope).collect()
}

impl From<ApiKey> for v1::ApiKey {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            access: Some(key.access.into()),
            subject: key.subject,
            scopes: key.scopes.into_iter().map(|scope| v1::Scope::from(scope).into()).collect(),
            created_at: Some(key.created_at.into()),
            created_by: key.created_by,
            expires_at: key.expires_at.map(Into::into),
            revoked_at: key.revoked_at.map(Into::into),
        }
    }
}

impl TryFrom<v1::ApiKey> for ApiKey {
    type Error = Error;

    fn try_from(key: v1::ApiKey) -> Result<Self> {
        Ok(Self {
            id: key.id,
            access: required(key.access, "access")?.try_into()?,
            subject: key.subject,
            scopes: scopes(key.scopes)?,
            created_at: time(required(key.created_at, "created_at")?, "created_at")?,
            created_by: key.created_by,
            expires_at: optional_time(key.expires_at, "expires_at")?,
            revoked_at: optional_time(key.revoked_at, "revoked_at")?,
        })
    }
}

impl TryFrom<v1::FindKeyResponse> for StoredKey {
    type Error = Error;

    fn try_from(found: v1::FindKeyResponse) -> Result<Self> {
        Ok(Self { key: required(found.key, "key")?.try_into()?, hash: found.hash })
    }
}

/// A key to store, with its maker.
///
/// # Errors
/// `InvalidArgument`, naming the field.
pub fn new_key(message: v1::CreateKeyRequest) -> Result<(Caller, NewApiKey)> {
    let caller = caller(message.caller)?;
    let groups = match (message.all_groups, message.groups.is_empty()) {
        (true, true) => GroupAccess::All,
        (true, false) => return Err(Error::invalid("a key has either all_groups or groups")),
        (false, _) => GroupAccess::Groups(message.groups.into_iter().collect()),
    };
    let key = NewApiKey {
        id: message.id,
        access: Access { tenant: caller.tenant().clone(), groups },
        hash: message.hash,
        subject: message.subject,
        scopes: scopes(message.scopes)?,
        expires_at: optional_time(message.expires_at, "expires_at")?,
    };
    key.validate()?;
    Ok((caller, key))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use ragstone_core::TenantId;

    use super::*;

    fn access(groups: GroupAccess) -> Access {
        Access { tenant: TenantId::new("t").unwrap(), groups }
    }

    #[test]
    fn a_caller_and_a_key_come_back() {
        let groups = GroupAccess::Groups(BTreeSet::from(["staff".to_owned()]));
        for groups in [GroupAccess::All, GroupAccess::Groups(BTreeSet::new()), groups] {
            let asked = Caller { access: access(groups.clone()), subject: "ann".into(), request_id: "r-1".into() };
            assert_eq!(caller(Some(asked.clone().into())).unwrap(), asked);
            let key = ApiKey {
                id: "k1".into(),
                access: access(groups),
                subject: "ann".into(),
                scopes: BTreeSet::from(Scope::ALL),
                created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1),
                created_by: "root".into(),
                expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
                revoked_at: None,
            };
            assert_eq!(ApiKey::try_from(v1::ApiKey::from(key.clone())).unwrap(), key);
        }
    }

    #[test]
    fn nobody_is_no_caller() {
        let asked = v1::Caller {
            access: Some(access(GroupAccess::All).into()),
            subject: "ann".into(),
            ..v1::Caller::default()
        };
        assert!(caller(Some(asked.clone())).is_ok());
        for bad in [
            None,
            Some(v1::Caller { access: None, ..asked.clone() }),
            Some(v1::Caller { subject: String::new(), ..asked.clone() }),
            Some(v1::Caller { request_id: "x".repeat(2_049), ..asked }),
        ] {
            assert!(caller(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
