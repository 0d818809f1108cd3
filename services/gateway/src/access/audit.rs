//! The audit log, for administrators of a tenant: read in pages, and verified.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use ragstone_core::{Error, Result, Scope};
use ragstone_proto::v1;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::INGESTION;
use crate::app::App;
use crate::backends::failed;
use crate::documents::wire;
use crate::extract::{Parameters, page_limit};
use crate::problem::Problem;

/// `?after=&limit=&action=&subject=&since=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditParameters {
    /// Only entries after this one.
    #[serde(default)]
    after: u64,
    /// The most entries.
    limit: Option<u32>,
    /// Only this action.
    #[serde(default)]
    action: String,
    /// Only what this subject did.
    #[serde(default)]
    subject: String,
    /// Only what happened then (seconds since 1970) or later.
    since: Option<u64>,
}

/// An entry.
#[derive(Debug, Serialize)]
pub(crate) struct EntryView {
    seq: u64,
    at: Option<String>,
    subject: String,
    action: String,
    object_kind: String,
    object_id: String,
    version: Option<u64>,
    request_id: Option<String>,
    query_id: Option<String>,
    documents: Vec<ReadView>,
    detail: Option<String>,
    prev_hash: String,
    hash: String,
}

/// A document that an answer has read.
#[derive(Debug, Serialize)]
struct ReadView {
    document_id: String,
    version: u64,
}

impl From<v1::AuditEntry> for EntryView {
    fn from(entry: v1::AuditEntry) -> Self {
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let read = |read: v1::DocumentRead| ReadView { document_id: read.document_id, version: read.version };
        Self {
            seq: entry.seq,
            at: entry.at.map(|at| at.to_string()),
            subject: entry.subject,
            action: entry.action,
            object_kind: entry.object_kind,
            object_id: entry.object_id,
            version: entry.version,
            request_id: said(entry.request_id),
            query_id: said(entry.query_id),
            documents: entry.documents.into_iter().map(read).collect(),
            detail: said(entry.detail),
            prev_hash: entry.prev_hash,
            hash: entry.hash,
        }
    }
}

/// `GET /v1/admin/audit`
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Parameters(wanted): Parameters<AuditParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.deadline();
    let message = v1::ReadAuditRequest {
        caller: Some(wire(&caller)),
        after_seq: wanted.after,
        limit: page_limit(wanted.limit)?,
        action: wanted.action,
        subject: wanted.subject,
        since: wanted.since.map(since).transpose()?.map(Into::into),
    };
    let mut access = app.backends.access.clone();
    let call = async { access.read_audit(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let entries = deadline.run(call).await?.into_inner().entries;
    let items: Vec<_> = entries.into_iter().map(EntryView::from).collect();
    Ok(Json(json!({ "items": items })).into_response())
}

fn since(seconds: u64) -> Result<SystemTime> {
    let time = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    time.filter(|_| seconds < 253_402_300_800).ok_or_else(|| Error::invalid("since is no time"))
}

/// `GET /v1/admin/audit/verification`
pub(crate) async fn verify(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.admin_deadline();
    let message = v1::VerifyAuditRequest { caller: Some(wire(&caller)) };
    let mut access = app.backends.access.clone();
    let call = async { access.verify_audit(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let found = deadline.run(call).await?.into_inner();
    let whole = found.first_broken.is_none();
    Ok(Json(
        json!({ "whole": whole, "entries": found.entries, "first_broken": found.first_broken, "hash": found.hash }),
    )
    .into_response())
}
