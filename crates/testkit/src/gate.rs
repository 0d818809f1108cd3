//! A gRPC proxy between two services that can hold a call before or after it is carried out, so that a test can
//! kill a service at a known point.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tower::{Service as _, ServiceExt as _};

/// Where a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The service behind has not seen it.
    Before,
    /// The service behind has carried it out; its answer is held.
    After,
}

/// A running gate. Everything passes until something is held.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Channel,
    armed: watch::Sender<Option<(&'static str, When)>>,
    held: watch::Sender<usize>,
}

impl Gate {
    /// Starts a gate before `upstream` (`http://host:port`), on `port` of loopback.
    ///
    /// # Errors
    /// When the port is taken or the URL is none.
    pub async fn start(port: u16, upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let upstream = Endpoint::from_shared(upstream.to_owned())?.connect_lazy();
        let shared = Arc::new(Shared { upstream, armed: watch::Sender::new(None), held: watch::Sender::new(0) });
        let router = axum::Router::new().fallback(forward).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("gate: {error}");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where callers reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on calls of `method` (its bare name) are held.
    pub fn hold(&self, method: &'static str, when: When) {
        self.shared.held.send_replace(0);
        self.shared.armed.send_replace(Some((method, when)));
    }

    /// Returns once a call is being held.
    ///
    /// # Errors
    /// Never, while the gate lives.
    pub async fn holding(&self) -> Result<()> {
        self.shared.held.subscribe().wait_for(|count| *count > 0).await?;
        Ok(())
    }

    /// Lets everything pass again, held calls too.
    pub fn open(&self) {
        self.shared.armed.send_replace(None);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    shared.pass(&method, When::Before).await;
    let response = shared.call(request).await;
    shared.pass(&method, When::After).await;
    response.unwrap_or_else(|error| tonic::Status::unavailable(format!("gate: {error:#}")).into_http())
}

impl Shared {
    async fn call(&self, request: Request) -> Result<Response> {
        let mut upstream = self.upstream.clone();
        let response = upstream.ready().await?.call(request.map(tonic::body::Body::new)).await?;
        Ok(response.map(Body::new))
    }

    /// Waits for as long as `method` is held at this point.
    async fn pass(&self, method: &str, when: When) {
        let mut armed = self.armed.subscribe();
        let is_held = |state: &Option<(&'static str, When)>| state.is_some_and(|(m, w)| m == method && w == when);
        if is_held(&armed.borrow_and_update()) {
            self.held.send_modify(|count| *count += 1);
            // Ends with the gate at the latest: the sender lives in self.
            let _ = armed.wait_for(|state| !is_held(state)).await;
        }
    }
}
