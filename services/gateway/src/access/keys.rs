//! API keys: made, listed and ended by administrators of a tenant; looked up for authentication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ragstone_auth::{GeneratedKey, KeyStore};
use ragstone_core::{Error, ErrorCode, Result, Scope, StoredKey};
use ragstone_proto::v1::access_service_client::AccessServiceClient;
use ragstone_proto::{required, v1};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use super::INGESTION;
use crate::app::App;
use crate::backends::failed;
use crate::documents::{broken, wire};
use crate::extract::{self, IdPath, Listed, Page, Parameters, page_limit};
use crate::openapi::errors::{Absent, DiskFull, Guarded, JsonBody, Malformed};
use crate::openapi::shapes::ScopeShape;
use crate::problem::Problem;

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// A hundred years: longer is for ever, which is said by leaving it out.
const MAX_DAYS: u64 = 36_500;

/// The body of `POST /v1/admin/keys`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "subject": "ci", "scopes": ["query", "ingest"], "expires_in_days": 30 }))]
pub(crate) struct KeyInput {
    /// Whom the key's bearer counts as.
    subject: String,
    /// What its bearer may do.
    #[schema(value_type = Vec<ScopeShape>)]
    scopes: BTreeSet<Scope>,
    /// Which groups' documents its bearer may read, beside those for everyone.
    #[serde(default)]
    groups: BTreeSet<String>,
    /// Every document of the tenant.
    #[serde(default)]
    all_groups: bool,
    /// After so many days it ends; absent: never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 36500)]
    expires_in_days: Option<u64>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    id: String,
    subject: String,
    #[schema(value_type = Vec<ScopeShape>)]
    scopes: Vec<&'static str>,
    groups: Vec<String>,
    all_groups: bool,
    created_at: Option<String>,
    created_by: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<v1::ApiKey> for KeyView {
    fn from(key: v1::ApiKey) -> Self {
        let scope = |scope| match scope {
            v1::Scope::Unspecified => "unknown",
            v1::Scope::Query => Scope::Query.as_str(),
            v1::Scope::Ingest => Scope::Ingest.as_str(),
            v1::Scope::Admin => Scope::Admin.as_str(),
        };
        let scopes = key.scopes().map(scope).collect();
        let access = key.access.unwrap_or_default();
        Self {
            id: key.id,
            subject: key.subject,
            scopes,
            groups: access.groups,
            all_groups: access.all_groups,
            created_at: key.created_at.map(|at| at.to_string()),
            created_by: key.created_by,
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// A key that was just made: the only time that it is shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NewKey)]
pub(crate) struct NewKeyView {
    /// The whole key.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

impl KeyInput {
    fn expiry(&self) -> Result<Option<SystemTime>> {
        match self.expires_in_days {
            None => Ok(None),
            Some(days @ 1..=MAX_DAYS) => Ok(Some(SystemTime::now() + Duration::from_secs(days * 24 * 3600))),
            Some(days) => {
                Err(Error::invalid(format!("expires_in_days is {days}; it must lie within 1 and {MAX_DAYS}")))
            }
        }
    }
}

/// `POST /v1/admin/keys`
#[utoipa::path(
    post, path = "/v1/admin/keys", operation_id = "create_key", tag = "administration",
    summary = "Makes an API key for this tenant",
    request_body = KeyInput,
    responses(
        (status = 201, description = "The key, shown this once", body = NewKeyView),
        Guarded, JsonBody, DiskFull,
    ),
)]
pub(crate) async fn create(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.deadline();
    let work = async {
        let input: KeyInput = extract::json(&headers, body).await?;
        let expires_at = input.expiry()?.map(Into::into);
        let generated = GeneratedKey::generate()?;
        let message = v1::CreateKeyRequest {
            caller: Some(wire(&caller)),
            id: generated.id,
            hash: generated.hash,
            subject: input.subject,
            scopes: input.scopes.into_iter().map(|scope| v1::Scope::from(scope).into()).collect(),
            all_groups: input.all_groups,
            groups: input.groups.into_iter().collect(),
            expires_at,
        };
        let answer = app.backends.access.clone().create_key(request(message, deadline)).await;
        let key = required(answer.map_err(failed(INGESTION))?.into_inner().key, "key").map_err(broken)?;
        Ok(NewKeyView { key: generated.key.expose().to_owned(), view: key.into() })
    };
    let made = deadline.run(work).await?;
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `GET /v1/admin/keys`
#[utoipa::path(
    get, path = "/v1/admin/keys", operation_id = "list_keys", tag = "administration",
    summary = "The tenant's API keys, without their secrets",
    params(Page),
    responses((status = 200, description = "A page", body = Listed<KeyView>), Guarded, Malformed),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Listed<KeyView>>, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.deadline();
    let limit = page_limit(page.limit)?;
    let message = v1::ListKeysRequest { caller: Some(wire(&caller)), limit, cursor: page.cursor };
    let mut access = app.backends.access.clone();
    let call = async { access.list_keys(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let page = deadline.run(call).await?.into_inner();
    Ok(Json(Listed::new(page.keys, page.next_cursor)))
}

/// `DELETE /v1/admin/keys/{id}`
#[utoipa::path(
    delete, path = "/v1/admin/keys/{id}", operation_id = "revoke_key", tag = "administration",
    summary = "Ends an API key",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key, ended", body = KeyView), Guarded, Malformed, Absent, DiskFull),
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Json<KeyView>, Problem> {
    let caller = app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.deadline();
    let message = v1::RevokeKeyRequest { caller: Some(wire(&caller)), id };
    let mut access = app.backends.access.clone();
    let call = async { access.revoke_key(request(message, deadline)).await.map_err(failed(INGESTION)) };
    let key = required(deadline.run(call).await?.into_inner().key, "key").map_err(broken)?;
    Ok(Json(key.into()))
}

/// Keys as the ingestion service keeps them.
pub(crate) struct Stored(pub(crate) AccessServiceClient<Channel>);

#[async_trait]
impl KeyStore for Stored {
    async fn find(&self, id: &str) -> Result<Option<StoredKey>> {
        let message = v1::FindKeyRequest { id: id.to_owned() };
        let answer = self.0.clone().find_key(request(message, Deadline::after(LOOKUP_TIMEOUT))).await;
        match answer.map_err(failed(INGESTION)) {
            Ok(found) => found.into_inner().try_into().map(Some).map_err(broken),
            Err(error) if matches!(error.code, ErrorCode::NotFound | ErrorCode::InvalidArgument) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
