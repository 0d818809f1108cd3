//! The layout of a backup's rows: tables in an order in which they can be brought in again, with their columns.

use ragstone_core::{
    AuditAction, DocumentRead, DocumentStatus, IndexName, IndexState, JobKind, JobStatus, Rating, Scope, Stage,
};

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A text of ours: an id, a hash, JSON.
    Text,
    /// The same, or nothing.
    OptionalText,
    /// A text of a document, with any character in it.
    Prose,
    /// The same, or nothing.
    OptionalProse,
    /// A text that must pass a check.
    Name(fn(&str) -> bool),
    /// The same, or nothing.
    OptionalName(fn(&str) -> bool),
    /// A whole number.
    Integer,
    /// The same, or nothing.
    OptionalInteger,
    /// A share, 0 to 1.
    Real,
    /// True or false.
    Flag,
}

/// A table as a backup carries it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// The columns its rows are sorted by.
    pub(crate) order: &'static str,
}

/// All tables.
pub(crate) static TABLES: [Table; 11] = [
    Table {
        name: "tenants",
        columns: &[("tenant", Kind::Text), ("corpus_generation", Kind::Integer)],
        order: "tenant",
    },
    Table {
        name: "documents",
        columns: &[
            ("tenant", Kind::Text),
            ("document_id", Kind::Text),
            ("version", Kind::Integer),
            ("live_version", Kind::OptionalInteger),
            ("status", Kind::Name(is_document_status)),
            ("created_at", Kind::Integer),
            ("updated_at", Kind::Integer),
        ],
        order: "tenant, document_id",
    },
    Table {
        name: "versions",
        columns: &[
            ("tenant", Kind::Text),
            ("document_id", Kind::Text),
            ("version", Kind::Integer),
            ("status", Kind::Name(is_document_status)),
            ("title", Kind::Prose),
            ("media_type", Kind::Text),
            ("bytes", Kind::Integer),
            ("content_hash", Kind::Text),
            ("needs_body", Kind::Flag),
            ("metadata", Kind::Name(is_object)),
            ("groups", Kind::Name(is_list_of_texts)),
            ("fingerprint", Kind::Text),
            ("traceparent", Kind::OptionalText),
            ("language", Kind::OptionalText),
            ("chunks", Kind::Integer),
            ("error", Kind::OptionalProse),
            ("created_at", Kind::Integer),
        ],
        order: "tenant, document_id, version",
    },
    Table {
        name: "chunks",
        columns: &[
            ("tenant", Kind::Text),
            ("document_id", Kind::Text),
            ("version", Kind::Integer),
            ("chunk_index", Kind::Integer),
            ("content", Kind::Prose),
            ("heading_path", Kind::Name(is_list_of_texts)),
            ("start_char", Kind::Integer),
            ("end_char", Kind::Integer),
            ("tokens", Kind::Integer),
        ],
        order: "tenant, document_id, version, chunk_index",
    },
    Table {
        name: "indexes",
        columns: &[
            ("seq", Kind::Integer),
            ("name", Kind::Name(is_index_name)),
            ("model", Kind::Text),
            ("revision", Kind::Text),
            ("dimension", Kind::Integer),
            ("state", Kind::Name(is_index_state)),
            ("created_at", Kind::Integer),
        ],
        order: "seq",
    },
    Table {
        name: "jobs",
        columns: &[
            ("seq", Kind::Integer),
            ("job_id", Kind::Name(is_job_id)),
            ("tenant", Kind::Text),
            ("document_id", Kind::Text),
            ("version", Kind::Integer),
            ("kind", Kind::Name(is_job_kind)),
            ("index_name", Kind::OptionalName(is_index_name)),
            ("priority", Kind::Integer),
            ("status", Kind::Name(is_job_status)),
            ("stage", Kind::Name(is_stage)),
            ("attempts", Kind::Integer),
            ("error", Kind::OptionalProse),
            ("progress", Kind::Real),
            ("worker", Kind::OptionalText),
            ("lease_token", Kind::Integer),
            ("wake_at", Kind::Integer),
            ("interrupted", Kind::Flag),
            ("created_at", Kind::Integer),
            ("updated_at", Kind::Integer),
        ],
        order: "seq",
    },
    Table {
        name: "idempotency_keys",
        columns: &[
            ("tenant", Kind::Text),
            ("idempotency_key", Kind::Text),
            ("subject", Kind::Prose),
            ("fingerprint", Kind::Text),
            ("job_id", Kind::Name(is_job_id)),
            ("unchanged", Kind::Flag),
            ("created_at", Kind::Integer),
            ("expires_at", Kind::Integer),
        ],
        order: "tenant, idempotency_key",
    },
    Table {
        name: "api_keys",
        columns: &[
            ("id", Kind::Text),
            ("tenant", Kind::Text),
            ("hash", Kind::Text),
            ("subject", Kind::Prose),
            ("scopes", Kind::Name(is_list_of_scopes)),
            ("all_groups", Kind::Flag),
            ("groups", Kind::Name(is_list_of_texts)),
            ("created_at", Kind::Integer),
            ("created_by", Kind::Prose),
            ("expires_at", Kind::OptionalInteger),
            ("revoked_at", Kind::OptionalInteger),
        ],
        order: "id",
    },
    Table {
        name: "audit_log",
        columns: &[
            ("tenant", Kind::Text),
            ("seq", Kind::Integer),
            ("at", Kind::Integer),
            ("subject", Kind::Prose),
            ("action", Kind::Name(is_action)),
            ("object_id", Kind::Prose),
            ("version", Kind::OptionalInteger),
            ("request_id", Kind::Prose),
            ("query_id", Kind::OptionalProse),
            ("documents", Kind::Name(is_list_of_reads)),
            ("detail", Kind::Prose),
            ("prev_hash", Kind::Text),
            ("hash", Kind::Text),
        ],
        order: "tenant, seq",
    },
    Table {
        name: "audit_heads",
        columns: &[("tenant", Kind::Text), ("seq", Kind::Integer), ("hash", Kind::Text)],
        order: "tenant",
    },
    Table {
        name: "feedback",
        columns: &[
            ("tenant", Kind::Text),
            ("query_id", Kind::Prose),
            ("subject", Kind::Prose),
            ("rating", Kind::Name(is_rating)),
            ("comment", Kind::Prose),
            ("created_at", Kind::Integer),
        ],
        order: "tenant, query_id, subject",
    },
];

