//! What a test does to one peer, what every call meets before its handler, and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tonic::{Code, Status};

/// Open to everybody, and the client's own check when it connects.
const HEALTH_CHECK: &str = "Qdrant/HealthCheck";

/// The faults and counters of one peer.
#[derive(Debug, Default)]
pub(super) struct Faults {
    slowness: watch::Sender<Slowness>,
    failures: Mutex<Option<(Code, usize)>>,
    calls: Mutex<BTreeMap<String, u64>>,
    damage: AtomicBool,
}

/// How late a peer is. The order is the order of preference among peers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slowness {
    pub(super) paused: bool,
    pub(super) delay: Duration,
}

impl Faults {
    pub(super) fn set_paused(&self, paused: bool) {
        self.slowness.send_modify(|slowness| slowness.paused = paused);
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.slowness.send_modify(|slowness| slowness.delay = delay);
    }

    pub(super) fn set_failures(&self, code: Code, times: usize) {
        *lock(&self.failures) = Some((code, times));
    }

    pub(super) fn set_damage(&self, damage: bool) {
        self.damage.store(damage, Ordering::SeqCst);
    }

    /// Whether snapshots are not the same any more when they are fetched.
    pub(super) fn damages_snapshots(&self) -> bool {
        self.damage.load(Ordering::SeqCst)
    }

    pub(super) fn slowness(&self) -> Slowness {
        *self.slowness.borrow()
    }

    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    pub(super) fn reset_calls(&self) {
        lock(&self.calls).clear();
    }

    /// Waits for as long as this peer is late.
    pub(super) async fn reach(&self) {
        let mut slowness = self.slowness.subscribe();
        let delay = slowness.borrow().delay;
        tokio::time::sleep(delay).await;
        // The sender lives in self: this cannot fail.
        let _ = slowness.wait_for(|slowness| !slowness.paused).await;
    }

    fn count(&self, method: &str) {
        *lock(&self.calls).entry(method.to_owned()).or_default() += 1;
    }

    fn next_failure(&self) -> Option<Code> {
        let mut failures = lock(&self.failures);
        let (code, left) = failures.as_mut()?;
        let code = *code;
        *left = left.checked_sub(1)?;
        Some(code)
    }
}

/// What stands before the handlers of one peer.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) faults: Arc<Faults>,
    pub(super) api_key: Option<String>,
}

/// Counts the call, is as late as told, fails as told, and checks the key.
pub(super) async fn admit(State(front): State<Front>, request: Request, next: Next) -> Response {
    // `/qdrant.Points/Query` is counted as `Points/Query`.
    let path = request.uri().path();
    let method = path.strip_prefix("/qdrant.").unwrap_or(path).to_owned();
    front.faults.count(&method);
    front.faults.reach().await;
    let refusal = if method == HEALTH_CHECK {
        None
    } else if let Some(code) = front.faults.next_failure() {
        Some(Status::new(code, "a failure the test asked for"))
    } else {
        front.refuse(&request)
    };
    match refusal {
        Some(status) => status.into_http(),
        None => next.run(request).await,
    }
}

impl Front {
    fn refuse(&self, request: &Request) -> Option<Status> {
        let expected = self.api_key.as_deref()?;
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match header("api-key").or_else(bearer) {
            Some(given) if given == expected => None,
            Some(_) => Some(Status::unauthenticated("Invalid API key or JWT")),
            None => Some(Status::unauthenticated("Must provide an API key or an Authorization bearer token")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
