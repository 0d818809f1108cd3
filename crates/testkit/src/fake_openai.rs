//! Servers with the OpenAI API that behave, and misbehave, as they are told: chat here, all that does not stream in `calls`.

mod behaviour;
mod calls;
mod obedient;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::routing::post;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use behaviour::{Behaviour, completion, delta, finish, usage};
use behaviour::{Reply, Step};
pub use calls::{Call, FakeCalls, Reaction, embeddings};
pub use obedient::{DONE_AS_TOLD, OBEYED};

/// A request the server got.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null when it was no JSON.
    pub body: Value,
}

/// The server; it stops when this is dropped.
pub struct FakeOpenAi {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    script: Mutex<VecDeque<Behaviour>>,
    seen: Mutex<Vec<Seen>>,
    cancelled: watch::Sender<usize>,
}

impl FakeOpenAi {
    /// Starts a server on a free loopback port. The first request meets the first behaviour, and so on; the last one
    /// stays.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(script: impl IntoIterator<Item = Behaviour>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            seen: Mutex::default(),
            cancelled: watch::Sender::new(0),
        });
        let router = axum::Router::new().route("/v1/chat/completions", post(complete)).with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped => {}
                outcome = axum::serve(listener, router) => drop(outcome),
            }
        });
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// What a client calls its base URL.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Replaces what is left of the script.
    pub fn script(&self, script: impl IntoIterator<Item = Behaviour>) {
        *lock(&self.shared.script) = script.into_iter().collect();
    }

    /// The requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Returns once `count` requests in all have been cancelled: their clients left before the answer was complete.
    pub async fn cancelled(&self, count: usize) {
        // The sender lives as long as the server: this cannot fail.
        let _ = self.shared.cancelled.subscribe().wait_for(|cancelled| *cancelled >= count).await;
    }
}

async fn complete(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let behaviour = {
        let mut script = lock(&shared.script);
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
    };
    let reply = match behaviour {
        Some(behaviour) => behaviour.reply(&body),
        None => Reply::status(StatusCode::NOT_IMPLEMENTED, ""),
    };
    lock(&shared.seen).push(Seen { headers: parts.headers, body });
    let watched = Watched { shared, complete: false };
    respond(reply, watched).await
}

async fn respond(reply: Reply, mut watched: Watched) -> Response<Body> {
    if let Some(Step::Hang) = reply.steps.first() {
        std::future::pending::<()>().await;
    }
    let whole = reply.content_type == "application/json";
    let mut response = Response::new(Body::empty());
    *response.status_mut() = reply.status;
    response.headers_mut().insert(header::CONTENT_TYPE, reply.content_type);
    if let Some(wait) = reply.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    }
    // The guard goes with the body: hyper drops it when the connection is gone.
    let body = stream::iter(reply.steps).flat_map(Step::into_stream).inspect(move |part| {
        watched.saw(part, whole);
    });
    *response.body_mut() = Body::from_stream(body);
    response
}

/// Counts a request as cancelled when it is dropped before it is complete.
struct Watched {
    shared: Arc<Shared>,
    complete: bool,
}

impl Watched {
    /// Takes note of a part of the body after which nothing that matters follows. `whole`: the body is one part.
    fn saw(&mut self, part: &std::io::Result<Bytes>, whole: bool) {
        self.complete |= match part {
            Ok(bytes) if whole => !bytes.is_empty(),
            Ok(bytes) => bytes.ends_with(b"[DONE]\n\n"),
            Err(_) => true,
        };
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.complete {
            self.shared.cancelled.send_modify(|cancelled| *cancelled += 1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
