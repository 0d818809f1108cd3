//! The outside contract: what is served, the OpenAPI document, docs/api.md and the protos name the same calls and the same
//! fields, and every gRPC service can be reflected.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures::stream;
use ragstone_testkit::stack::{Form, SERVICES, Stack};
use reqwest::Method;
use serde_json::Value;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Names of things, in order.
type Names = BTreeSet<String>;

fn names<'a>(words: impl IntoIterator<Item = &'a str>) -> Names {
    words.into_iter().map(str::to_owned).collect()
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap()
}

/// Method and path of every REST call in docs/api.md.
fn calls_of_the_page() -> BTreeSet<(String, String)> {
    let page = read("docs/api.md");
    let words = page.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| {
            let (method, rest) = word.split_once(' ')?;
            let path = rest.split(['?', ' ']).next()?;
            let known = ["GET", "PUT", "POST", "DELETE"].contains(&method);
            let is_api = path.starts_with("/v1/") || path == "/mcp";
            (known && is_api).then(|| (method.to_owned(), path.to_owned()))
        })
        .collect()
}

/// Method and path of every operation in the OpenAPI document.
fn calls_of(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let calls = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    calls.collect()
}

fn document() -> Value {
    serde_json::from_str(&ragstone_gateway::openapi_document().unwrap()).unwrap()
}

#[test]
fn the_page_and_the_openapi_document_name_the_same_calls() {
    let (page, document) = (calls_of_the_page(), calls_of(&document()));
    assert!(document.len() > 30, "{document:?}");
    let missing: Vec<_> = document.symmetric_difference(&page).collect();
    assert!(missing.is_empty(), "only in one of docs/api.md and docs/openapi.json: {missing:?}");
}

/// The OpenAPI document is made from the routes that are added with `routes!`. Others are pages and files, and the Model
/// Context Protocol, whose library brings its own service.
#[test]
fn no_route_goes_around_the_openapi_document() {
    let mut around = Vec::new();
    let mut folders = vec![file("services/gateway/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                if code.contains(".route(") || code.contains(".route_service(") {
                    around.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
    }
    around.sort();
    assert_eq!(around, ["mcp.rs", "playground.rs", "reference.rs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_call_is_served_and_no_other_method() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    let client = stack.client();
    let served = client.get("/openapi.json").await.unwrap().expect_status(200).unwrap();
    assert_eq!(served, document());
    let nowhere = client.get("/v1/nowhere").await.unwrap().expect_status(404).unwrap();
    let calls = calls_of(&served);
    for (method, path) in &calls {
        let real = path.replace("{id}", "00000000-0000-0000-0000-000000000000");
        let request = client.http().request(Method::from_bytes(method.as_bytes()).unwrap(), client.url(&real));
        let answer = request.send().await.unwrap();
        assert_ne!(answer.status(), 405, "{method} {path}");
        let unknown = nowhere["detail"].as_str().unwrap().replace("/v1/nowhere", &real);
        let body = answer.text().await.unwrap();
        assert!(!body.contains(&unknown), "{method} {path} is not served: {body}");
        for other in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            if !calls.contains(&(other.to_owned(), path.clone())) {
                let request = client.http().request(Method::from_bytes(other.as_bytes()).unwrap(), client.url(&real));
                assert_eq!(request.send().await.unwrap().status(), 405, "{other} {path}");
            }
        }
    }
    stack.stop().await.unwrap();
}

/// The block of a proto file that begins with `head`, without comments.
fn block(proto: &str, head: &str) -> String {
    let text = read(proto);
    let start = text.find(&format!("\n{head} {{")).unwrap_or_else(|| unreachable!("{proto} has {head}"));
    let lines = text[start + 1..].lines().skip(1).take_while(|line| *line != "}");
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_call_of_grpc_is_there_in_rest() {
    let service = block("proto/ragstone/v1/gateway.proto", "service RagService");
    let calls: Vec<_> =
        service.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next()).collect();
    assert_eq!(calls.len(), 10, "{calls:?}");
    let document = document();
    let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let operations = names(items.map(|operation| operation["operationId"].as_str().unwrap()));
    for call in calls {
        // Streamed or not is a field in REST.
        let name = call.strip_suffix("Stream").unwrap_or(call);
        let words = name.char_indices().map(|(at, letter)| match letter {
            'A'..='Z' if at > 0 => format!("_{}", letter.to_ascii_lowercase()),
            _ => letter.to_ascii_lowercase().to_string(),
        });
        let operation = words.collect::<String>();
        assert!(operations.contains(&operation), "{call}: no operation '{operation}' in {operations:?}");
    }
}

#[test]
fn messages_have_the_same_fields_in_grpc_and_rest() {
    const GATEWAY: &str = "proto/ragstone/v1/gateway.proto";
    const COMMON: &str = "proto/ragstone/v1/common.proto";
    let document = document();
    // What one side has alone: streams are calls of their own in gRPC; positions and inner scores are not shown in REST;
    // a type of media is called by its HTTP name there.
    for (proto, message, schema, grpc_alone, rest_alone) in [
        (GATEWAY, "QueryRequest", "QueryInput", &[][..], &["stream", "cache"][..]),
        (GATEWAY, "SearchRequest", "SearchInput", &[], &[]),
        (GATEWAY, "QueryResponse", "Answer", &["timings"], &["timings_ms"]),
        (GATEWAY, "SearchResponse", "SearchAnswer", &["timings"], &["timings_ms"]),
        (GATEWAY, "Citation", "Citation", &[], &[]),
        (GATEWAY, "Timings", "Timings", &[], &[]),
        (GATEWAY, "FeedbackRequest", "FeedbackInput", &[], &[]),
        (COMMON, "Usage", "Usage", &[], &[]),
        (COMMON, "Filter", "Filter", &[], &[]),
        (COMMON, "Hit", "Hit", &["start", "end", "similarity"], &[]),
        (COMMON, "Document", "Document", &["media_type"], &["content_type"]),
        (COMMON, "DocumentVersion", "Version", &[], &[]),
        (COMMON, "Job", "Job", &[], &[]),
    ] {
        let block = block(proto, &format!("message {message}"));
        let mut grpc = names(block.lines().filter_map(|line| line.split(" = ").next()?.split_whitespace().last()));
        let properties = document["components"]["schemas"][schema]["properties"].as_object();
        let mut rest = names(properties.unwrap().keys().map(String::as_str));
        for field in grpc_alone {
            assert!(grpc.remove(*field), "{message}.{field}");
        }
        for field in rest_alone {
            assert!(rest.remove(*field), "{schema}.{field}");
        }
        assert_eq!(grpc, rest, "{message} and {schema}");
    }
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
