//! The REST routes, and what is said where there is none.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method};
use ragstone_core::{Error, Result, Scope};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::openapi::Described;
use crate::openapi::errors::{Guarded, JsonBody, Limited, Unusable};
use crate::openapi::shapes::ServerSentEvent;
use crate::problem::Problem;
use crate::query::QueryInput;
use crate::query::view::AnswerView;
use crate::{access, admin, documents, edge, extract, jobs, mcp, openai, playground, query, reference, search, status};

/// All routes of REST.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .merge(mcp::router(&app))
        .merge(playground::router())
        .merge(reference::router())
        .fallback(unknown)
        .method_not_allowed_fallback(|method: Method| async move { Problem::method_not_allowed(&method) })
        .layer(from_fn_with_state(Arc::clone(&app), edge::edge))
        .layer(from_fn(openai::translate))
        .with_state(app)
}

/// The routes, each with its description: what is served here cannot be missing there.
pub(crate) fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(documents::rest::list, documents::rest::post))
        .routes(routes!(documents::rest::get, documents::rest::put, documents::rest::delete))
        .routes(routes!(documents::rest::history))
        .routes(routes!(documents::rest::text))
        .routes(routes!(jobs::rest::list))
        .routes(routes!(jobs::rest::get))
        .routes(routes!(jobs::rest::events))
        .routes(routes!(jobs::rest::retry))
        .routes(routes!(search::rest))
        .routes(routes!(ask))
        .routes(routes!(access::feedback::rest))
        .routes(routes!(status::status))
        .merge(openai::router())
        .routes(routes!(admin::list, admin::begin))
        .routes(routes!(admin::drop_index))
        .routes(routes!(admin::serve))
        .routes(routes!(admin::roll_back))
        .routes(routes!(admin::shards, admin::reshard))
        .routes(routes!(access::keys::list, access::keys::create))
        .routes(routes!(access::keys::revoke))
        .routes(routes!(access::audit::read))
        .routes(routes!(access::audit::verify))
}

async fn unknown(request: Request) -> Response {
    if edge::is_grpc(request.headers()) {
        return tonic::Status::unimplemented("there is no such method").into_http();
    }
    Problem::from(Error::not_found(format!("there is nothing at {}", request.uri().path()))).into_response()
}

/// `POST /v1/query`
#[utoipa::path(
    post, path = "/v1/query", operation_id = "query", tag = "search",
    summary = "An answer from the documents, with citations; whole or as a stream",
    request_body = QueryInput,
    responses(
        (status = 200, description = "The answer; with `stream`, events as in the schema `QueryEvent`",
            content((AnswerView = "application/json"), (ServerSentEvent = "text/event-stream"))),
        Guarded, JsonBody, Unusable, Limited,
    ),
)]
async fn ask(State(app): State<Arc<App>>, headers: HeaderMap, body: axum::body::Body) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let input: QueryInput = deadline.run(extract::json(&headers, body)).await?;
    let stream = input.stream;
    let events = query::start(app, caller, input, deadline).await?;
    if stream { query::rest::stream(events).await } else { query::rest::whole(events).await }
}
