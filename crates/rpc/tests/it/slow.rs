//! Clients that are slow on purpose, or do nothing, or are too many: none of them keeps anybody else from being served.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use ragstone_rpc::{Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{LONG, Running, metric, metric_reaches, start_as, until_closed};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A server of short answers at `/`, endless ones at `/endless`, and of bodies that are read at `/upload`. It says when an
/// endless answer has been given up.
async fn start(name: &'static str, server: ServerConfig) -> (Running, mpsc::UnboundedReceiver<()>) {
    let (given_up, ends) = mpsc::unbounded_channel();
    let endless = move || async move {
        let held = Held(given_up);
        let pieces = futures::stream::repeat_with(move || {
            let _held = &held;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))
        });
        Body::from_stream(pieces)
    };
    let upload = |body: Body| async {
        match axum::body::to_bytes(body, 1_000_000).await {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        }
    };
    let router = axum::Router::new()
        .route("/", get(|| async { "fine" }))
        .route("/endless", get(endless))
        .route("/upload", post(upload));
    (start_as(name, server, |runtime| Server::with_router(runtime, router)).await, ends)
}

struct Held(mpsc::UnboundedSender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

async fn send(running: &Running, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn answered(stream: &mut TcpStream) {
    let mut buffer = [0; 4_096];
    let count = timeout(LONG, stream.read(&mut buffer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]);
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("fine"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_keep_nobody_from_being_served() {
    let config = ServerConfig { header_timeout_ms: 5_000, ..ServerConfig::default() };
    let (running, _) = start("slowloris", config).await;
    let heads: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: b\r\n", b"G", b"PRI * HTTP/2.0\r\n"];
    let mut half = join_all((0..500).map(|i| send(&running, heads[i % 4]))).await;
    metric_reaches(r#"rag_connections{service="slowloris"}"#, 500.0).await;
    let asked = timeout(LONG, reqwest::get(&running.url)).await.unwrap().unwrap();
    assert_eq!(asked.text().await.unwrap(), "fine");
    join_all(half.iter_mut().map(until_closed)).await;
    assert_eq!(metric(r#"rag_slow_clients_total{service="slowloris",phase="headers"}"#), 500.0);
    running.stop().await;
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_help() {
    let config = ServerConfig { header_timeout_ms: 300, ..ServerConfig::default() };
    let (running, _) = start("trickle", config).await;
    let mut stream = send(&running, b"GET / HTTP/1.1\r\nx: ").await;
    let trickle = async {
        while stream.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, trickle).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_connection_may_wait_for_its_next_request_but_not_for_ever() {
    let config = ServerConfig { header_timeout_ms: 100, idle_timeout_seconds: 1, ..ServerConfig::default() };
    let (running, _) = start("idle", config).await;
    let mut stream = send(&running, REQUEST).await;
    answered(&mut stream).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    stream.write_all(REQUEST).await.unwrap();
    answered(&mut stream).await;
    assert_eq!(until_closed(&mut stream).await, b"");

    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(&running.url).body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    // It is told to go, with no error.
    timeout(LONG, connection).await.unwrap().unwrap().unwrap();
    assert_eq!(metric(r#"rag_slow_clients_total{service="idle",phase="headers"}"#), 0.0);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let config = ServerConfig { body_timeout_ms: 200, ..ServerConfig::default() };
    let (running, _) = start("body", config).await;
    let mut stream = send(&running, b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc").await;
    let answer = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(metric(r#"rag_slow_clients_total{service="body",phase="body"}"#), 1.0);
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_given_up() {
    let config = ServerConfig { write_timeout_ms: 500, ..ServerConfig::default() };
    let (running, mut given_up) = start("reader", config).await;
    let _stream = send(&running, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    timeout(LONG, given_up.recv()).await.unwrap().unwrap();
    metric_reaches(r#"rag_slow_clients_total{service="reader",phase="response"}"#, 1.0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_call_that_is_not_read_is_reset_and_its_connection_goes_on() {
    let config = ServerConfig { write_timeout_ms: 500, ..ServerConfig::default() };
    let (running, mut given_up) = start("stream", config).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1_000);
    let (mut client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| http::Request::get(format!("{}{path}", running.url)).body(()).unwrap();
    let (answer, _) = client.send_request(request("/endless"), true).unwrap();
    // The first thousand bytes come; no room is made for more.
    let mut body = answer.await.unwrap().into_body();
    let last = timeout(LONG, async {
        loop {
            match body.data().await.unwrap() {
                Ok(piece) => assert!(piece.len() <= 1_000),
                Err(error) => return error,
            }
        }
    });
    assert!(last.await.unwrap().is_reset());
    timeout(LONG, given_up.recv()).await.unwrap().unwrap();
    assert_eq!(metric(r#"rag_slow_clients_total{service="stream",phase="response"}"#), 1.0);
    let (answer, _) = client.send_request(request("/"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_waited_for_is_not_slow() {
    let config = ServerConfig { write_timeout_ms: 100, body_timeout_ms: 100, ..ServerConfig::default() };
    let late = || async {
        let pieces = futures::stream::unfold(0, |count| async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            (count < 3).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"piece")), count + 1))
        });
        Body::from_stream(pieces)
    };
    let router = axum::Router::new().route("/late", get(late));
    let running = start_as("late", config, |runtime| Server::with_router(runtime, router)).await;
    for client in [
        reqwest::Client::builder().http1_only().build().unwrap(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    ] {
        let answer = client.get(format!("{}/late", running.url)).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "piecepiecepiece");
    }
    running.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let config = ServerConfig { max_connections: 2, ..ServerConfig::default() };
    let (running, _) = start("cap", config).await;
    let mut first = send(&running, REQUEST).await;
    let mut second = send(&running, REQUEST).await;
    answered(&mut first).await;
    answered(&mut second).await;
    let mut third = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(until_closed(&mut third).await, b"");
    assert_eq!(metric(r#"rag_connections_refused_total{service="cap"}"#), 1.0);
    drop(first);
    let freed = async {
        while metric(r#"rag_connections{service="cap"}"#) > 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, freed).await.unwrap();
    answered(&mut send(&running, REQUEST).await).await;
    running.stop().await;
}
