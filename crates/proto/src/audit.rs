//! The audit log and feedback to and from the wire.

use ragstone_core::{
    Answered, AuditAction, AuditCheck, AuditEntry, AuditFilter, DocumentId, DocumentRead, Error, Feedback, Rating,
    Result,
};

use crate::caller::{caller, optional_time};
use crate::{enum_value, v1};

impl From<DocumentRead> for v1::DocumentRead {
    fn from(read: DocumentRead) -> Self {
        Self { document_id: read.document_id.into(), version: read.version }
    }
}

impl TryFrom<v1::DocumentRead> for DocumentRead {
    type Error = Error;

    fn try_from(read: v1::DocumentRead) -> Result<Self> {
        Ok(Self { document_id: DocumentId::new(read.document_id)?, version: read.version })
    }
}

impl TryFrom<v1::AnswerRecord> for Answered {
    type Error = Error;

    fn try_from(answer: v1::AnswerRecord) -> Result<Self> {
        Ok(Self {
            caller: caller(answer.caller)?,
            query_id: answer.query_id,
            documents: answer.documents.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            degraded: answer.degraded,
            at: optional_time(answer.at, "at")?,
        })
    }
}

impl From<AuditEntry> for v1::AuditEntry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: Some(entry.at.into()),
            subject: entry.subject,
            action: entry.action.as_str().to_owned(),
            object_kind: entry.action.object_kind().to_owned(),
            object_id: entry.object_id,
            version: entry.version,
            request_id: entry.request_id,
            query_id: entry.query_id.unwrap_or_default(),
            documents: entry.documents.into_iter().map(Into::into).collect(),
            detail: entry.detail,
            prev_hash: entry.prev_hash,
            hash: entry.hash,
        }
    }
}

impl From<AuditCheck> for v1::VerifyAuditResponse {
    fn from(check: AuditCheck) -> Self {
        Self { entries: check.entries, first_broken: check.first_broken, hash: check.hash }
    }
}

/// Which entries a message asks for.
///
/// # Errors
/// `InvalidArgument` for an unknown action.
pub fn audit_filter(message: &v1::ReadAuditRequest) -> Result<AuditFilter> {
    let named = |name: &str| {
        AuditAction::parse(name).ok_or_else(|| Error::invalid(format!("'{name}' is no action of the audit log")))
    };
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(AuditFilter {
        action: given(&message.action).as_deref().map(named).transpose()?,
        subject: given(&message.subject),
        since: optional_time(message.since, "since")?,
    })
}

impl From<Rating> for v1::Rating {
    fn from(rating: Rating) -> Self {
        match rating {
            Rating::Up => Self::Up,
            Rating::Down => Self::Down,
        }
    }
}

/// The feedback in a message.
///
/// # Errors
/// `InvalidArgument` without a rating.
pub fn feedback(message: v1::GiveFeedbackRequest) -> Result<Feedback> {
    let rating = match enum_value::<v1::Rating>(message.rating, "rating")? {
        v1::Rating::Unspecified => return Err(Error::invalid("field 'rating' is missing")),
        v1::Rating::Up => Rating::Up,
        v1::Rating::Down => Rating::Down,
    };
    Ok(Feedback { query_id: message.query_id, rating, comment: message.comment })
}
