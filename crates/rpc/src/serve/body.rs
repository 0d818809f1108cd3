//! The body of a request, given up when nothing of it comes for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::slow_client;

/// A body whose sender may be silent for as long as `limit` while it is waited for.
pub(super) struct Patient {
    body: Incoming,
    service: &'static str,
    limit: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// `body` of a request to `service`.
    pub(super) fn new(body: Incoming, service: &'static str, limit: Duration) -> Self {
        Self { body, service, limit, silence: None }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if silence.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        slow_client(self.service, "body");
        let error = io::Error::new(io::ErrorKind::TimedOut, "the body of the request stopped coming");
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
