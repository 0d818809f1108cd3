//! W3C trace context across HTTP, gRPC and the job queue.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(key), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

/// The context a request's headers carry; the root context when they carry none.
#[must_use]
pub fn parent_from_headers(headers: &HeaderMap) -> Context {
    opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)))
}

/// Writes the current span's `traceparent` (and `tracestate`) into `headers`.
pub fn headers_from_current(headers: &mut HeaderMap) {
    let context = Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeadersMut(headers));
    });
}

/// The same for gRPC metadata.
pub fn metadata_from_current(metadata: &mut MetadataMap) {
    let mut headers = std::mem::take(metadata).into_headers();
    headers_from_current(&mut headers);
    *metadata = MetadataMap::from_headers(headers);
}

/// The current span's `traceparent`, to be stored with work that goes on later.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    headers_from_current(&mut headers);
    headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn parse(traceparent: &str) -> Option<Context> {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(traceparent).ok()?);
    let context = parent_from_headers(&headers);
    context.span().span_context().is_valid().then_some(context)
}

/// Makes `span` a child of the stored `traceparent`; what cannot be read starts a trace of its own.
pub fn continue_trace(span: &Span, traceparent: &str) {
    if let Some(context) = parse(traceparent) {
        // Fails only for a span that no layer sees, which has no trace to continue.
        let _ = span.set_parent(context);
    }
}

/// Links `span` to the stored `traceparent`, for work that serves several traces at once.
pub fn link_to(span: &Span, traceparent: &str) {
    if let Some(context) = parse(traceparent) {
        span.add_link(context.span().span_context().clone());
    }
}

/// The current trace's id: 32 hexadecimal digits; `None` outside any trace.
#[must_use]
pub fn trace_id() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span_context = span.span_context();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}
