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

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub(crate) use error::{is_theirs, translate};

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(chat::complete))
        .routes(routes!(responses::create))
        .routes(routes!(embeddings::embed))
        .routes(routes!(models::all))
        .routes(routes!(models::one))
        .routes(routes!(vector_stores::rest))
}
