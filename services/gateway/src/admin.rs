//! The REST routes of administrators: indexes and shards.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use ragstone_core::{IndexSpec, Topology};
use ragstone_proto::v1;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::backends::failed;
use crate::documents::{broken, wire};
use crate::extract::{self, IdPath, Items, Parameters};
use crate::openapi::errors::{Absent, Conflicting, Guarded, JsonBody, Malformed, Unusable};
use crate::openapi::shapes::{IndexSpecShape, TopologyShape};
use crate::problem::Problem;

/// An index and how far it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Index)]
struct IndexView {
    #[serde(flatten)]
    #[schema(value_type = IndexSpecShape)]
    spec: IndexSpec,
    state: &'static str,
    created_at: Option<String>,
    /// Documents still to be brought in, and those that could not be.
    waiting: u64,
    stuck: u64,
    /// Documents in the index, and in the catalog.
    documents: u64,
    expected: u64,
    #[schema(value_type = TopologyShape)]
    topology: Topology,
}

impl TryFrom<v1::IndexProgress> for IndexView {
    type Error = ragstone_core::Error;

    fn try_from(index: v1::IndexProgress) -> ragstone_core::Result<Self> {
        let state = match index.state() {
            v1::IndexState::Unspecified => "unknown",
            v1::IndexState::Building => "building",
            v1::IndexState::Serving => "serving",
            v1::IndexState::Standby => "standby",
        };
        Ok(Self {
            spec: index.spec.unwrap_or_default().try_into().map_err(broken)?,
            state,
            created_at: index.created_at.map(|at| at.to_string()),
            waiting: index.waiting,
            stuck: index.stuck,
            documents: index.documents,
            expected: index.expected,
            topology: index.topology.unwrap_or_default().into(),
        })
    }
}

/// How far a move between shards is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Shards)]
struct ShardsView {
    #[serde(flatten)]
    #[schema(value_type = TopologyShape)]
    topology: Topology,
    waiting: u64,
    stuck: u64,
}

impl From<v1::ReshardProgress> for ShardsView {
    fn from(progress: v1::ReshardProgress) -> Self {
        let topology = progress.topology.unwrap_or_default().into();
        Self { topology, waiting: progress.waiting, stuck: progress.stuck }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "model": "all-MiniLM-L6-v2" }))]
struct NewIndex {
    model: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "shards": ["s0", "s1"] }))]
struct NewShards {
    shards: Vec<String>,
}

/// Which indexes: `?index=`
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only this one.
    #[serde(default)]
    #[param(required = false)]
    index: String,
}

/// `GET /v1/admin/indexes`
#[utoipa::path(
    get, path = "/v1/admin/indexes", operation_id = "list_indexes", tag = "administration",
    summary = "Indexes and how far they are",
    params(Which),
    responses((status = 200, description = "One, or all", body = Items<IndexView>), Guarded, Malformed, Absent),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(Which { index }): Parameters<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.authenticate_operator(&headers).await?;
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.read_indexes(request(v1::ReadIndexesRequest { index }, deadline)).await;
    let indexes = answer.map_err(failed("ingestion"))?.into_inner().indexes;
    let items = indexes.into_iter().map(IndexView::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Items { items }).into_response())
}

/// `POST /v1/admin/indexes`: begins an index for another model, or goes on with it.
#[utoipa::path(
    post, path = "/v1/admin/indexes", operation_id = "begin_index", tag = "administration",
    summary = "Begins an index for another embedding model, or goes on with it",
    request_body = NewIndex,
    responses(
        (status = 202, description = "It is being built", body = IndexView),
        Guarded, JsonBody, Absent, Conflicting, Unusable,
    ),
)]
pub(crate) async fn begin(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate_operator(&headers).await?));
    let deadline = app.admin_deadline();
    let NewIndex { model } = deadline.run(extract::json(&headers, body)).await?;
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.begin_reindex(request(v1::BeginReindexRequest { model, caller }, deadline)).await;
    let index = answer.map_err(failed("ingestion"))?.into_inner().index.unwrap_or_default();
    Ok((StatusCode::ACCEPTED, Json(IndexView::try_from(index)?)).into_response())
}

/// `POST /v1/admin/indexes/{name}/serve`: switches to a complete index.
#[utoipa::path(
    post, path = "/v1/admin/indexes/{id}/serve", operation_id = "serve_index", tag = "administration",
    summary = "Switches to a complete index",
    params(("id" = String, Path, description = "The index's name")),
    responses((status = 200, description = "It serves", body = IndexView), Guarded, Malformed, Absent, Conflicting),
)]
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    IdPath(index): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(&app, &headers, index).await
}

/// `POST /v1/admin/rollback`: switches back to the index that served before.
#[utoipa::path(
    post, path = "/v1/admin/rollback", operation_id = "roll_back", tag = "administration",
    summary = "Switches back to the index that served before",
    responses((status = 200, description = "It serves again", body = IndexView), Guarded, Malformed, Absent, Conflicting),
)]
pub(crate) async fn roll_back(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    switch(&app, &headers, String::new()).await
}

async fn switch(app: &App, headers: &HeaderMap, index: String) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate_operator(headers).await?));
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.switch_index(request(v1::SwitchIndexRequest { index, caller }, deadline)).await;
    let index = answer.map_err(failed("ingestion"))?.into_inner().index.unwrap_or_default();
    Ok(Json(IndexView::try_from(index)?).into_response())
}

/// `DELETE /v1/admin/indexes/{name}`
#[utoipa::path(
    delete, path = "/v1/admin/indexes/{id}", operation_id = "drop_index", tag = "administration",
    summary = "Removes an index that does not serve",
    params(("id" = String, Path, description = "The index's name")),
    responses((status = 204, description = "It is gone"), Guarded, Malformed, Absent, Conflicting),
)]
pub(crate) async fn drop_index(
    State(app): State<Arc<App>>,
    IdPath(index): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate_operator(&headers).await?));
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.drop_index(request(v1::DropIndexRequest { index, caller }, deadline)).await;
    answer.map_err(failed("ingestion"))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/admin/shards`
#[utoipa::path(
    get, path = "/v1/admin/shards", operation_id = "get_shards", tag = "administration",
    summary = "Where documents are placed, and how far a move is",
    responses((status = 200, description = "The shards", body = ShardsView), Guarded),
)]
pub(crate) async fn shards(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    app.authenticate_operator(&headers).await?;
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.read_reshard(request(v1::ReadReshardRequest {}, deadline)).await;
    let progress = answer.map_err(failed("ingestion"))?.into_inner().progress.unwrap_or_default();
    Ok(Json(ShardsView::from(progress)).into_response())
}

/// `PUT /v1/admin/shards`: begins to place documents on these shards, or goes on with it.
#[utoipa::path(
    put, path = "/v1/admin/shards", operation_id = "put_shards", tag = "administration",
    summary = "Begins to place documents on these shards, or goes on with it",
    request_body = NewShards,
    responses(
        (status = 202, description = "Documents are moving", body = ShardsView),
        Guarded, JsonBody, Conflicting, Unusable,
    ),
)]
pub(crate) async fn reshard(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate_operator(&headers).await?));
    let deadline = app.admin_deadline();
    let NewShards { shards } = deadline.run(extract::json(&headers, body)).await?;
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.reshard(request(v1::ReshardRequest { shards, caller }, deadline)).await;
    let progress = answer.map_err(failed("ingestion"))?.into_inner().progress.unwrap_or_default();
    Ok((StatusCode::ACCEPTED, Json(ShardsView::from(progress))).into_response())
}
