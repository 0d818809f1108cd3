//! Around every request, REST or gRPC: its id, its trace, its slot, and a decent answer when the handler panics.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use ragstone_core::{Error, Scope};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use crate::app::App;
use crate::context::RequestContext;
use crate::problem::{Problem, disclose};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID: usize = 128;

/// The middleware.
pub(crate) async fn edge(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let grpc = is_grpc(request.headers());
    let address = client_address(&app, &request);
    let span = tracing::info_span!("edge", request_id = id.to_str().unwrap_or_default(), client.address = address);
    let context = RequestContext::new(id.clone());
    let answer = async {
        let Ok(permit) = Arc::clone(&app.slots).try_acquire_owned() else {
            metrics::counter!("rag_shed_total", "reason" => "concurrency").increment(1);
            return refuse(Error::unavailable("the gateway is working on as many requests as it may"), grpc);
        };
        let call = Arc::clone(&context).scope(next.run(request));
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(response) => response.map(|body| Body::new(Held { body, _permit: permit })),
            Err(_) => refuse(Error::internal("a request handler panicked"), grpc),
        }
    };
    let mut response = answer.instrument(span.clone()).await;
    response.headers_mut().extend(context.take_headers());
    response.headers_mut().insert(REQUEST_ID, id);
    if let Some(trace) = span.in_scope(ragstone_telemetry::current_traceparent)
        && let Ok(trace) = HeaderValue::try_from(trace)
    {
        response.headers_mut().insert(TRACEPARENT, trace);
    }
    response
}

/// Guards what is reached by gRPC and is no call of ours: reflection tells the API only to those who may use it.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/grpc.reflection.")
        && let Err(error) = app.authenticate(request.headers(), Scope::Query).await
    {
        return refuse(error, true);
    }
    next.run(request).await
}

/// Who sent the request, for logs and traces.
fn client_address(app: &App, request: &Request) -> Option<String> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(app.client_address.of(peer.ip(), request.headers()).to_string())
}

/// Whether the caller speaks gRPC, and errors must be statuses.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn refuse(error: Error, grpc: bool) -> Response {
    if grpc { ragstone_rpc::status(disclose(error)).into_http() } else { Problem::from(error).into_response() }
}

/// The caller's own id where it is one that can be logged and searched for, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane = |id: &[u8]| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
    };
    match headers.get(REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("none")),
    }
}

/// A body that keeps its request's slot until it is sent or dropped.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_panic_is_a_problem_or_a_status() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let runtime = ragstone_rpc::Runtime {
            name: "gateway",
            listener,
            shutdown: CancellationToken::new(),
            health: ragstone_rpc::Health::default(),
            server: ragstone_rpc::ServerConfig::default(),
        };
        let app = Arc::new(App::new(crate::Config::default(), &runtime).await.unwrap());
        let router = axum::Router::new()
            .route(
                "/",
                axum::routing::any(|| async {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), edge));
        let response = router.clone().oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key("x-request-id"));
        let call = Request::builder().header("content-type", "application/grpc+proto").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(call).await.unwrap().headers()["grpc-status"], "13");
        assert_eq!(app.slots.available_permits(), app.config.max_concurrency);
    }

    #[test]
    fn only_a_sane_request_id_is_taken_over() {
        let with = |id: &str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())]);
        assert_eq!(request_id(&with("a-b_c.1:2/3")), "a-b_c.1:2/3");
        for odd in ["", "a b", "{x}", &"x".repeat(129)] {
            assert_eq!(request_id(&with(odd)).len(), 36, "{odd:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
