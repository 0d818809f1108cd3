//! Slow and hostile clients of the real program: others are served meanwhile, and they are sent away.

use std::time::{Duration, Instant};

use ragstone_testkit::client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{ALL, client, say, stack, token};

/// Hostile connections at once, and calls that one takes back.
const CONNECTIONS: usize = 200;
const RESETS: usize = 50_000;
/// Calls that are sent in one go.
const SALVO: usize = 64;
/// How long one ordinary request may take meanwhile, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

async fn is_served(client: &Client) {
    let begun = Instant::now();
    client.get("/v1/documents").await.unwrap().expect_status(200).unwrap();
    assert!(begun.elapsed() < PATIENCE, "an ordinary request took {:?}", begun.elapsed());
}

/// Whether the server ends a connection on which only this is ever said.
async fn is_closed(address: &str, said: &str) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    // An error is an end as well: the server may reset.
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_sent_away_and_others_served() {
    let short = [
        ("SERVER__HEADER_TIMEOUT_MS", "1000"),
        ("SERVER__BODY_TIMEOUT_MS", "1000"),
        ("SERVER__IDLE_TIMEOUT_SECONDS", "2"),
    ];
    let stack = stack(&short).await;
    let token = token("acme", "ada", &ALL, &[]);
    let ada = client(&stack, &token);
    let address = stack.url().replace("http://", "");
    let head = format!("GET /v1/documents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx-slow: ");
    let body = format!(
        "PUT /v1/documents/s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nslow"
    );
    let hostile: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (address, said) = (address.clone(), [head.as_str(), &body, "", "G"][n % 4].to_owned());
            tokio::spawn(async move { is_closed(&address, &said).await })
        })
        .collect();
    for _ in 0..20 {
        is_served(&ada).await;
    }
    let closed =
        futures::future::join_all(hostile).await.into_iter().filter(|closed| *closed.as_ref().unwrap()).count();
    assert_eq!(closed, CONNECTIONS);
    ada.get("/v1/documents/s").await.unwrap().expect_status(404).unwrap();
    is_served(&ada).await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_taken_back_in_masses_end_the_connection_and_no_other() {
    let stack = stack(&[]).await;
    let token = token("acme", "ada", &ALL, &[]);
    let ada = client(&stack, &token);
    let stream = TcpStream::connect(stack.url().replace("http://", "")).await.unwrap();
    let (mut hostile, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let url = format!("{}/v1/documents", stack.url());
    let attack = async {
        for sent in 0..RESETS {
            let Ok(mut ready) = hostile.ready().await else { return sent };
            // Each begins a call between the services too, on a connection that all callers share.
            let request = http::Request::get(&url).header("authorization", format!("Bearer {token}"));
            let request = request.body(()).unwrap();
            let Ok((_, mut call)) = ready.send_request(request, true) else { return sent };
            call.send_reset(h2::Reason::CANCEL);
            hostile = ready;
            if sent % SALVO == 0 {
                tokio::task::yield_now().await;
            }
        }
        RESETS
    };
    let others = async {
        for _ in 0..20 {
            is_served(&ada).await;
        }
    };
    let (sent, ()) = tokio::join!(attack, others);
    assert!(sent < RESETS, "all {sent} calls were taken");
    say(&format!("rapid reset: the connection ended within {sent} calls"));
    let ended = tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap();
    assert!(ended.is_err(), "{ended:?}");
    is_served(&ada).await;
    stack.stop().await.unwrap();
}
