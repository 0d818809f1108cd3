//! What a connection's bytes say about its client: idle, slow to send a request's head, slow to take an answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long each may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Without a request under way.
    pub(super) idle: Duration,
    /// From the first byte of a request's head to its last; for the first byte of a connection too.
    pub(super) head: Duration,
    /// A write that makes no progress.
    pub(super) write: Duration,
}

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing has been asked for a while.
    Idle,
    /// The head of a request does not come to its end.
    SlowHead,
    /// What was answered is not taken.
    SlowReader,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    /// So many bytes of the preface of HTTP/2 have come.
    Unknown(usize),
    Http1,
    Http2,
}

impl Protocol {
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Unknown(matched) = self else { return self };
        let rest = PREFACE.get(matched..).unwrap_or_default();
        let count = bytes.len().min(rest.len());
        match bytes.get(..count) == rest.get(..count) {
            false => Self::Http1,
            true if count == rest.len() => Self::Http2,
            true => Self::Unknown(matched + count),
        }
    }
}

struct State {
    protocol: Protocol,
    requests: usize,
    quiet_since: Instant,
    head_since: Option<Instant>,
    write_stuck_since: Option<Instant>,
    flush_stuck_since: Option<Instant>,
}

/// What is known about one connection; clones share it.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<State>>);

impl Watch {
    /// Of a connection that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            protocol: Protocol::Unknown(0),
            requests: 0,
            quiet_since: now,
            head_since: Some(now),
            write_stuck_since: None,
            flush_stuck_since: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete; the request ends when the answer is dropped.
    pub(super) fn request(&self) -> Request {
        let mut state = self.lock();
        state.requests += 1;
        state.head_since = None;
        Request(self.clone())
    }

    /// Counts idle time from now on.
    pub(super) fn restart(&self) {
        self.lock().quiet_since = Instant::now();
    }

    /// When to look again at the latest.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, limits: Limits) -> Result<Duration, Fault> {
        let state = self.lock();
        let quiet_since = (state.requests == 0).then_some(state.quiet_since);
        let clocks = [
            (state.write_stuck_since, limits.write, Fault::SlowReader),
            (state.flush_stuck_since, limits.write, Fault::SlowReader),
            (state.head_since, limits.head, Fault::SlowHead),
            (quiet_since, limits.idle, Fault::Idle),
        ];
        // A clock that starts later cannot run out before the shortest limit is over.
        let mut wait = limits.idle.min(limits.head).min(limits.write);
        for (since, limit, fault) in clocks {
            let Some(since) = since else { continue };
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(fault);
            }
            wait = wait.min(left);
        }
        Ok(wait)
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.protocol = state.protocol.after(bytes);
        match state.protocol {
            Protocol::Http2 => state.head_since = None,
            _ if state.requests == 0 => state.head_since = state.head_since.or_else(|| Some(Instant::now())),
            _ => {}
        }
    }
}

/// A request under way.
pub(super) struct Request(Watch);

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A connection that is being watched.
pub(super) struct Watched<IO> {
    /// The connection.
    pub(super) io: IO,
    /// What is known about it.
    pub(super) watch: Watch,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Some(bytes) = buf.filled().get(before..)
            && !bytes.is_empty()
        {
            self.watch.read(bytes);
        }
        polled
    }
}

/// `since` after another try that got on or did not.
fn stuck<T>(since: &mut Option<Instant>, polled: &Poll<T>) {
    *since = polled.is_pending().then(|| since.unwrap_or_else(Instant::now));
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        stuck(&mut self.watch.lock().write_stuck_since, &polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        stuck(&mut self.watch.lock().write_stuck_since, &polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        stuck(&mut self.watch.lock().flush_stuck_since, &polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        stuck(&mut self.watch.lock().flush_stuck_since, &polled);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { idle: Duration::from_secs(100), head: Duration::from_secs(10), write: Duration::from_secs(60) };

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_next_request_is_not_slowness() {
        let watch = Watch::new();
        watch.read(b"GET / HTTP/1.1\r\n");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(watch.check(LIMITS), Ok(Duration::from_secs(1)));
        let request = watch.request();
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!(watch.check(LIMITS), Ok(Duration::from_secs(10)), "it is being worked on");
        drop(request);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(watch.check(LIMITS), Ok(Duration::from_secs(10)));
        watch.read(b"G");
        tokio::time::advance(Duration::from_secs(5)).await;
        watch.read(b"E");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(watch.check(LIMITS), Err(Fault::SlowHead), "a byte now and then does not help");
    }

    #[tokio::test(start_paused = true)]
    async fn http2_is_idle_and_not_slow_after_its_preface() {
        let (whole, half) = (Watch::new(), Watch::new());
        for part in [&PREFACE[..5], &PREFACE[5..]] {
            whole.read(part);
        }
        half.read(&PREFACE[..5]);
        tokio::time::advance(Duration::from_secs(20)).await;
        whole.read(b"ping");
        assert_eq!(whole.check(LIMITS), Ok(Duration::from_secs(10)));
        assert_eq!(half.check(LIMITS), Err(Fault::SlowHead));
        tokio::time::advance(Duration::from_secs(80)).await;
        assert_eq!(whole.check(LIMITS), Err(Fault::Idle));
        whole.restart();
        assert_eq!(whole.check(LIMITS), Ok(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_must_get_on() {
        let watch = Watch::new();
        let _request = watch.request();
        stuck(&mut watch.lock().write_stuck_since, &Poll::<()>::Pending);
        tokio::time::advance(Duration::from_secs(59)).await;
        stuck(&mut watch.lock().write_stuck_since, &Poll::<()>::Pending);
        assert_eq!(watch.check(LIMITS), Ok(Duration::from_secs(1)));
        stuck(&mut watch.lock().write_stuck_since, &Poll::Ready(()));
        stuck(&mut watch.lock().write_stuck_since, &Poll::<()>::Pending);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(watch.check(LIMITS), Err(Fault::SlowReader));
    }
}
