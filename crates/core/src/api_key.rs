//! API keys as the catalog keeps them: who their bearer is, never the secret.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::{Access, Error, Result, Scope};

/// The longest id, in bytes.
const MAX_ID: usize = 64;
/// The longest hash, in bytes.
const MAX_HASH: usize = 256;
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 512;
/// The most groups, and the longest name of one in characters.
const MAX_GROUPS: usize = 100;
const MAX_GROUP: usize = 200;

/// A key, without what its secret is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public part.
    pub id: String,
    /// What its bearer may read.
    pub access: Access,
    /// Whom its bearer counts as.
    pub subject: String,
    /// What its bearer may do.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: SystemTime,
    /// Who made it.
    pub created_by: String,
    /// When it ends; `None`: never.
    pub expires_at: Option<SystemTime>,
    /// When it was revoked.
    pub revoked_at: Option<SystemTime>,
}

/// A key as it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: ApiKey,
    /// What its secret is checked against.
    pub hash: String,
}

/// A key to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its public part: 1 to 64 letters and digits.
    pub id: String,
    /// What its bearer may read; the tenant is its maker's.
    pub access: Access,
    /// What its secret is checked against.
    pub hash: String,
    /// Whom its bearer counts as.
    pub subject: String,
    /// What its bearer may do.
    pub scopes: BTreeSet<Scope>,
    /// When it ends; `None`: never.
    pub expires_at: Option<SystemTime>,
}

impl NewApiKey {
    /// Checks every field on its own.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(1..=MAX_ID).contains(&self.id.len()) || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::invalid(format!("a key's id has 1 to {MAX_ID} letters and digits")));
        }
        if !(1..=MAX_HASH).contains(&self.hash.len()) || !self.hash.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(format!("a key's hash has 1 to {MAX_HASH} visible ASCII characters")));
        }
        check_name("a key's subject", &self.subject, MAX_SUBJECT)?;
        if self.scopes.is_empty() {
            return Err(Error::invalid("a key needs at least one scope"));
        }
        if let crate::GroupAccess::Groups(groups) = &self.access.groups {
            if groups.len() > MAX_GROUPS {
                return Err(Error::invalid(format!("{} groups are more than {MAX_GROUPS}", groups.len())));
            }
            groups.iter().try_for_each(|group| check_name("a group", group, MAX_GROUP))?;
        }
        Ok(())
    }
}

fn check_name(what: &str, name: &str, limit: usize) -> Result<()> {
    let chars = name.chars().count();
    if chars == 0 || chars > limit || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} has 1 to {limit} characters, none of them control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{GroupAccess, TenantId};

    #[test]
    fn unusable_keys_are_refused_by_field() {
        let groups = |names: &[&str]| Access {
            tenant: TenantId::new("t").unwrap(),
            groups: GroupAccess::Groups(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let good = NewApiKey {
            id: "aB3".into(),
            access: groups(&["staff"]),
            hash: "$argon2id$v=19".into(),
            subject: "build server".into(),
            scopes: BTreeSet::from([Scope::Query]),
            expires_at: None,
        };
        good.validate().unwrap();
        for (bad, says) in [
            (NewApiKey { id: String::new(), ..good.clone() }, "id"),
            (NewApiKey { id: "a_b".into(), ..good.clone() }, "id"),
            (NewApiKey { id: "é".into(), ..good.clone() }, "id"),
            (NewApiKey { hash: "a b".into(), ..good.clone() }, "hash"),
            (NewApiKey { hash: String::new(), ..good.clone() }, "hash"),
            (NewApiKey { subject: "a\nb".into(), ..good.clone() }, "subject"),
            (NewApiKey { scopes: BTreeSet::new(), ..good.clone() }, "scope"),
            (NewApiKey { access: groups(&[""]), ..good.clone() }, "group"),
        ] {
            assert!(bad.validate().unwrap_err().message.contains(says), "{says}");
        }
    }
}