/// The table with this name.
pub(crate) fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

fn is_document_status(name: &str) -> bool {
    DocumentStatus::parse(name).is_some()
}

fn is_job_status(name: &str) -> bool {
    JobStatus::parse(name).is_some()
}

fn is_job_kind(name: &str) -> bool {
    JobKind::parse(name).is_some()
}

fn is_stage(name: &str) -> bool {
    Stage::parse(name).is_some()
}

fn is_index_state(name: &str) -> bool {
    IndexState::parse(name).is_some()
}

fn is_index_name(name: &str) -> bool {
    IndexName::new(name).is_ok()
}

fn is_job_id(id: &str) -> bool {
    ragstone_core::JobId::parse(id).is_ok()
}

fn is_object(json: &str) -> bool {
    serde_json::from_str::<ragstone_core::Metadata>(json).is_ok()
}

fn is_list_of_texts(json: &str) -> bool {
    serde_json::from_str::<Vec<String>>(json).is_ok()
}

fn is_list_of_scopes(json: &str) -> bool {
    serde_json::from_str::<Vec<Scope>>(json).is_ok()
}

fn is_list_of_reads(json: &str) -> bool {
    serde_json::from_str::<Vec<DocumentRead>>(json).is_ok()
}

fn is_action(name: &str) -> bool {
    AuditAction::parse(name).is_some()
}

fn is_rating(name: &str) -> bool {
    Rating::parse(name).is_some()
}
