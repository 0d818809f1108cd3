//! Server-Sent Events that work through proxies: heartbeat, no caching, no buffering.

use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use http::{HeaderName, HeaderValue, header};
use ragstone_core::Error;

use crate::problem::Problem;

const HEARTBEAT: Duration = Duration::from_secs(15);

/// `events` as a response.
pub(crate) fn respond(events: impl Stream<Item = Result<Event, axum::Error>> + Send + 'static) -> Response {
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"));
    let mut response = sse.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The event that ends a stream which failed.
pub(crate) fn error(error: Error) -> Result<Event, axum::Error> {
    Event::default().event("error").json_data(Problem::from(error))
}
