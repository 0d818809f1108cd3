//! `ragstone.v1.AccessService`: API keys, the audit log and feedback. Messages in, catalog calls, messages out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ragstone_core::ports::Catalog;
use ragstone_core::{Error, Result, TenantId};
use ragstone_proto::v1::access_service_server::AccessService;
use ragstone_proto::{audit_filter, caller, feedback, new_key, optional_time, v1};
use tonic::{Request, Response, Status};

use crate::grpc::{CALL_LIMIT, page, page_size, within};

/// The longest that computing a chain again may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(600);

/// The service.
pub(crate) struct Access(pub(crate) Arc<dyn Catalog>);

impl Access {
    async fn create(&self, message: v1::CreateKeyRequest) -> Result<v1::CreateKeyResponse> {
        let (caller, key) = new_key(message)?;
        let key = self.0.create_key(&caller, key).await?;
        Ok(v1::CreateKeyResponse { key: Some(key.into()) })
    }

    async fn find(&self, message: v1::FindKeyRequest) -> Result<v1::FindKeyResponse> {
        let found = self.0.find_key(&message.id).await?;
        let found = found.ok_or_else(|| Error::not_found("there is no such key"))?;
        Ok(v1::FindKeyResponse { key: Some(found.key.into()), hash: found.hash })
    }

    async fn list(&self, message: v1::ListKeysRequest) -> Result<v1::ListKeysResponse> {
        let caller = caller(message.caller)?;
        let found = self.0.keys(caller.tenant(), page(message.limit, message.cursor)).await?;
        let keys = found.items.into_iter().map(Into::into).collect();
        Ok(v1::ListKeysResponse { keys, next_cursor: found.next_cursor.unwrap_or_default() })
    }

    async fn revoke(&self, message: v1::RevokeKeyRequest) -> Result<v1::RevokeKeyResponse> {
        let key = self.0.revoke_key(&caller(message.caller)?, &message.id).await?;
        Ok(v1::RevokeKeyResponse { key: Some(key.into()) })
    }

    async fn answers(&self, message: v1::RecordAnswersRequest) -> Result<v1::RecordAnswersResponse> {
        let answers = message.answers.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>>>()?;
        Ok(v1::RecordAnswersResponse { recorded: self.0.record_answers(answers).await? })
    }

    async fn audit(&self, message: v1::ReadAuditRequest) -> Result<v1::ReadAuditResponse> {
        let filter = audit_filter(&message)?;
        let (caller, limit) = (caller(message.caller)?, page_size(message.limit));
        let entries = self.0.audit(caller.tenant(), message.after_seq, limit, filter).await?;
        Ok(v1::ReadAuditResponse { entries: entries.into_iter().map(Into::into).collect() })
    }

    async fn verify(&self, message: v1::VerifyAuditRequest) -> Result<v1::VerifyAuditResponse> {
        let caller = caller(message.caller)?;
        let check = self.0.verify_audit(caller.tenant()).await?;
        if let Some(seq) = check.first_broken {
            tracing::error!(tenant = %caller.tenant(), seq, "the audit log is not as it was written");
        }
        Ok(check.into())
    }

    async fn rate(&self, mut message: v1::GiveFeedbackRequest) -> Result<v1::GiveFeedbackResponse> {
        let caller = caller(message.caller.take())?;
        self.0.give_feedback(&caller, feedback(message)?).await?;
        Ok(v1::GiveFeedbackResponse {})
    }

    async fn summary(&self, message: v1::ReadFeedbackSummaryRequest) -> Result<v1::ReadFeedbackSummaryResponse> {
        let tenant = Some(message.tenant).filter(|tenant| !tenant.is_empty()).map(TenantId::new).transpose()?;
        let since = optional_time(message.since, "since")?.unwrap_or(SystemTime::UNIX_EPOCH);
        let counts = self.0.feedback(tenant.as_ref(), since).await?;
        Ok(v1::ReadFeedbackSummaryResponse { up: counts.up, down: counts.down })
    }
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.create(message)).await
    }

    async fn find_key(&self, request: Request<v1::FindKeyRequest>) -> Result<Response<v1::FindKeyResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.find(message)).await
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.list(message)).await
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::RevokeKeyResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.revoke(message)).await
    }

    async fn record_answers(
        &self,
        request: Request<v1::RecordAnswersRequest>,
    ) -> Result<Response<v1::RecordAnswersResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.answers(message)).await
    }

    async fn read_audit(
        &self,
        request: Request<v1::ReadAuditRequest>,
    ) -> Result<Response<v1::ReadAuditResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.audit(message)).await
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        within(request, VERIFY_LIMIT, |message| self.verify(message)).await
    }

    async fn give_feedback(
        &self,
        request: Request<v1::GiveFeedbackRequest>,
    ) -> Result<Response<v1::GiveFeedbackResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.rate(message)).await
    }

    async fn read_feedback_summary(
        &self,
        request: Request<v1::ReadFeedbackSummaryRequest>,
    ) -> Result<Response<v1::ReadFeedbackSummaryResponse>, Status> {
        within(request, CALL_LIMIT, |message| self.summary(message)).await
    }
}
