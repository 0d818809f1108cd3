//! Who asks, and what they may read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// What a credential allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Search and ask.
    Query,
    /// Write and delete documents.
    Ingest,
    /// Administrative actions.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Query, Self::Ingest, Self::Admin];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
        }
    }

    /// The scope with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// Which documents of a tenant a caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAccess {
    /// All of them (only without authentication, and for internal work).
    All,
    /// Those without groups, and those that share one with this set.
    Groups(BTreeSet<String>),
}

impl GroupAccess {
    /// Whether a document with these groups may be read.
    #[must_use]
    pub fn may_read(&self, groups: &[String]) -> bool {
        match self {
            Self::All => true,
            Self::Groups(own) => groups.is_empty() || groups.iter().any(|group| own.contains(group)),
        }
    }
}

/// The access every search carries: there is no search without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The tenant whose documents are searched.
    pub tenant: TenantId,
    /// Which of them.
    pub groups: GroupAccess,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Subject: a user or program.
    pub subject: String,
    /// What it may read.
    pub access: Access,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

impl Principal {
    /// The same as the services behind the gateway know it, for one request.
    #[must_use]
    pub fn caller(&self, request_id: impl Into<String>) -> Caller {
        Caller { access: self.access.clone(), subject: self.subject.clone(), request_id: request_id.into() }
    }
}

/// Who asks for documents: what they may read, and who is named for what they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it may read.
    pub access: Access,
    /// The user or program, as the audit log names it.
    pub subject: String,
    /// The request it belongs to; empty: none.
    pub request_id: String,
}

impl Caller {
    /// Work that nobody asked for, with access to everything of the tenant.
    #[must_use]
    pub fn internal(tenant: TenantId) -> Self {
        let access = Access { tenant, groups: GroupAccess::All };
        Self { access, subject: "ragstone".to_owned(), request_id: String::new() }
    }

    /// Whose documents are meant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.access.tenant
    }

    /// Whether it may read a document with these groups.
    #[must_use]
    pub fn may_read(&self, groups: &[String]) -> bool {
        self.access.groups.may_read(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_common_group_is_enough_and_none_asked_for_is_open() {
        let list = |groups: &[&str]| groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>();
        let own = GroupAccess::Groups(BTreeSet::from_iter(list(&["a", "b"])));
        for (groups, readable) in
            [(&[][..], true), (&["b", "c"], true), (&["c"], false), (&["A"], false), (&[""], false)]
        {
            assert_eq!(own.may_read(&list(groups)), readable, "{groups:?}");
            assert!(GroupAccess::All.may_read(&list(groups)));
            assert_eq!(GroupAccess::Groups(BTreeSet::new()).may_read(&list(groups)), groups.is_empty());
        }
    }

    #[test]
    fn scopes_come_back_from_their_names() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("Query"), None);
    }
}
