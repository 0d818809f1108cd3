//! Documents, versions and jobs to the wire.

use prost_types::Timestamp;
use ragstone_core::ports::LiveText;
use ragstone_core::{Chunk, Document, DocumentStatus, DocumentVersion, Job, JobKind, JobStatus, Priority};

use crate::{metadata_to_struct, v1};

impl From<DocumentStatus> for v1::DocumentStatus {
    fn from(status: DocumentStatus) -> Self {
        match status {
            DocumentStatus::Processing => Self::Processing,
            DocumentStatus::Ready => Self::Ready,
            DocumentStatus::Failed => Self::Failed,
            DocumentStatus::Deleted => Self::Deleted,
        }
    }
}

impl From<v1::DocumentStatus> for Option<DocumentStatus> {
    fn from(status: v1::DocumentStatus) -> Self {
        match status {
            v1::DocumentStatus::Unspecified => None,
            v1::DocumentStatus::Processing => Some(DocumentStatus::Processing),
            v1::DocumentStatus::Ready => Some(DocumentStatus::Ready),
            v1::DocumentStatus::Failed => Some(DocumentStatus::Failed),
            v1::DocumentStatus::Deleted => Some(DocumentStatus::Deleted),
        }
    }
}

impl From<JobStatus> for v1::JobStatus {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Queued => Self::Queued,
            JobStatus::Running => Self::Running,
            JobStatus::Done => Self::Done,
            JobStatus::Failed => Self::Failed,
            JobStatus::Dead => Self::Dead,
        }
    }
}

impl From<v1::JobStatus> for Option<JobStatus> {
    fn from(status: v1::JobStatus) -> Self {
        match status {
            v1::JobStatus::Unspecified => None,
            v1::JobStatus::Queued => Some(JobStatus::Queued),
            v1::JobStatus::Running => Some(JobStatus::Running),
            v1::JobStatus::Done => Some(JobStatus::Done),
            v1::JobStatus::Failed => Some(JobStatus::Failed),
            v1::JobStatus::Dead => Some(JobStatus::Dead),
        }
    }
}

impl From<JobKind> for v1::JobKind {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Ingest => Self::Ingest,
            JobKind::Delete => Self::Delete,
            JobKind::Rebuild => Self::Rebuild,
            JobKind::Move => Self::Move,
        }
    }
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

impl From<v1::Priority> for Priority {
    fn from(priority: v1::Priority) -> Self {
        match priority {
            v1::Priority::Low => Self::Low,
            v1::Priority::Unspecified | v1::Priority::Normal => Self::Normal,
            v1::Priority::High => Self::High,
        }
    }
}

impl From<Document> for v1::Document {
    fn from(document: Document) -> Self {
        Self {
            document_id: document.id.into(),
            version: document.version,
            live_version: document.live_version,
            status: v1::DocumentStatus::from(document.status).into(),
            title: document.title,
            media_type: document.media_type,
            bytes: document.bytes,
            chunks: document.chunks,
            metadata: Some(metadata_to_struct(&document.metadata)),
            groups: document.groups,
            error: document.error.unwrap_or_default(),
            created_at: Some(Timestamp::from(document.created_at)),
            updated_at: Some(Timestamp::from(document.updated_at)),
        }
    }
}

impl From<DocumentVersion> for v1::DocumentVersion {
    fn from(version: DocumentVersion) -> Self {
        Self {
            version: version.version,
            status: v1::DocumentStatus::from(version.status).into(),
            bytes: version.bytes,
            chunks: version.chunks,
            content_hash: version.content_hash,
            error: version.error.unwrap_or_default(),
            created_at: Some(Timestamp::from(version.created_at)),
        }
    }
}

impl From<Job> for v1::Job {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.id.to_string(),
            kind: v1::JobKind::from(job.kind).into(),
            document_id: job.document_id.into(),
            version: job.version,
            status: v1::JobStatus::from(job.status).into(),
            stage: job.stage.as_str().to_owned(),
            attempts: job.attempts,
            error: job.error.unwrap_or_default(),
            progress: job.progress,
            created_at: Some(Timestamp::from(job.created_at)),
            updated_at: Some(Timestamp::from(job.updated_at)),
        }
    }
}

impl From<Chunk> for v1::TextChunk {
    fn from(chunk: Chunk) -> Self {
        Self {
            index: chunk.index,
            content: chunk.content,
            heading_path: chunk.heading_path,
            start: chunk.start,
            end: chunk.end,
        }
    }
}

impl From<LiveText> for v1::ReadTextResponse {
    fn from(text: LiveText) -> Self {
        Self {
            version: text.version,
            title: text.title,
            total: text.total,
            chunks: text.chunks.into_iter().map(Into::into).collect(),
        }
    }
}
