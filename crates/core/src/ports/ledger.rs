//! The ledger port: API keys, the audit log and feedback, kept beside the documents.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{Page, PageRequest};
use crate::{
    Answered, ApiKey, AuditAct, AuditCheck, AuditEntry, AuditFilter, Caller, Feedback, FeedbackCounts, NewApiKey,
    Result, StoredKey, TenantId,
};

/// What the edge needs to know and to keep about callers and answers. Every change is on disk when its call returns.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores a key in the caller's tenant, and the fact in the audit log.
    ///
    /// # Errors
    /// `InvalidArgument`; `Conflict` when the id was ever used before.
    async fn create_key(&self, caller: &Caller, key: NewApiKey) -> Result<ApiKey>;

    /// The key with this id, of any tenant, revoked and expired ones too.
    async fn find_key(&self, id: &str) -> Result<Option<StoredKey>>;

    /// The tenant's keys by id.
    ///
    /// # Errors
    /// `InvalidArgument` for a cursor that is none.
    async fn keys(&self, tenant: &TenantId, page: PageRequest) -> Result<Page<ApiKey>>;

    /// Ends a key for good, and notes it in the audit log; a second time changes nothing.
    ///
    /// # Errors
    /// `NotFound`, also for another tenant's key.
    async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<ApiKey>;

    /// Notes what the caller does in their tenant's audit log.
    async fn record(&self, caller: &Caller, act: AuditAct) -> Result<()>;

    /// Notes which documents answers have read; one whose query id is there already is skipped. Returns how many were new.
    ///
    /// # Errors
    /// `InvalidArgument`, and nothing is noted.
    async fn record_answers(&self, answers: Vec<Answered>) -> Result<u32>;

    /// The tenant's log after the entry `after`, oldest first, at most `limit` (1 to 1,000) entries.
    ///
    /// # Errors
    /// `InvalidArgument` for another limit.
    async fn audit(&self, tenant: &TenantId, after: u64, limit: u32, filter: AuditFilter) -> Result<Vec<AuditEntry>>;

    /// Computes the tenant's whole chain again, in pieces.
    async fn verify_audit(&self, tenant: &TenantId) -> Result<AuditCheck>;

    /// Stores a rating; a later one of the same subject and answer replaces it.
    ///
    /// # Errors
    /// `NotFound` when no such query was answered for the tenant; `InvalidArgument` for a comment that is too long.
    async fn give_feedback(&self, caller: &Caller, feedback: Feedback) -> Result<()>;

    /// Counts ratings given `since` or later, of one tenant or of all.
    async fn feedback(&self, tenant: Option<&TenantId>, since: SystemTime) -> Result<FeedbackCounts>;
}
