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

/// Which documents of a tenant a caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAccess {
    /// All of them (only without authentication, and for internal work).
    All,
    /// Those without groups, and those that share one with this set.
    Groups(BTreeSet<String>),
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
