//! The audit log: who did what, and which documents an answer has read. Never any content.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Caller, DocumentId};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// A version of a document was accepted.
    DocumentWrite,
    /// A document's deletion was accepted.
    DocumentDelete,
    /// A job was put back in the queue.
    JobRetry,
    /// An index for another model was begun or gone on with.
    ReindexBegin,
    /// Another index was told to serve.
    IndexSwitch,
    /// An index was removed.
    IndexDrop,
    /// Documents began to move to other shards.
    ReshardBegin,
    /// An API key was made.
    KeyCreate,
    /// An API key was revoked.
    KeyRevoke,
    /// A question was answered.
    Answer,
}

impl AuditAction {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DocumentWrite,
        Self::DocumentDelete,
        Self::JobRetry,
        Self::ReindexBegin,
        Self::IndexSwitch,
        Self::IndexDrop,
        Self::ReshardBegin,
        Self::KeyCreate,
        Self::KeyRevoke,
        Self::Answer,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DocumentWrite => "document.write",
            Self::DocumentDelete => "document.delete",
            Self::JobRetry => "job.retry",
            Self::ReindexBegin => "reindex.begin",
            Self::IndexSwitch => "index.switch",
            Self::IndexDrop => "index.drop",
            Self::ReshardBegin => "reshard.begin",
            Self::KeyCreate => "key.create",
            Self::KeyRevoke => "key.revoke",
            Self::Answer => "answer",
        }
    }

    /// The action with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// What kind of thing it is done to.
    #[must_use]
    pub fn object_kind(self) -> &'static str {
        match self {
            Self::DocumentWrite | Self::DocumentDelete => "document",
            Self::JobRetry => "job",
            Self::ReindexBegin | Self::IndexSwitch | Self::IndexDrop => "index",
            Self::ReshardBegin => "shards",
            Self::KeyCreate | Self::KeyRevoke => "key",
            Self::Answer => "query",
        }
    }
}

/// A document that an answer has read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentRead {
    /// Its id.
    pub document_id: DocumentId,
    /// Which version.
    pub version: u64,
}

/// An entry of a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When, in whole milliseconds.
    pub at: SystemTime,
    /// Who.
    pub subject: String,
    /// What.
    pub action: AuditAction,
    /// To which thing of the action's kind.
    pub object_id: String,
    /// Which version of the document.
    pub version: Option<u64>,
    /// The request it belongs to; empty: none.
    pub request_id: String,
    /// The answer's id.
    pub query_id: Option<String>,
    /// What the answer has read.
    pub documents: Vec<DocumentRead>,
    /// Further facts.
    pub detail: String,
    /// The hash of the entry before; zeros for the first.
    pub prev_hash: String,
    /// Hash of all of this and the tenant, lower-case hexadecimal.
    pub hash: String,
}

/// An action that no other change carries into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditAct {
    /// What.
    pub action: AuditAction,
    /// To which thing of the action's kind.
    pub object_id: String,
    /// Further facts.
    pub detail: String,
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who asked.
    pub caller: Caller,
    /// The answer's id.
    pub query_id: String,
    /// What was read for it.
    pub documents: Vec<DocumentRead>,
    /// What was degraded, by code.
    pub degraded: Vec<String>,
    /// When it was given; `None`: now.
    pub at: Option<SystemTime>,
}

/// Which entries to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<AuditAction>,
    /// Only what this subject did.
    pub subject: Option<String>,
    /// Only what happened then or later.
    pub since: Option<SystemTime>,
}

/// What computing a chain again has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheck {
    /// Entries that are as they were written, from the first on.
    pub entries: u64,
    /// The first entry that is missing or not as it was written.
    pub first_broken: Option<u64>,
    /// The hash of the last good entry; zeros: there is none.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_come_back_from_their_names() {
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::parse(action.as_str()), Some(action));
        }
        assert_eq!(AuditAction::parse("document"), None);
    }
}
