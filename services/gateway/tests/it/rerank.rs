//! `rerank: true`: a longer list is searched, the reranker's order and scores count, and without it the search's own stand.

use ragstone_core::ErrorCode;
use ragstone_proto::v1;
use serde_json::{Value, json};

use crate::backends::{Mood, hit};
use crate::stack::{Stack, json};

/// A stack with five hits, the best of which the reranker finds to be the third.
async fn stack() -> Stack {
    let stack = Stack::with(|config| config.rerank_timeout_ms = 200).await;
    let hits: Vec<v1::Hit> =
        (0..5_u8).map(|n| hit(&format!("d{n}"), &n.to_string(), 1.0 - f32::from(n) / 10.0)).collect();
    stack.backends.set(&stack.backends.hits, hits);
    stack.backends.set(&stack.backends.scores, vec![0.5, 0.1, 7.5, -2.0, 0.25]);
    stack.backends.set(&stack.backends.reranking, Mood::Fine);
    stack
}

fn found(hits: &Value) -> Vec<(&str, f64)> {
    let hits = hits.as_array().unwrap().iter();
    hits.map(|hit| (hit["document_id"].as_str().unwrap(), hit["score"].as_f64().unwrap())).collect()
}

#[tokio::test]
async fn the_rerankers_order_and_scores_count() {
    let stack = stack().await;
    let answer = json(stack.post("/v1/search", &json!({"query": "q", "k": 3, "rerank": true})).await, 200).await;
    assert_eq!(found(&answer["hits"]), [("d2", 7.5), ("d0", 0.5), ("d4", 0.25)]);
    assert_eq!(answer["degraded"], json!([]));
    assert_eq!(stack.backends.retrieved.lock().unwrap().as_ref().unwrap().k, 12);
    let asked = stack.backends.reranked.lock().unwrap().take().unwrap();
    assert_eq!(
        (asked.query.as_str(), asked.passages),
        ("q", vec!["0".into(), "1".into(), "2".into(), "3".into(), "4".into()])
    );

    let answer = json(stack.post("/v1/query", &json!({"query": "q", "k": 2, "rerank": true})).await, 200).await;
    assert_eq!(found(&answer["contexts"]), [("d2", 7.5), ("d0", 0.5)]);
    let given = stack.backends.generated.lock().unwrap().take().unwrap().passages;
    assert_eq!(given.iter().map(|passage| passage.document_id.as_str()).collect::<Vec<_>>(), ["d2", "d0"]);
}

#[tokio::test]
async fn unasked_nothing_is_reranked() {
    let stack = stack().await;
    for body in [json!({"query": "q", "k": 5}), json!({"query": "q", "k": 5, "rerank": false})] {
        let answer = json(stack.post("/v1/search", &body).await, 200).await;
        assert_eq!(answer["hits"][0]["document_id"], "d0");
        assert_eq!(stack.backends.retrieved.lock().unwrap().as_ref().unwrap().k, 5);
    }
    assert!(stack.backends.reranked.lock().unwrap().is_none());
}

#[tokio::test]
async fn without_a_usable_answer_the_searchs_order_stands_and_that_is_said() {
    let stack = stack().await;
    for mood in [Mood::Fails(ErrorCode::NotFound), Mood::Fails(ErrorCode::Unavailable), Mood::Hangs, Mood::Nonsense] {
        stack.backends.set(&stack.backends.reranking, mood);
        let answer = json(stack.post("/v1/search", &json!({"query": "q", "k": 2, "rerank": true})).await, 200).await;
        assert_eq!(answer["degraded"], json!(["rerank.skipped"]), "{mood:?}");
        let hits = found(&answer["hits"]);
        assert_eq!(hits.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["d0", "d1"], "{mood:?}");
        assert!((hits[0].1 - 1.0).abs() < 1e-6, "{mood:?}: {hits:?}");
    }
    stack.backends.set(&stack.backends.reranking, Mood::Fine);
    stack.backends.set(&stack.backends.scores, vec![1.0]);
    let answer = json(stack.post("/v1/query", &json!({"query": "q", "rerank": true})).await, 200).await;
    assert_eq!(answer["degraded"], json!(["rerank.skipped"]), "one score for five passages");
}
