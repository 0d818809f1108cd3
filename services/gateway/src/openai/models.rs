//! `GET /v1/models`: the model that answers, and the embedding model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use ragstone_core::{Error, Result, Scope};
use ragstone_proto::v1;
use ragstone_rpc::request;
use serde_json::{Value, json};

use super::view::{MODEL, list};
use crate::app::App;
use crate::backends::failed;
use crate::extract::IdPath;
use crate::openapi::errors::{Absent, Guarded, Malformed};
use crate::openapi::theirs::{Model, Models};
use crate::problem::Problem;

/// `GET /v1/models`
#[utoipa::path(
    get, path = "/v1/models", operation_id = "list_models", tag = "openai",
    summary = "The model that answers, and the embedding model",
    responses((status = 200, description = "Both", body = Models), Guarded),
)]
pub(crate) async fn all(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    app.authenticate(&headers, Scope::Query).await?;
    Ok(Json(list(known(&app).await)))
}

/// `GET /v1/models/{id}`
#[utoipa::path(
    get, path = "/v1/models/{id}", operation_id = "get_model", tag = "openai", summary = "One of the two models",
    params(("id" = String, Path, description = "The model's id", example = "ragstone")),
    responses((status = 200, description = "The model", body = Model), Guarded, Malformed, Absent),
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    app.authenticate(&headers, Scope::Query).await?;
    let found = known(&app).await.into_iter().find(|model| model["id"] == id);
    Ok(Json(found.ok_or_else(|| Error::not_found(format!("the model '{id}' does not exist")))?))
}

/// Without the embedding service its model is left out: the other one still answers.
async fn known(app: &App) -> Vec<Value> {
    let mut models = vec![model(MODEL)];
    let serving = app.serving.model();
    if !serving.is_empty() {
        models.push(model(&serving));
        return models;
    }
    let deadline = app.deadline().cap(app.config.embed_timeout());
    let message = v1::DescribeModelRequest { model: serving };
    let answer = app.backends.embedding.clone().describe_model(request(message, deadline)).await;
    match deadline.run(async { answer.map_err(failed("embedding")) }).await {
        Ok(answer) => models.push(model(&answer.into_inner().model)),
        Err(error) => tracing::debug!(error = error.chain(), "the embedding model cannot be named"),
    }
    models
}

fn model(id: &str) -> Value {
    // Nobody knows when; clients need a number.
    json!({ "id": id, "object": "model", "created": 0, "owned_by": "ragstone" })
}
