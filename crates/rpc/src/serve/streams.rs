//! HTTP/2 calls whose client does not take the answer: the call is reset, the connection's other calls go on.
//!
//! hyper asks a response's body for the next piece only when the client has made room for the one before. A piece that
//! was handed over and never followed by another question therefore means a client that does not read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::slow_client;

tokio::task_local! {
    /// The call that is being worked on; HTTP/1 has none, there the connection itself is watched.
    static CALL: Arc<Handed>;
}

/// When a piece of the answer was handed over that the client has not made room for yet.
#[derive(Default)]
struct Handed(Mutex<Option<Instant>>);

impl Handed {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Returns once the client has let a piece lie for as long as `limit`.
    async fn left_lying(&self, limit: Duration) {
        let mut wait = limit;
        loop {
            tokio::time::sleep(wait).await;
            let handed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let lying = handed.map_or(Duration::ZERO, |at| at.elapsed());
            if lying >= limit {
                return;
            }
            wait = limit - lying;
        }
    }
}

/// Runs the calls of HTTP/2 connections.
#[derive(Clone)]
pub(super) struct Streams {
    service: &'static str,
    limit: Duration,
}

impl Streams {
    /// Calls of `service`, whose clients may let an answer lie for as long as `limit`.
    pub(super) fn new(service: &'static str, limit: Duration) -> Self {
        Self { service, limit }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        let Self { service, limit } = *self;
        let handed = Arc::new(Handed::default());
        let watched = Arc::clone(&handed);
        tokio::spawn(CALL.scope(handed, async move {
            tokio::select! {
                () = call => {}
                // Dropping the call resets it.
                () = watched.left_lying(limit) => slow_client(service, "response"),
            }
        }));
    }
}

/// The body of an answer, which notes when it hands something over, and keeps `held` until it is sent or dropped.
pub(super) struct Answer<H> {
    body: axum::body::Body,
    call: Option<Arc<Handed>>,
    _held: H,
}

impl<H> Answer<H> {
    /// `body`, as an answer to the call being worked on.
    pub(super) fn new(body: axum::body::Body, held: H) -> Self {
        Self { body, call: CALL.try_with(Arc::clone).ok(), _held: held }
    }
}

impl<H: Unpin> http_body::Body for Answer<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(call) = &self.call {
            call.set(matches!(polled, Poll::Ready(Some(Ok(_)))).then(Instant::now));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
