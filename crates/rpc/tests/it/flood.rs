//! HTTP/2 spoken as no library would: calls taken back in masses, headers without an end, headers too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use ragstone_rpc::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{LONG, Running, start, until_closed};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET http://x/` in HPACK's static table.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `count` calls, each taken back at once with the reason "cancel".
fn taken_back(count: u32) -> Vec<u8> {
    let one = |call: u32| {
        let stream = call * 2 + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, GET), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
    };
    (0..count).flat_map(one).flatten().collect()
}

async fn greeted(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// The reasons of all GOAWAY frames in what the server sent.
fn farewells(mut sent: &[u8]) -> Vec<u32> {
    let mut reasons = Vec::new();
    while let Some((head, rest)) = sent.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if head[3] == GOAWAY {
            reasons.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        sent = rest;
    }
    reasons
}

/// A server that counts the requests which have reached it.
async fn counting() -> (Running, Arc<AtomicUsize>) {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let handler = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        "fine"
    };
    (start(axum::Router::new().route("/", get(handler)), ServerConfig::default()).await, reached)
}

async fn still_serves(running: &Running) {
    let asked = tokio::time::timeout(LONG, reqwest::get(&running.url)).await.unwrap();
    assert_eq!(asked.unwrap().text().await.unwrap(), "fine");
}

#[tokio::test]
async fn a_client_that_takes_calls_back_is_sent_away() {
    let (running, _) = counting().await;
    let mut stream = greeted(&running).await;
    stream.write_all(&taken_back(200)).await.unwrap();
    let reasons = farewells(&until_closed(&mut stream).await);
    assert!(reasons.contains(&ENHANCE_YOUR_CALM), "{reasons:?}");
    still_serves(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_taken_back_does_no_work() {
    let (running, reached) = counting().await;
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let address = running.address;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                // It is cut off in the middle of it.
                let cut_off = stream.write_all(&taken_back(10_000)).await;
                until_closed(&mut stream).await;
                cut_off
            })
        })
        .collect();
    still_serves(&running).await;
    for flood in floods {
        let _ = flood.await.unwrap();
    }
    let reached = reached.load(Ordering::SeqCst);
    assert!(reached < 1_000, "{reached} of 40,000 calls were worked on");
    still_serves(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
    let (running, _) = counting().await;
    let mut stream = greeted(&running).await;
    // One header whose value never ends: a literal of 2^28 bytes.
    let begun = [GET, &[0x00, 1, b'h', 0x7f, 0x81, 0xff, 0xff, 0x7f]].concat();
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &begun)).await.unwrap();
    let piece = frame(CONTINUATION, 0, 1, &vec![b'v'; 16_384]);
    let mut taken = 0;
    let flood = async {
        while taken < 64 * 1024 * 1024 && stream.write_all(&piece).await.is_ok() {
            taken += piece.len();
        }
    };
    tokio::time::timeout(LONG, flood).await.unwrap();
    assert!(taken < 32 * 1024 * 1024, "the server took {taken} bytes of headers");
    until_closed(&mut stream).await;
    still_serves(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_empty_continuations_is_cut_off() {
    let (running, _) = counting().await;
    let mut stream = greeted(&running).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    let reasons = async {
        let mut sent = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            tokio::select! {
                read = stream.readable() => {
                    read.unwrap();
                    match stream.read(&mut buffer).await {
                        Ok(count @ 1..) => sent.extend_from_slice(&buffer[..count]),
                        _ => return farewells(&sent),
                    }
                }
                () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {
                    let _ = stream.write_all(&frame(CONTINUATION, 0, 1, &[])).await;
                }
            }
        }
    };
    let reasons = tokio::time::timeout(LONG, reasons).await.unwrap();
    assert!(reasons.contains(&ENHANCE_YOUR_CALM), "{reasons:?}");
    running.stop().await;
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_answered_with_431() {
    let (running, reached) = counting().await;
    for client in [
        reqwest::Client::builder().http1_only().build().unwrap(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    ] {
        let large = client.get(&running.url).header("large", "v".repeat(40_000)).send().await.unwrap();
        assert_eq!(large.status(), 431, "{:?}", large.version());
        let within = client.get(&running.url).header("large", "v".repeat(20_000)).send().await.unwrap();
        assert_eq!(within.status(), 200);
    }
    let many =
        (0..200).fold(reqwest::Client::new().get(&running.url), |request, i| request.header(format!("h{i}"), "v"));
    assert_eq!(many.send().await.unwrap().status(), 431);
    assert_eq!(reached.load(Ordering::SeqCst), 2);
    running.stop().await;
}
