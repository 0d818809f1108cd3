//! Jobs: the durable record of work on one version of one document.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{DocumentId, JobId, TenantId};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Make a version searchable.
    Ingest,
    /// Take a document out of every index.
    Delete,
    /// Bring the live version of a document into one more index (`ragstone reindex`).
    Rebuild,
    /// Bring a document to the shard it belongs to (`ragstone reshard`).
    Move,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Delete, Self::Rebuild, Self::Move];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Delete => "delete",
            Self::Rebuild => "rebuild",
            Self::Move => "move",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it serves the indexes rather than a caller's request: such a job leaves no history behind.
    #[must_use]
    pub fn is_maintenance(self) -> bool {
        matches!(self, Self::Rebuild | Self::Move)
    }
}

/// How urgent a job is among those of its tenant; tenants take turns whatever their jobs' priorities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Maintenance and bulk loads: after everything somebody waits for.
    Low,
    /// Single documents.
    #[default]
    Normal,
    /// Deletions: what must not be found any more goes first.
    High,
}

impl Priority {
    /// Its place in the order of jobs; higher goes first.
    #[must_use]
    pub fn rank(self) -> i16 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waiting for a worker (also between two tries).
    Queued,
    /// A worker holds its lease.
    Running,
    /// The document is searchable, or gone, as asked; or a newer version made this one needless.
    Done,
    /// The document itself is unusable; trying again cannot help.
    Failed,
    /// Every try failed; an operator may retry it.
    Dead,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Dead];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Dead)
    }
}

/// The durable steps of an ingestion, in order; a job resumes at the step it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Raw bytes and job are stored; text must be extracted and cut into chunks.
    Extract,
    /// Chunks are stored; they must be embedded and staged in the index.
    Embed,
    /// All chunks are staged and flushed; the version must be made visible.
    Publish,
    /// The version is visible and flushed; older ones must be removed.
    Clean,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 4] = [Self::Extract, Self::Embed, Self::Publish, Self::Clean];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Embed => "embed",
            Self::Publish => "publish",
            Self::Clean => "clean",
        }
    }

    /// The stage with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// A job as callers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose document.
    pub tenant: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// Which document.
    pub document_id: DocumentId,
    /// Which version.
    pub version: u64,
    /// Where it stands.
    pub status: JobStatus,
    /// The step it is in.
    pub stage: Stage,
    /// Tries begun so far.
    pub attempts: u32,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Share of the work done, 0 to 1.
    pub progress: f32,
    /// When it was accepted.
    pub created_at: SystemTime,
    /// When it last changed.
    pub updated_at: SystemTime,
}
