//! Documents and their versions as JSON.

use ragstone_core::{DocumentId, DocumentStatus, Metadata};
use ragstone_proto::{metadata_from_struct, v1};
use serde::Serialize;

use crate::jobs;
use crate::openapi::shapes::{DocumentState, JobState};
use crate::problem::Problem;

/// The answer to a write: the version is durable, the job makes it searchable (or takes it away).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Accepted {
    document_id: String,
    pub(super) version: u64,
    job_id: String,
    #[schema(value_type = JobState)]
    status: &'static str,
    unchanged: bool,
}

impl Accepted {
    /// From the job that does the work.
    pub(super) fn new(job: v1::Job, unchanged: bool) -> Self {
        let status = jobs::status_name(job.status());
        Self { document_id: job.document_id, version: job.version, job_id: job.job_id, status, unchanged }
    }
}

/// One item of a batch's answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchItem {
    /// It is durable.
    Accepted(Accepted),
    /// It was refused.
    Refused {
        /// Why.
        error: Problem,
    },
}

/// A document.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Document {
    document_id: String,
    version: u64,
    live_version: Option<u64>,
    #[schema(value_type = DocumentState)]
    status: &'static str,
    title: String,
    content_type: String,
    bytes: u64,
    chunks: u32,
    #[schema(value_type = Object)]
    metadata: Metadata,
    groups: Vec<String>,
    error: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl From<v1::Document> for Document {
    fn from(document: v1::Document) -> Self {
        Self {
            status: status_name(document.status()),
            document_id: document.document_id,
            version: document.version,
            live_version: document.live_version,
            title: document.title,
            content_type: document.media_type,
            bytes: document.bytes,
            chunks: document.chunks,
            metadata: document.metadata.map(metadata_from_struct).unwrap_or_default(),
            groups: document.groups,
            error: Some(document.error).filter(|error| !error.is_empty()),
            created_at: document.created_at.map(|time| time.to_string()),
            updated_at: document.updated_at.map(|time| time.to_string()),
        }
    }
}

/// Part of a document's text.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Text {
    document_id: String,
    version: u64,
    title: String,
    /// Chunks in all.
    total: u32,
    chunks: Vec<TextChunk>,
}

/// A chunk of it. Chunks overlap; positions count characters.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TextChunk {
    chunk_index: u32,
    content: String,
    heading_path: Vec<String>,
    start: u64,
    end: u64,
}

impl Text {
    /// What was read of the document with this id.
    pub(super) fn new(id: DocumentId, text: v1::ReadTextResponse) -> Self {
        let chunk = |chunk: v1::TextChunk| TextChunk {
            chunk_index: chunk.index,
            content: chunk.content,
            heading_path: chunk.heading_path,
            start: chunk.start,
            end: chunk.end,
        };
        Self {
            document_id: id.into(),
            version: text.version,
            title: text.title,
            total: text.total,
            chunks: text.chunks.into_iter().map(chunk).collect(),
        }
    }
}

/// One entry of a document's history.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Version {
    version: u64,
    #[schema(value_type = DocumentState)]
    status: &'static str,
    bytes: u64,
    chunks: u32,
    content_hash: Option<String>,
    error: Option<String>,
    created_at: Option<String>,
}

impl From<v1::DocumentVersion> for Version {
    fn from(version: v1::DocumentVersion) -> Self {
        Self {
            status: status_name(version.status()),
            version: version.version,
            bytes: version.bytes,
            chunks: version.chunks,
            content_hash: Some(version.content_hash).filter(|hash| !hash.is_empty()),
            error: Some(version.error).filter(|error| !error.is_empty()),
            created_at: version.created_at.map(|time| time.to_string()),
        }
    }
}

fn status_name(status: v1::DocumentStatus) -> &'static str {
    Option::<DocumentStatus>::from(status).map_or("unknown", DocumentStatus::as_str)
}
