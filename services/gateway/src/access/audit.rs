//! The audit log, for administrators of a tenant: read in pages, and verified.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use ragstone_core::{Error, Result, Scope};
use ragstone_proto::v1;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};

use super::INGESTION;
use crate::app::App;
use crate::backends::failed;
use crate::documents::wire;
use crate::extract::{Items, Parameters, page_limit};
use crate::openapi::errors::{Guarded, Malformed};
use crate::problem::Problem;

/// `?after=&limit=&action=&subject=&since=`
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditParameters {
    /// Only entries after this one.
    #[serde(default)]
    #[param(required = false, maximum = 9_223_372_036_854_775_807_i64)]
    after: u64,
    /// The most entries.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only this action.
    #[serde(default)]
    #[param(required = false)]
    action: String,
    /// Only what this subject did.
    #[serde(default)]
    #[param(required = false)]
    subject: String,
    /// Only what happened then (seconds since 1970) or later.
    #[param(value_type = u64, required = false, maximum = 253_402_300_799_u64)]
    since: Option<u64>,
}

/// Whether the log is whole.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Verification {
    /// Whether every entry is where it was written.
    whole: bool,
    /// How many there are.
    entries: u64,
    /// The first entry that is not as it was written.
    first_broken: Option<u64>,
    /// The last entry's hash, to be kept elsewhere.
    hash: String,
}

/// An entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
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
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DocumentRead)]
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
#[utoipa::path(
    get, path = "/v1/admin/audit", operation_id = "read_audit", tag = "administration",
    summary = "The tenant's audit log, oldest first",
    params(AuditParameters),
    responses((status = 200, description = "Entries", body = Items<EntryView>), Guarded, Malformed),
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Parameters(wanted): Parameters<AuditParameters>,
    headers: HeaderMap,
) -> Result<Json<Items<EntryView>>, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.deadline();
    let message = v1::ReadAuditRequest {
        caller: Some(wire(&caller)),
        after_seq: entry(wanted.after)?,
        limit: page_limit(wanted.limit)?,
        action: wanted.action,
        subject: wanted.subject,
        since: wanted.since.map(since).transpose()?.map(Into::into),
    };
    let mut access = app.backends.access.clone();
    let call = async { access.read_audit(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let entries = deadline.run(call).await?.into_inner().entries;
    Ok(Json(Items { items: entries.into_iter().map(EntryView::from).collect() }))
}

/// Entries are counted in 63 bits.
fn entry(after: u64) -> Result<u64> {
    let known = i64::try_from(after).is_ok();
    known.then_some(after).ok_or_else(|| Error::invalid(format!("after is {after}; there is no such entry")))
}

fn since(seconds: u64) -> Result<SystemTime> {
    let time = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    time.filter(|_| seconds < 253_402_300_800).ok_or_else(|| Error::invalid("since is no time"))
}

/// `GET /v1/admin/audit/verification`
#[utoipa::path(
    get, path = "/v1/admin/audit/verification", operation_id = "verify_audit", tag = "administration",
    summary = "Whether the audit log is whole",
    responses((status = 200, description = "What was found", body = Verification), Guarded),
)]
pub(crate) async fn verify(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Verification>, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.admin_deadline();
    let message = v1::VerifyAuditRequest { caller: Some(wire(&caller)) };
    let mut access = app.backends.access.clone();
    let call = async { access.verify_audit(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let found = deadline.run(call).await?.into_inner();
    let v1::VerifyAuditResponse { entries, first_broken, hash } = found;
    Ok(Json(Verification { whole: first_broken.is_none(), entries, first_broken, hash }))
}
