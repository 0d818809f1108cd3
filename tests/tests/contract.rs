//! The outside contract: every call that docs/api.md names is served, and every gRPC service can be reflected.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use futures::stream;
use ragstone_testkit::stack::{Form, SERVICES, Stack};
use reqwest::Method;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Method and path of every REST call on the page.
fn documented_calls() -> BTreeSet<(String, String)> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")).unwrap();
    let words = page.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| {
            let (method, rest) = word.split_once(' ')?;
            let path = rest.split(['?', ' ']).next()?;
            let known = ["GET", "PUT", "POST", "DELETE"].contains(&method) && path.starts_with("/v1/");
            known.then(|| (method.to_owned(), path.to_owned()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_call_is_served() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    let client = stack.client();
    let nowhere = client.get("/v1/nowhere").await.unwrap().expect_status(404).unwrap();
    let calls = documented_calls();
    assert!(calls.len() >= 11, "{calls:?}");
    for (method, path) in calls {
        let real = path.replace("{id}", "00000000-0000-0000-0000-000000000000");
        let request = client.http().request(Method::from_bytes(method.as_bytes()).unwrap(), client.url(&real));
        let answer = request.send().await.unwrap();
        assert_ne!(answer.status(), 405, "{method} {path}");
        let unknown = nowhere["detail"].as_str().unwrap().replace("/v1/nowhere", &real);
        let body = answer.text().await.unwrap();
        assert!(!body.contains(&unknown), "{method} {path} is not served: {body}");
    }
    stack.stop().await.unwrap();
}

/// The services a server reflects.
async fn reflected(url: String) -> BTreeSet<String> {
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let ask = ServerReflectionRequest { host: String::new(), message_request };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name).collect(),
        other => BTreeSet::from([format!("{other:?}")]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_can_be_reflected() {
    let stack = Stack::start(Form::FiveProcesses).await.unwrap();
    let names = ["EmbeddingService", "RetrievalService", "GenerationService", "IngestionService", "RagService"];
    for (service, name) in SERVICES.into_iter().zip(names) {
        let reflected = reflected(stack.service_url(service)).await;
        for name in [&format!("ragstone.v1.{name}"), "grpc.health.v1.Health"] {
            assert!(reflected.contains(name), "{service}: {reflected:?}");
        }
    }
    stack.stop().await.unwrap();
}
