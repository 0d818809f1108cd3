//! The REST routes, and what is said where there is none.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderMap, Method};
use ragstone_core::{Error, Result, Scope};

use crate::app::App;
use crate::problem::Problem;
use crate::query::QueryInput;
use crate::{access, admin, documents, edge, extract, jobs, mcp, openai, playground, query, search, status};

/// All routes of REST.
pub(crate) fn router(app: Arc<App>) -> Router {
    let document = get(documents::rest::get).put(documents::rest::put).delete(documents::rest::delete);
    Router::new()
        .route("/v1/documents", get(documents::rest::list).post(documents::rest::post))
        .route("/v1/documents/{id}", document)
        .route("/v1/documents/{id}/history", get(documents::rest::history))
        .route("/v1/jobs", get(jobs::rest::list))
        .route("/v1/jobs/{id}", get(jobs::rest::get))
        .route("/v1/jobs/{id}/events", get(jobs::rest::events))
        .route("/v1/jobs/{id}/retry", post(jobs::rest::retry))
        .route("/v1/search", post(search::rest))
        .route("/v1/query", post(ask))
        .route("/v1/admin/indexes", get(admin::list).post(admin::begin))
        .route("/v1/admin/indexes/{id}", delete(admin::drop_index))
        .route("/v1/admin/indexes/{id}/serve", post(admin::serve))
        .route("/v1/admin/rollback", post(admin::roll_back))
        .route("/v1/admin/shards", get(admin::shards).put(admin::reshard))
        .route("/v1/documents/{id}/text", get(documents::rest::text))
        .route("/v1/feedback", post(access::feedback::rest))
        .route("/v1/status", get(status::status))
        .route("/v1/admin/keys", get(access::keys::list).post(access::keys::create))
        .route("/v1/admin/keys/{id}", delete(access::keys::revoke))
        .route("/v1/admin/audit", get(access::audit::read))
        .route("/v1/admin/audit/verification", get(access::audit::verify))
        .merge(openai::router())
        .merge(mcp::router(&app))
        .merge(playground::router())
        .fallback(unknown)
        .method_not_allowed_fallback(|method: Method| async move { Problem::method_not_allowed(&method) })
        .layer(from_fn_with_state(Arc::clone(&app), edge::edge))
        .layer(from_fn(openai::translate))
        .with_state(app)
}

async fn unknown(request: Request) -> Response {
    if edge::is_grpc(request.headers()) {
        return tonic::Status::unimplemented("there is no such method").into_http();
    }
    Problem::from(Error::not_found(format!("there is nothing at {}", request.uri().path()))).into_response()
}

/// `POST /v1/query`
async fn ask(State(app): State<Arc<App>>, headers: HeaderMap, body: axum::body::Body) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let input: QueryInput = deadline.run(extract::json(&headers, body)).await?;
    let stream = input.stream;
    let events = query::start(app, caller, input, deadline).await?;
    if stream { query::rest::stream(events).await } else { query::rest::whole(events).await }
}
