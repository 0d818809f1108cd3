//! Reranking behind an API against a server that behaves and misbehaves.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use ragstone_config::Secret;
use ragstone_core::ErrorCode;
use ragstone_core::ports::Reranker;
use ragstone_llm::{HttpReranker, HttpRerankerConfig, RerankApi};
use ragstone_resilience::Deadline;
use ragstone_testkit::fake_openai::{Call, FakeCalls, Reaction};
use serde_json::{Value, json};

/// Scores passages by their length, the best first, as servers do.
fn scores(passages: &Value, score: &str) -> Value {
    let lengths = passages.as_array().unwrap().iter().map(|passage| passage.as_str().unwrap().len());
    let mut items: Vec<_> = lengths.enumerate().collect();
    items.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
    items.into_iter().map(|(index, length)| json!({"index": index, score: length as f32 / 100.0})).collect()
}

fn tei(call: &Call) -> Reaction {
    Reaction::Json(scores(&call.body["texts"], "score"))
}

fn cohere(call: &Call) -> Reaction {
    Reaction::Json(json!({"results": scores(&call.body["documents"], "relevance_score")}))
}

async fn serve(
    decide: impl Fn(&Call) -> Reaction + Send + Sync + 'static,
    change: impl FnOnce(&mut HttpRerankerConfig),
) -> (FakeCalls, HttpReranker) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = FakeCalls::start(decide).await.unwrap();
    let mut config = HttpRerankerConfig { base_url: server.url(), ..HttpRerankerConfig::default() };
    change(&mut config);
    let reranker = HttpReranker::open(config).unwrap();
    (server, reranker)
}

fn passages(lengths: impl IntoIterator<Item = usize>) -> Vec<String> {
    lengths.into_iter().map(|length| "x".repeat(length)).collect()
}

#[tokio::test]
async fn both_apis_are_spoken() {
    let (server, reranker) = serve(tei, |_| {}).await;
    assert_eq!(reranker.rerank("why?", &passages([5, 30, 20])).await.unwrap(), [0.05, 0.3, 0.2]);
    let seen = server.seen();
    assert_eq!((seen[0].path.as_str(), reranker.model()), ("/rerank", "reranker"));
    let texts = passages([5, 30, 20]);
    assert_eq!(seen[0].body, json!({"query": "why?", "texts": texts, "truncate": true}));

    let (server, reranker) = serve(cohere, |config| {
        (config.api, config.model) = (RerankApi::Cohere, "rr".into());
        config.api_key = Secret::from("sk-test".to_owned());
        config.base_url.push_str("/v2/");
    })
    .await;
    assert_eq!(reranker.rerank("why?", &passages([5, 30])).await.unwrap(), [0.05, 0.3]);
    let seen = server.seen();
    assert_eq!(
        (seen[0].path.as_str(), &seen[0].headers["authorization"]),
        ("/v2/rerank", &"Bearer sk-test".parse().unwrap())
    );
    let expected = json!({"model": "rr", "query": "why?", "documents": passages([5, 30]), "top_n": 2});
    assert_eq!((&seen[0].body, reranker.model()), (&expected, "rr"));
}

#[tokio::test]
async fn many_passages_go_in_several_calls_and_keep_their_order() {
    let slow = |call: &Call| Reaction::Late(Duration::from_millis(40 / (1 + call.number as u64)), Box::new(tei(call)));
    let (server, reranker) = serve(slow, |config| config.batch_passages = 16).await;
    let lengths: Vec<usize> = (1..=50).rev().collect();
    let expected: Vec<f32> = lengths.iter().map(|length| *length as f32 / 100.0).collect();
    assert_eq!(reranker.rerank("why?", &passages(lengths)).await.unwrap(), expected);
    assert_eq!(server.seen().len(), 4);
    assert_eq!(reranker.rerank("why?", &[]).await.unwrap(), Vec::<f32>::new());
}

#[tokio::test]
async fn failures_are_tried_once_more_and_then_told() {
    for (bad, code, calls) in [
        (Reaction::Refuse(503, None), ErrorCode::Unavailable, 2),
        (Reaction::Refuse(429, Some(0)), ErrorCode::RateLimited, 2),
        (Reaction::Text("[".into()), ErrorCode::Unavailable, 2),
        (Reaction::Json(json!([{"index": 0, "score": 1.0}])), ErrorCode::Unavailable, 2),
        (Reaction::Refuse(401, None), ErrorCode::Internal, 1),
        (Reaction::Refuse(413, None), ErrorCode::Internal, 1),
    ] {
        let told = format!("{bad:?}");
        let (server, reranker) = serve(move |_| bad.clone(), |_| {}).await;
        assert_eq!(reranker.rerank("why?", &passages([1, 2])).await.unwrap_err().code, code, "{told}");
        assert_eq!(server.seen().len(), calls, "{told}");
    }
    let (_server, reranker) = serve(|_| Reaction::Hang, |_| {}).await;
    let (start, deadline) = (Instant::now(), Deadline::after(Duration::from_millis(100)));
    let error = reranker.rerank_by("why?", &passages([1]), deadline).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(start.elapsed() < Duration::from_secs(1));
}
