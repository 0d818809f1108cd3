//! A stack that wants credentials, and those who have some.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ragstone_auth::{DevelopmentToken, JwtConfig};
use ragstone_core::{Scope, TenantId};
use ragstone_proto::v1::rag_service_client::RagServiceClient;
use ragstone_testkit::client::{Answer, Client};
use ragstone_testkit::stack::{Form, SECRET, Stack};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// Every scope there is.
pub(crate) const ALL: [Scope; 3] = [Scope::Query, Scope::Ingest, Scope::Admin];

/// Tells also where the test runner keeps the output of tests that pass to itself.
pub(crate) fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// A file of the evaluation data, parsed; `None`, and a word about it, where it is not on this machine.
pub(crate) fn evaluation_data<T: DeserializeOwned>(what: &str, file: &str) -> Option<T> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let file = std::env::var_os("RAGSTONE_EVAL_DATA").map_or_else(beside, PathBuf::from).join(file);
    let Ok(text) = std::fs::read_to_string(&file) else {
        say(&format!("{what}: NOT RUN, {} is not there (RAGSTONE_EVAL_DATA)", file.display()));
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// One process that wants credentials, with these settings besides.
pub(crate) async fn stack(settings: &[(&str, &str)]) -> Stack {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.require_authentication();
    for (key, value) in settings {
        stack.env(&format!("RAGSTONE__{key}"), value);
    }
    stack.run().await.unwrap();
    stack
}

/// A token of somebody.
pub(crate) fn token(tenant: &str, subject: &str, scopes: &[Scope], groups: &[&str]) -> String {
    let config = JwtConfig { hs256_secret: SECRET.into(), ..JwtConfig::default() };
    let token = DevelopmentToken {
        subject: subject.to_owned(),
        tenant: TenantId::new(tenant).unwrap(),
        scopes: BTreeSet::from_iter(scopes.iter().copied()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ttl: Duration::from_secs(3600),
    };
    token.sign(&config).unwrap().expose().to_owned()
}

/// Somebody's client.
pub(crate) fn client(stack: &Stack, token: &str) -> Client {
    stack.client().with_token(token).unwrap()
}

/// A document as JSON, brought in and searchable.
pub(crate) async fn ingest(client: &Client, id: &str, document: Value) -> Value {
    client.ingest(id, "application/json", document.to_string()).await.unwrap()
}

/// The ids that a search finds.
pub(crate) async fn found(client: &Client, search: &Value) -> BTreeSet<String> {
    let answer = client.post("/v1/search", search).await.unwrap().expect_status(200).unwrap();
    let ids = answer["hits"].as_array().unwrap().iter().map(|hit| hit["document_id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Makes an API key.
pub(crate) async fn api_key(admin: &Client, wanted: &Value) -> Value {
    admin.post("/v1/admin/keys", wanted).await.unwrap().expect_status(201).unwrap()
}

/// One segment of a path.
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

/// A call of the Model Context Protocol.
pub(crate) async fn mcp(client: &Client, method: &str, params: Value) -> Answer {
    let request = client
        .http()
        .post(client.url("/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
    client.send(request).await.unwrap()
}

/// Headers that go with every call.
#[derive(Clone)]
pub(crate) struct With(pub(crate) HeaderMap);

impl Interceptor for With {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let mut headers = self.0.clone();
        headers.extend(request.metadata().clone().into_headers());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        Ok(request)
    }
}

/// A gRPC client.
pub(crate) type Grpc = RagServiceClient<InterceptedService<Channel, With>>;

/// A connection that clients can share.
pub(crate) async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

/// Somebody's gRPC client.
pub(crate) fn grpc(channel: &Channel, token: &str) -> Grpc {
    let credential = format!("Bearer {token}").parse().unwrap();
    with_headers(channel, HeaderMap::from_iter([(http::header::AUTHORIZATION, credential)]))
}

/// A gRPC client with these headers.
pub(crate) fn with_headers(channel: &Channel, headers: HeaderMap) -> Grpc {
    RagServiceClient::with_interceptor(channel.clone(), With(headers))
}
