//! A real server on loopback: health follows readiness, panics are contained, stopping drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::routing::get;
use ragstone_rpc::{ServerConfig, connect};
use tokio::sync::{Notify, oneshot};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{LONG, start};

async fn serving(url: &str, wanted: ServingStatus) {
    let mut client = HealthClient::new(connect(url).unwrap());
    let mut updates = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let until = async { while updates.message().await.unwrap().unwrap().status() != wanted {} };
    tokio::time::timeout(Duration::from_secs(5), until).await.unwrap();
}

#[tokio::test]
async fn health_follows_the_critical_dependency() {
    let running = start(axum::Router::new(), ServerConfig::default()).await;
    let up = Arc::new(AtomicBool::new(true));
    let state = up.clone();
    running.health.register("store", true, move || {
        let up = state.load(Ordering::SeqCst);
        async move { if up { Ok(()) } else { Err("gone".to_owned()) } }
    });
    serving(&running.url, ServingStatus::Serving).await;
    up.store(false, Ordering::SeqCst);
    serving(&running.url, ServingStatus::NotServing).await;
    up.store(true, Ordering::SeqCst);
    serving(&running.url, ServingStatus::Serving).await;
    running.shutdown.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panicking_handler_answers_500_and_the_server_goes_on() {
    let router = axum::Router::new()
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/fine", get(|| async { "fine" }));
    let running = start(router, ServerConfig::default()).await;
    let client = reqwest::Client::new();
    assert_eq!(client.get(format!("{}/panic", running.url)).send().await.unwrap().status(), 500);
    assert_eq!(client.get(format!("{}/fine", running.url)).send().await.unwrap().text().await.unwrap(), "fine");
    running.shutdown.cancel();
    running.task.await.unwrap().unwrap();
}

/// A route that says when it was entered and answers when it is told to.
fn slow_route() -> (axum::Router, Arc<Notify>, oneshot::Receiver<()>) {
    let release = Arc::new(Notify::new());
    let (entered, has_entered) = oneshot::channel();
    let entered = Arc::new(std::sync::Mutex::new(Some(entered)));
    let gate = release.clone();
    let handler = move || async move {
        if let Some(entered) = entered.lock().unwrap().take() {
            entered.send(()).unwrap();
        }
        gate.notified().await;
        "finished"
    };
    (axum::Router::new().route("/slow", get(handler)), release, has_entered)
}

#[tokio::test]
async fn stopping_lets_requests_under_way_finish() {
    for client in [reqwest::Client::builder(), reqwest::Client::builder().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        let (router, release, entered) = slow_route();
        let running = start(router, ServerConfig::default()).await;
        let request = tokio::spawn(client.get(format!("{}/slow", running.url)).send());
        entered.await.unwrap();
        running.shutdown.cancel();
        // New connections are refused once the listener is gone; the old one is still being served.
        while reqwest::Client::new().get(format!("{}/none", running.url)).send().await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!running.health.report().await.ready);
        release.notify_one();
        assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "finished");
        // Long before the drain time is over: a client that keeps its connection does not hold up the end.
        tokio::time::timeout(LONG, running.task).await.unwrap().unwrap().unwrap();
        drop(client);
    }
}

#[tokio::test]
async fn an_old_connection_ends_once_its_calls_have() {
    let (router, release, entered) = slow_route();
    let config = ServerConfig { max_connection_age_seconds: 1, ..ServerConfig::default() };
    let running = start(router, config).await;
    let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let (mut client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let request = http::Request::get(format!("{}/slow", running.url)).body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    tokio::select! {
        entered = entered => entered.unwrap(),
        ended = &mut connection => panic!("{ended:?}"),
    }
    // It goes on past its age, for the call's sake.
    assert!(tokio::time::timeout(Duration::from_millis(1_500), &mut connection).await.is_err());
    assert!(client.ready().await.is_err(), "no further call is taken");
    release.notify_one();
    let ended = tokio::time::timeout(LONG, connection);
    let (ended, answer) = tokio::join!(ended, answer);
    ended.unwrap().unwrap();
    assert_eq!(answer.unwrap().status(), 200);
    running.stop().await;
}

#[tokio::test]
async fn the_drain_is_bounded() {
    let (router, _release, entered) = slow_route();
    let server = ServerConfig { drain_timeout_ms: 50, ..ServerConfig::default() };
    let running = start(router, server).await;
    let request = tokio::spawn(reqwest::get(format!("{}/slow", running.url)));
    entered.await.unwrap();
    running.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap().unwrap();
    request.abort();
}
