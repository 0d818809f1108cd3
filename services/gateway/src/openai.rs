//! What clients of OpenAI's API already know how to call: chat, responses, embeddings, models, vector store search.

mod chat;
pub(crate) mod conversation;
mod embeddings;
mod error;
mod models;
mod responses;
mod vector_stores;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

pub(crate) use error::translate;

/// The routes.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/responses", post(responses::create))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/models", get(models::all))
        .route("/v1/models/{id}", get(models::one))
        .route("/v1/vector_stores/{id}/search", post(vector_stores::rest))
}
