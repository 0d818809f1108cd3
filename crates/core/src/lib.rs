//! Domain types, ids, the closed error code and the port traits: what every other crate speaks. No I/O.

mod answer;
mod api_key;
mod audit;
mod chunk;
mod degraded;
mod document;
mod error;
mod feedback;
mod filter;
mod ids;
mod index;
mod job;
mod placement;
pub mod ports;
mod principal;
mod search;

pub use answer::{ChatEvent, ChatRequest, ChatStream, Citation, FinishReason, Passage, Prompt, Usage};
pub use api_key::{ApiKey, NewApiKey, StoredKey};
pub use audit::{Answered, AuditAct, AuditAction, AuditCheck, AuditEntry, AuditFilter, DocumentRead};
pub use chunk::{Chunk, point_id};
pub use degraded::Degraded;
pub use document::{Document, DocumentStatus, DocumentVersion, Metadata, validate_metadata};
pub use error::{Error, ErrorCode, Result};
pub use feedback::{Feedback, FeedbackCounts, Rating};
pub use filter::{Condition, Filter, INJECTION_SCORE, Predicate, Scalar};
pub use ids::{DocumentId, JobId, TenantId};
pub use index::{Index, IndexName, IndexSpec, IndexState, Topology};
pub use job::{Job, JobKind, JobStatus, Priority, Stage};
pub use placement::place;
pub use principal::{Access, Caller, GroupAccess, Principal, Scope};
pub use search::{Hit, KeywordQuery, SearchMode, SearchResult, ShardReport, VectorQuery};
