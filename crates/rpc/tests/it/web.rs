//! What browsers and proxies see: gRPC-Web, CORS, guarded reflection, addresses, deadlines.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use ragstone_rpc::{Server, ServerConfig, connect};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::{LONG, Running, start_as};

const PAGE: &str = "https://app.example.org";

async fn start() -> Running {
    let address = |ConnectInfo(address): ConnectInfo<SocketAddr>| async move { address.ip().to_string() };
    let router =
        axum::Router::new().route("/address", get(address)).route("/never", any(std::future::pending::<String>));
    let build = |runtime| {
        let guard = from_fn(async |request: Request, next: Next| -> Response {
            match request.headers().contains_key("authorization") {
                true => next.run(request).await,
                false => Status::unauthenticated("who is that?").into_http::<axum::body::Body>().into_response(),
            }
        });
        Server::with_router(runtime, router).guard(guard).grpc_web().cors(&[PAGE.to_owned()])
    };
    start_as("web", ServerConfig::default(), build).await
}

#[tokio::test]
async fn grpc_web_works_over_both_versions_of_http() {
    let running = start().await;
    for client in [
        reqwest::Client::builder().http1_only().build().unwrap(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    ] {
        let answer = client
            .post(format!("{}/grpc.health.v1.Health/Check", running.url))
            .header("content-type", "application/grpc-web+proto")
            .header("origin", PAGE)
            .body(vec![0; 5])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], PAGE);
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
        assert!(exposed.contains("grpc-status"), "{exposed}");
        let body = answer.bytes().await.unwrap();
        // A message of two bytes, "serving", and the trailers as a frame of their own.
        assert_eq!(body[..7], [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(body[7], 0x80);
        let trailers = String::from_utf8_lossy(&body[12..]).to_lowercase();
        assert!(trailers.contains("grpc-status:0"), "{trailers}");
    }
    running.stop().await;
}

#[tokio::test]
async fn only_named_pages_may_call() {
    let running = start().await;
    for (path, origin, allowed) in [
        ("/address", PAGE, true),
        ("/grpc.health.v1.Health/Check", PAGE, true),
        ("/address", "https://evil.example.org", false),
        ("/grpc.health.v1.Health/Check", "https://evil.example.org", false),
    ] {
        let answer = reqwest::Client::new()
            .request(http::Method::OPTIONS, format!("{}{path}", running.url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-grpc-web")
            .send()
            .await
            .unwrap();
        let origin = answer.headers().get("access-control-allow-origin");
        assert_eq!(origin.is_some(), allowed, "{path} {origin:?}");
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        if allowed {
            assert_eq!(answer.headers()["access-control-allow-headers"], "authorization,x-grpc-web");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn without_settings_no_page_and_no_grpc_web() {
    let running = start_as("web-off", ServerConfig::default(), Server::new).await;
    let answer = reqwest::Client::new()
        .post(format!("{}/grpc.health.v1.Health/Check", running.url))
        .header("content-type", "application/grpc-web+proto")
        .header("origin", PAGE)
        .body(vec![0; 5])
        .send()
        .await
        .unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    assert!(!answer.bytes().await.unwrap().contains(&0x80), "no trailers in the body");
    assert!(Server::check_origins(&["app.example.org".to_owned()]).is_err());
    running.stop().await;
}

#[tokio::test]
async fn reflection_is_guarded_and_health_is_not() {
    let running = start().await;
    let channel = connect(&running.url).unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tonic::Request::new(tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request }))
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let refused = reflection.server_reflection_info(ask()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut known = ask();
    known.metadata_mut().insert("authorization", "x".parse().unwrap());
    let mut answers = reflection.server_reflection_info(known).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().message_response.is_some());
    running.stop().await;
}

#[tokio::test]
async fn handlers_know_the_peers_address_and_end_at_the_callers_deadline() {
    let running = start().await;
    assert_eq!(reqwest::get(format!("{}/address", running.url)).await.unwrap().text().await.unwrap(), "127.0.0.1");
    let late = reqwest::Client::builder()
        .timeout(LONG)
        .build()
        .unwrap()
        .post(format!("{}/never", running.url))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m")
        .send()
        .await
        .unwrap();
    assert_eq!(late.headers()["grpc-status"], "4");
    running.stop().await;
}
