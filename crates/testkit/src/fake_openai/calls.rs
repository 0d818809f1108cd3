//! A server whose every answer is decided by the test, call by call: for embeddings and reranking, which do not stream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lock;

/// A request the server got.
#[derive(Debug, Clone)]
pub struct Call {
    /// How many came before it.
    pub number: usize,
    /// The URL's path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null when it was no JSON.
    pub body: Value,
}

/// What the server does with a call.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Answers with this JSON.
    Json(Value),
    /// Answers 200 with this text, which may be no JSON.
    Text(String),
    /// Refuses with this status, perhaps with `Retry-After` in seconds.
    Refuse(u16, Option<u64>),
    /// Waits, then does the other thing.
    Late(Duration, Box<Reaction>),
    /// Never answers.
    Hang,
}

type Decide = dyn Fn(&Call) -> Reaction + Send + Sync;

struct Shared {
    decide: Box<Decide>,
    seen: Mutex<Vec<Call>>,
    busiest: Mutex<(usize, usize)>,
}

/// The server; it stops when this is dropped.
pub struct FakeCalls {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl FakeCalls {
    /// Starts a server on a free loopback port.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(decide: impl Fn(&Call) -> Reaction + Send + Sync + 'static) -> std::io::Result<Self> {
        Self::listen(TcpListener::bind("127.0.0.1:0").await?, decide)
    }

    /// Starts a server on this listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn listen(
        listener: TcpListener,
        decide: impl Fn(&Call) -> Reaction + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { decide: Box::new(decide), seen: Mutex::default(), busiest: Mutex::default() });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
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

    /// Where it serves, for example `http://127.0.0.1:20123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Call> {
        lock(&self.shared.seen).clone()
    }

    /// The most calls that were under way at once.
    #[must_use]
    pub fn busiest(&self) -> usize {
        lock(&self.shared.busiest).1
    }
}

/// Embeds each text of an embeddings request as `vector` says, with the token counts of an honest server.
#[must_use]
pub fn embeddings(call: &Call, vector: impl Fn(&str) -> Vec<f32>) -> Reaction {
    let texts: Vec<&str> = call.body["input"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text)}))
        .collect();
    let tokens: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    Reaction::Json(json!({
        "object": "list", "data": data, "model": call.body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

/// A call under way; the server's busiest moment is counted with it.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: Arc<Shared>) -> Self {
        let mut busiest = lock(&shared.busiest);
        busiest.0 += 1;
        busiest.1 = busiest.1.max(busiest.0);
        drop(busiest);
        Self(shared)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0.busiest).0 -= 1;
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let _under_way = UnderWay::begin(Arc::clone(&shared));
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let call = {
        let mut seen = lock(&shared.seen);
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let call = Call { number: seen.len(), path: parts.uri.path().to_owned(), headers: parts.headers, body };
        seen.push(call.clone());
        call
    };
    let mut reaction = (shared.decide)(&call);
    while let Reaction::Late(wait, then) = reaction {
        tokio::time::sleep(wait).await;
        reaction = *then;
    }
    match reaction {
        Reaction::Json(value) => respond(StatusCode::OK, None, value.to_string()),
        Reaction::Text(text) => respond(StatusCode::OK, None, text),
        Reaction::Refuse(status, wait) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, wait, json!({"error": {"message": "no", "type": "refused"}}).to_string())
        }
        Reaction::Hang | Reaction::Late(..) => std::future::pending().await,
    }
}

fn respond(status: StatusCode, retry_after: Option<u64>, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    if let Some(wait) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    }
    response
}
