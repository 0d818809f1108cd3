//! A gateway and its backends, started for one test.

use std::sync::{Arc, OnceLock};

use ragstone_gateway::Config;
use ragstone_proto::v1::embedding_service_server::EmbeddingServiceServer;
use ragstone_proto::v1::generation_service_server::GenerationServiceServer;
use ragstone_proto::v1::index_service_server::IndexServiceServer;
use ragstone_proto::v1::ingestion_service_server::IngestionServiceServer;
use ragstone_proto::v1::rag_service_client::RagServiceClient;
use ragstone_proto::v1::retrieval_service_server::RetrievalServiceServer;
use ragstone_rpc::{Health, Runtime, Server, ServerConfig, connect};
use ragstone_telemetry::{Telemetry, TelemetryConfig};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use crate::backends::{self, Backends};
use crate::ingestion::{self, Catalog};

/// Dropping it stops everything.
pub(crate) struct Stack {
    pub(crate) url: String,
    pub(crate) backends: Arc<Backends>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) health: Health,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<anyhow::Result<()>>,
    pub(crate) http: reqwest::Client,
    _stop: DropGuard,
}

/// Telemetry can be set up once in a process.
pub(crate) fn telemetry() -> &'static Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let config = TelemetryConfig { log_level: "off".to_owned(), ..TelemetryConfig::default() };
        ragstone_telemetry::init("gateway", &config, &|_| None).unwrap()
    })
}

async fn runtime(name: &'static str, shutdown: &CancellationToken) -> (String, Health, Runtime) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let health = Health::default();
    let server = ServerConfig { drain_timeout_ms: 1_000, ..ServerConfig::default() };
    let runtime = Runtime { name, listener, shutdown: shutdown.clone(), health: health.clone(), server };
    (url, health, runtime)
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A stack whose gateway is configured by `adjust`.
    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        telemetry();
        let stop = CancellationToken::new();
        let (backend_url, _, runtime_of_backends) = runtime("backends", &stop).await;
        let (backends, catalog) = (Arc::new(Backends::default()), Arc::new(Catalog::default()));
        let shared = backends::Shared(Arc::clone(&backends));
        let server = Server::new(runtime_of_backends)
            .add_service(EmbeddingServiceServer::new(shared.clone()))
            .add_service(RetrievalServiceServer::new(shared.clone()))
            .add_service(IndexServiceServer::new(shared.clone()))
            .add_service(GenerationServiceServer::new(shared))
            .add_service(IngestionServiceServer::new(ingestion::Shared(Arc::clone(&catalog))));
        tokio::spawn(server.serve());

        let shutdown = stop.child_token();
        let (url, health, runtime) = runtime("gateway", &shutdown).await;
        let mut config = Config {
            embedding_url: backend_url.clone(),
            retrieval_url: backend_url.clone(),
            generation_url: backend_url.clone(),
            ingestion_url: backend_url,
            ..Config::default()
        };
        adjust(&mut config);
        let serving = tokio::spawn(ragstone_gateway::serve(config, runtime));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, backends, catalog, health, shutdown, serving, http, _stop: stop.drop_guard() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// Stores a document from a raw body.
    pub(crate) async fn put(&self, id: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::PUT, &format!("/v1/documents/{id}"));
        request.header("content-type", media_type).body(body).send().await.unwrap()
    }

    pub(crate) fn grpc(&self) -> RagServiceClient<Channel> {
        RagServiceClient::new(connect(&self.url).unwrap())
    }
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The JSON of a response that must have `status`.
pub(crate) async fn json(response: Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem of a refusal: a complete one, with the headers every answer has.
pub(crate) async fn problem(response: Response, status: u16, code: &str) -> Value {
    let headers = response.headers().clone();
    let problem = json(response, status).await;
    assert_eq!(headers["content-type"], "application/problem+json", "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["type"], format!("urn:ragstone:problem:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    let trace = problem["trace_id"].as_str().unwrap();
    assert!(headers["traceparent"].to_str().unwrap().contains(trace), "{problem}");
    assert!(headers.contains_key("x-request-id"));
    assert_eq!(headers.contains_key("retry-after"), matches!(status, 429 | 503), "{problem}");
    problem
}

/// The events of a Server-Sent-Events body: name and data.
pub(crate) fn events(body: &str) -> Vec<(String, Value)> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    body.split("\n\n")
        .filter_map(|block| Some((field(block, "event")?, serde_json::from_str(&field(block, "data")?).unwrap())))
        .collect()
}
