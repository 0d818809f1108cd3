//! Around every request: a span that continues the caller's trace, the in-flight gauge, the caller's deadline, and
//! containment of panics.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, StatusCode, header};
use http_body::{Frame, SizeHint};
use ragstone_resilience::Deadline;
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The middleware. `service` labels span and gauge.
pub(crate) async fn observe(State(service): State<&'static str>, request: Request, next: Next) -> Response {
    let span = span(service, &request);
    let in_flight = InFlight::enter(service);
    let grpc = is_grpc(request.headers());
    let deadline = grpc.then(|| deadline(request.headers())).flatten();
    let outcome = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind();
    let response = match within(deadline, outcome).await {
        Some(Ok(response)) => response,
        Some(Err(_)) => {
            // The panic hook has printed where; the caller learns only that it happened.
            span.in_scope(|| tracing::error!(service, "a request handler panicked"));
            panicked(grpc)
        }
        None => tonic::Status::deadline_exceeded("the caller's deadline has passed").into_http(),
    };
    span.record("status", response.status().as_u16());
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, Body::new(Observed { body, span, _in_flight: in_flight }))
}

fn deadline(headers: &HeaderMap) -> Option<Deadline> {
    Deadline::from_grpc_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// What `work` gives, unless `deadline` comes first: nobody waits for it then.
async fn within<T>(deadline: Option<Deadline>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout(deadline.remaining(), work).await.ok(),
        None => Some(work.await),
    }
}

fn span(service: &'static str, request: &Request) -> Span {
    let path = request.uri().path();
    // Paths of REST calls carry document ids: only the route's name of a gRPC call goes into the span's name.
    let name = if is_grpc(request.headers()) { path.trim_start_matches('/') } else { request.method().as_str() };
    let span = tracing::info_span!("request", otel.name = name, otel.kind = "server", service, status = field::Empty);
    // Fails only for a span that no layer sees, which has no trace to continue.
    let _ = span.set_parent(ragstone_telemetry::parent_from_headers(request.headers()));
    span
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn panicked(grpc: bool) -> Response {
    if grpc {
        tonic::Status::internal("internal error").into_http()
    } else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }
}

/// Counts a request in `rag_inflight{service}` until its response has been sent or dropped.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn enter(service: &'static str) -> Self {
        let gauge = metrics::gauge!("rag_inflight", "service" => service);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A response body whose streaming belongs to the request's span.
struct Observed {
    body: Body,
    span: Span,
    _in_flight: InFlight,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let span = self.span.clone();
        let _entered = span.enter();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
