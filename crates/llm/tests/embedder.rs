//! Embeddings behind an API against a server that behaves and misbehaves: right vectors in order, few calls, or an error.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ragstone_config::Secret;
use ragstone_core::ErrorCode;
use ragstone_core::ports::{EmbedKind, Embedder};
use ragstone_llm::{Encoding, HttpEmbedder, HttpEmbedderConfig};
use ragstone_resilience::Deadline;
use ragstone_testkit::fake_openai::{Call, FakeCalls, Reaction, embeddings};
use serde_json::{Value, json};

/// A text's vector says how long the text is, whatever its length becomes.
fn by_length(text: &str) -> Vec<f32> {
    vec![text.len() as f32, 100.0]
}

/// The length that a unit vector made of `by_length` tells.
fn length(vector: &[f32]) -> usize {
    (vector[0] / vector[1] * 100.0).round() as usize
}

fn well(call: &Call) -> Reaction {
    embeddings(call, by_length)
}

fn config(server: &FakeCalls) -> HttpEmbedderConfig {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpEmbedderConfig {
        id: "m".into(),
        base_url: format!("{}/v1/", server.url()),
        dimension: 2,
        max_tokens: 100,
        ..HttpEmbedderConfig::default()
    }
}

async fn serve(decide: impl Fn(&Call) -> Reaction + Send + Sync + 'static) -> (FakeCalls, HttpEmbedder) {
    with(decide, |_| {}).await
}

async fn with(
    decide: impl Fn(&Call) -> Reaction + Send + Sync + 'static,
    change: impl FnOnce(&mut HttpEmbedderConfig),
) -> (FakeCalls, HttpEmbedder) {
    let server = FakeCalls::start(decide).await.unwrap();
    let mut config = config(&server);
    change(&mut config);
    let embedder = HttpEmbedder::open(config).unwrap();
    (server, embedder)
}

fn texts(lengths: impl IntoIterator<Item = usize>) -> Vec<String> {
    lengths.into_iter().map(|length| "x".repeat(length)).collect()
}

fn lengths(call: &Call) -> Vec<usize> {
    call.body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len()).collect()
}

async fn embed(embedder: &HttpEmbedder, lengths: impl IntoIterator<Item = usize>) -> ragstone_core::Result<Vec<usize>> {
    let vectors = embedder.embed(texts(lengths), EmbedKind::Passage).await?;
    assert!(vectors.iter().all(|vector| (vector[0].hypot(vector[1]) - 1.0).abs() < 1e-6), "{vectors:?}");
    Ok(vectors.iter().map(|vector| length(vector)).collect())
}

