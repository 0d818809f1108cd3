//! The port of keys, audit log and feedback, call by call.

use std::time::SystemTime;

use async_trait::async_trait;
use ragstone_core::ports::{Ledger, Page, PageRequest};
use ragstone_core::{
    Answered, ApiKey, AuditAct, AuditCheck, AuditEntry, AuditFilter, Caller, Feedback, FeedbackCounts, NewApiKey,
    Result, StoredKey, TenantId,
};

use super::{Store, answers, audit, feedback, keys};

#[async_trait]
impl Ledger for Store {
    async fn create_key(&self, caller: &Caller, key: NewApiKey) -> Result<ApiKey> {
        self.limited(keys::create(self, caller, key)).await
    }

    async fn find_key(&self, id: &str) -> Result<Option<StoredKey>> {
        self.limited(keys::find(self, id)).await
    }

    async fn keys(&self, tenant: &TenantId, page: PageRequest) -> Result<Page<ApiKey>> {
        self.limited(keys::list(self, tenant, page)).await
    }

    async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<ApiKey> {
        self.limited(keys::revoke(self, caller, id)).await
    }

    async fn record(&self, caller: &Caller, act: AuditAct) -> Result<()> {
        self.limited(audit::record(self, caller, act)).await
    }

    async fn record_answers(&self, answers: Vec<Answered>) -> Result<u32> {
        self.limited(answers::record(self, answers)).await
    }

    async fn audit(&self, tenant: &TenantId, after: u64, limit: u32, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
        self.limited(audit::read(self, tenant, after, limit, filter)).await
    }

    async fn verify_audit(&self, tenant: &TenantId) -> Result<AuditCheck> {
        Ok(audit::verify(self, tenant).await?)
    }

    async fn give_feedback(&self, caller: &Caller, feedback: Feedback) -> Result<()> {
        self.limited(feedback::give(self, caller, feedback)).await
    }

    async fn feedback(&self, tenant: Option<&TenantId>, since: SystemTime) -> Result<FeedbackCounts> {
        self.limited(feedback::count(self, tenant, since)).await
    }
}
