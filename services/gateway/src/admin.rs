//! The REST routes of administrators: indexes and shards.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use ragstone_core::{IndexSpec, Scope, Topology};
use ragstone_proto::v1;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::backends::failed;
use crate::documents::{broken, wire};
use crate::extract::{self, IdPath, Parameters};
use crate::problem::Problem;

/// An index and how far it is.
#[derive(Debug, Serialize)]
struct IndexView {
    #[serde(flatten)]
    spec: IndexSpec,
    state: &'static str,
    created_at: Option<String>,
    /// Documents still to be brought in, and those that could not be.
    waiting: u64,
    stuck: u64,
    /// Documents in the index, and in the catalog.
    documents: u64,
    expected: u64,
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
#[derive(Debug, Serialize)]
struct ShardsView {
    #[serde(flatten)]
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewIndex {
    model: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewShards {
    shards: Vec<String>,
}

/// Which indexes: `?index=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[serde(default)]
    index: String,
}

/// `GET /v1/admin/indexes`
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(Which { index }): Parameters<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.read_indexes(request(v1::ReadIndexesRequest { index }, deadline)).await;
    let indexes = answer.map_err(failed("ingestion"))?.into_inner().indexes;
    let items = indexes.into_iter().map(IndexView::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({ "items": items })).into_response())
}

/// `POST /v1/admin/indexes`: begins an index for another model, or goes on with it.
pub(crate) async fn begin(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate(&headers, Scope::Admin).await?));
    let deadline = app.admin_deadline();
    let NewIndex { model } = deadline.run(extract::json(&headers, body)).await?;
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.begin_reindex(request(v1::BeginReindexRequest { model, caller }, deadline)).await;
    let index = answer.map_err(failed("ingestion"))?.into_inner().index.unwrap_or_default();
    Ok((StatusCode::ACCEPTED, Json(IndexView::try_from(index)?)).into_response())
}

/// `POST /v1/admin/indexes/{name}/serve`: switches to a complete index.
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    IdPath(index): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(&app, &headers, index).await
}

/// `POST /v1/admin/rollback`: switches back to the index that served before.
pub(crate) async fn roll_back(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    switch(&app, &headers, String::new()).await
}

async fn switch(app: &App, headers: &HeaderMap, index: String) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate(headers, Scope::Admin).await?));
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.switch_index(request(v1::SwitchIndexRequest { index, caller }, deadline)).await;
    let index = answer.map_err(failed("ingestion"))?.into_inner().index.unwrap_or_default();
    Ok(Json(IndexView::try_from(index)?).into_response())
}

/// `DELETE /v1/admin/indexes/{name}`
pub(crate) async fn drop_index(
    State(app): State<Arc<App>>,
    IdPath(index): IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate(&headers, Scope::Admin).await?));
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.drop_index(request(v1::DropIndexRequest { index, caller }, deadline)).await;
    answer.map_err(failed("ingestion"))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/admin/shards`
pub(crate) async fn shards(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    app.authenticate(&headers, Scope::Admin).await?;
    let deadline = app.admin_deadline();
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.read_reshard(request(v1::ReadReshardRequest {}, deadline)).await;
    let progress = answer.map_err(failed("ingestion"))?.into_inner().progress.unwrap_or_default();
    Ok(Json(ShardsView::from(progress)).into_response())
}

/// `PUT /v1/admin/shards`: begins to place documents on these shards, or goes on with it.
pub(crate) async fn reshard(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = Some(wire(&app.authenticate(&headers, Scope::Admin).await?));
    let deadline = app.admin_deadline();
    let NewShards { shards } = deadline.run(extract::json(&headers, body)).await?;
    let mut maintenance = app.backends.maintenance.clone();
    let answer = maintenance.reshard(request(v1::ReshardRequest { shards, caller }, deadline)).await;
    let progress = answer.map_err(failed("ingestion"))?.into_inner().progress.unwrap_or_default();
    Ok((StatusCode::ACCEPTED, Json(ShardsView::from(progress))).into_response())
}