#[tokio::test]
async fn a_call_says_what_is_configured_and_no_more() {
    let (server, embedder) = with(well, |config| {
        config.api_key = Secret::from("sk-test".to_owned());
        config.model = "name-there".into();
        (config.query_prefix, config.passage_prefix) = ("query: ".into(), "passage: ".into());
        (config.send_dimension, config.encoding) = (true, Encoding::Base64);
    })
    .await;
    embedder.embed(vec!["why?".into()], EmbedKind::Query).await.unwrap();
    embedder.embed(vec!["so".into()], EmbedKind::Passage).await.unwrap();
    let seen = server.seen();
    assert_eq!(
        (seen[0].path.as_str(), &seen[0].headers["authorization"]),
        ("/v1/embeddings", &"Bearer sk-test".parse().unwrap())
    );
    let expected =
        json!({"model": "name-there", "input": ["query: why?"], "encoding_format": "base64", "dimensions": 2});
    assert_eq!(seen[0].body, expected);
    assert_eq!(seen[1].body["input"], json!(["passage: so"]));

    let (server, embedder) = serve(well).await;
    embedder.embed(vec!["so".into()], EmbedKind::Passage).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].body, json!({"model": "m", "input": ["so"], "encoding_format": "float"}));
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn many_texts_go_in_small_calls_a_few_at_once_and_come_back_in_order() {
    // The first calls answer last.
    let slow = |call: &Call| Reaction::Late(Duration::from_millis(60 / (1 + call.number as u64)), Box::new(well(call)));
    let (server, embedder) = with(slow, |config| (config.batch_texts, config.batch_bytes) = (10, 200)).await;
    let wanted: Vec<usize> = (1..=100).map(|n| 1 + n % 40).collect();
    assert_eq!(embed(&embedder, wanted.clone()).await.unwrap(), wanted);
    let seen = server.seen();
    assert!(seen.iter().all(|call| lengths(call).len() <= 10 && lengths(call).iter().sum::<usize>() <= 200));
    assert!(seen.len() >= 10);
    assert_eq!(server.busiest(), 4);
    assert!(embed(&embedder, []).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_part_that_failed_is_sent_again() {
    // The batch with the text of 5 bytes fails twice.
    let left = AtomicUsize::new(2);
    let failing = move |call: &Call| {
        let fails = lengths(call).contains(&5) && left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Reaction::Refuse(503, None) } else { well(call) }
    };
    let (server, embedder) = with(failing, |config| (config.batch_texts, config.concurrency) = (3, 1)).await;
    assert_eq!(embed(&embedder, 1..=9).await.unwrap(), (1..=9).collect::<Vec<_>>());
    let parts: Vec<_> = server.seen().iter().map(lengths).collect();
    assert_eq!(parts, [[1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6], [7, 8, 9]]);
}

#[tokio::test]
async fn one_bad_answer_is_asked_for_again_and_three_are_an_error() {
    for bad in [
        Reaction::Refuse(429, Some(0)),
        Reaction::Refuse(500, None),
        Reaction::Text("{\"data\": [".into()),
        Reaction::Json(json!({"data": []})),
        Reaction::Json(json!({"data": [{"index": 0, "embedding": [[1.0, 2.0]]}]})),
    ] {
        let told = format!("{bad:?}");
        let once = bad.clone();
        let (server, embedder) = serve(move |call| if call.number == 0 { once.clone() } else { well(call) }).await;
        assert_eq!(embed(&embedder, [7]).await.unwrap(), [7], "{told}");
        assert_eq!(server.seen().len(), 2, "{told}");

        let (server, embedder) = serve(move |_| bad.clone()).await;
        let error = embed(&embedder, [7]).await.unwrap_err();
        assert!(error.code.is_retryable(), "{told}: {error:?}");
        assert_eq!(server.seen().len(), 3, "{told}");
    }
}

#[tokio::test]
async fn what_cannot_help_is_not_tried_again() {
    let vector = |values: Value| Reaction::Json(json!({"data": [{"index": 0, "embedding": values}]}));
    for (bad, code, says) in [
        (Reaction::Refuse(401, None), ErrorCode::Internal, "401"),
        (Reaction::Refuse(404, None), ErrorCode::Internal, "404"),
        (Reaction::Refuse(413, None), ErrorCode::InvalidArgument, "longer than the model reads"),
        (vector(json!([1.0, 2.0, 3.0])), ErrorCode::Internal, "dimension says 2"),
        (vector(json!([0.0, 0.0])), ErrorCode::Internal, "no length"),
        (vector(json!("AADAfwAAgD8=")), ErrorCode::Internal, "not finite"),
    ] {
        let (server, embedder) = serve(move |_| bad.clone()).await;
        let error = embed(&embedder, [7]).await.unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.contains(says), "{says}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{says}");
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_or_empty_is_refused_and_nothing_sent() {
    let (server, embedder) = serve(well).await;
    assert_eq!(embedder.info().max_tokens, 96);
    for bad in [[5, 97], [5, 0]] {
        let error = embed(&embedder, bad).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("text 1"), "{error}");
    }
    assert_eq!(server.seen().len(), 0);
    assert_eq!(embed(&embedder, [96]).await.unwrap(), [96]);
}

#[tokio::test]
async fn the_time_a_server_asks_for_is_kept_within_the_deadline_only() {
    let busy = |call: &Call| if call.number == 0 { Reaction::Refuse(429, Some(1)) } else { well(call) };
    let (_server, embedder) = serve(busy).await;
    let start = Instant::now();
    assert_eq!(embed(&embedder, [7]).await.unwrap(), [7]);
    assert!(start.elapsed() >= Duration::from_secs(1));

    let (server, embedder) = serve(busy).await;
    let (start, deadline) = (Instant::now(), Deadline::after(Duration::from_millis(900)));
    let error = embedder.embed_by(texts([7]), EmbedKind::Query, deadline).await.unwrap_err();
    assert_eq!((error.code, error.retry_after), (ErrorCode::RateLimited, Some(Duration::from_secs(1))));
    assert!(start.elapsed() < Duration::from_millis(500), "it waited in vain");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_slow_server_is_asked_again_and_given_up_at_the_deadline() {
    let hang_once = |call: &Call| if call.number == 0 { Reaction::Hang } else { well(call) };
    let (_server, embedder) = with(hang_once, |config| config.call_timeout_ms = 100).await;
    assert_eq!(embed(&embedder, [7]).await.unwrap(), [7]);

    let (_server, embedder) = serve(|_| Reaction::Hang).await;
    let (start, deadline) = (Instant::now(), Deadline::after(Duration::from_millis(200)));
    let error = embedder.embed_by(texts([7]), EmbedKind::Query, deadline).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn limits_keep_calls_back_and_questions_do_not_wait_for_passages() {
    let (server, embedder) = with(well, |config| config.requests_per_minute = 2).await;
    embed(&embedder, [1]).await.unwrap();
    embed(&embedder, [1]).await.unwrap();
    let deadline = Deadline::after(Duration::from_millis(500));
    let error = embedder.embed_by(texts([1]), EmbedKind::Query, deadline).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(error.retry_after.unwrap() > Duration::from_secs(20));
    assert_eq!(server.seen().len(), 2);

    let stuck = |call: &Call| if lengths(call) == [9] { Reaction::Hang } else { well(call) };
    let (_server, embedder) = with(stuck, |config| config.concurrency = 1).await;
    let passages = embedder.embed(texts([9]), EmbedKind::Passage);
    let question = embedder.embed(texts([3]), EmbedKind::Query);
    tokio::select! {
        _ = passages => unreachable!("the passages hang"),
        answer = question => assert_eq!(length(&answer.unwrap()[0]), 3),
    }
}

#[tokio::test]
async fn readiness_tells_what_is_wrong_and_recovers() {
    let (server, embedder) = serve(well).await;
    embedder.check().await.unwrap();
    embedder.check().await.unwrap();
    assert_eq!(server.seen().len(), 1, "a good answer counts for a while");

    let (_server, wrong) = with(well, |config| config.dimension = 3).await;
    let error = wrong.check().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("'m'") && error.message.contains("dimension says 3"), "{error}");

    let (_server, busy) = serve(|_| Reaction::Refuse(429, Some(9))).await;
    busy.check().await.unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_, gone) = with(well, |config| config.base_url = format!("http://{address}/v1")).await;
    assert_eq!(gone.check().await.unwrap_err().code, ErrorCode::Unavailable);
    let back = FakeCalls::listen(tokio::net::TcpListener::bind(address).await.unwrap(), well).unwrap();
    assert_eq!(embed(&gone, [4]).await.unwrap(), [4]);
    gone.check().await.unwrap();
    assert_eq!(back.seen().len(), 1);
}

#[tokio::test]
async fn a_revision_changes_with_what_changes_vectors() {
    let server = FakeCalls::start(well).await.unwrap();
    let revision = |change: &dyn Fn(&mut HttpEmbedderConfig)| {
        let mut config = config(&server);
        change(&mut config);
        HttpEmbedder::open(config).unwrap().info().revision.clone()
    };
    let plain = revision(&|_| {});
    assert_eq!(plain, revision(&|config| (config.concurrency, config.batch_texts) = (9, 9)));
    for change in [
        |config: &mut HttpEmbedderConfig| config.model = "other".into(),
        |config: &mut HttpEmbedderConfig| config.dimension = 3,
        |config: &mut HttpEmbedderConfig| config.query_prefix = "q: ".into(),
        |config: &mut HttpEmbedderConfig| config.base_url = "http://elsewhere/v1".into(),
    ] {
        assert_ne!(plain, revision(&change));
    }
    assert_eq!(revision(&|config| config.revision = "v7".into()), "v7");
}
