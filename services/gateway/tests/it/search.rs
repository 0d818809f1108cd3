//! `POST /v1/search`.

use futures::future::join_all;
use ragstone_core::ErrorCode;
use ragstone_proto::v1;
use serde_json::json;

use crate::backends::Mood;
use crate::stack::{Stack, json, problem};

#[tokio::test]
async fn hits_come_with_all_their_fields() {
    let stack = Stack::start().await;
    let filter =
        json!({"must": [{"key": "metadata.year", "gte": 2020.0}], "must_not": [{"key": "title", "match": ["x"]}]});
    let body = json!({"query": "when did the\u{200b} tram open?", "k": 7, "filter": filter, "rerank": false});
    let found = json(stack.post("/v1/search", &body).await, 200).await;
    assert_eq!(
        found["hits"][0],
        json!({
            "document_id": "tram", "version": 3, "chunk_index": 1, "score": 0.75, "title": "Title of tram",
            "content": "The tram opened in 1901. Tickets cost two crowns.", "heading_path": ["Top"],
            "metadata": {"lang": "en", "year": 2020},
        })
    );
    assert_eq!(found["shards"], json!({"asked": 2, "answered": 2, "missing": []}));
    assert_eq!(found["degraded"], json!([]));
    assert_eq!(found["trace_id"].as_str().unwrap().len(), 32);
    let mut keys: Vec<_> = found["timings_ms"].as_object().unwrap().keys().cloned().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["embed", "search", "total"]);

    let asked = stack.backends.retrieved.lock().unwrap().clone().unwrap();
    assert_eq!((asked.query.as_str(), asked.k), ("when did the tram open?", 7));
    assert_eq!(asked.mode(), v1::SearchMode::Hybrid);
    assert_eq!(asked.vector, [1.0, 0.0, 0.0]);
    assert_eq!(asked.access, Some(v1::Access { tenant: "default".to_owned(), all_groups: true, groups: Vec::new() }));
    let asked_filter: ragstone_core::Filter = asked.filter.unwrap().try_into().unwrap();
    assert_eq!(serde_json::to_value(asked_filter).unwrap(), filter_in_full(&filter));
}

/// The filter as it is written back: a single match loses its brackets.
fn filter_in_full(filter: &serde_json::Value) -> serde_json::Value {
    let mut filter = filter.clone();
    filter["must_not"][0]["match"] = json!("x");
    filter
}

#[tokio::test]
async fn keyword_search_needs_no_vector() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.embedding, Mood::Fails(ErrorCode::Unavailable));
    let found = json(stack.post("/v1/search", &json!({"query": "a", "mode": "keyword"})).await, 200).await;
    assert_eq!(found["degraded"], json!([]));
    assert_eq!(stack.backends.retrieved.lock().unwrap().clone().unwrap().mode(), v1::SearchMode::Keyword);
}

#[tokio::test]
async fn without_embeddings_hybrid_goes_on_with_keywords_and_dense_cannot() {
    let stack = Stack::with(|config| config.embed_timeout_ms = 50).await;
    for mood in
        [Mood::Fails(ErrorCode::Unavailable), Mood::Fails(ErrorCode::InvalidArgument), Mood::Hangs, Mood::Nonsense]
    {
        stack.backends.set(&stack.backends.embedding, mood);
        let found = json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
        assert_eq!(found["degraded"], json!(["embed.lexical_only"]), "{mood:?}");
        let asked = stack.backends.retrieved.lock().unwrap().take().unwrap();
        assert_eq!((asked.mode(), asked.vector.len()), (v1::SearchMode::Keyword, 0));

        let dense = stack.post("/v1/search", &json!({"query": "a", "mode": "dense"})).await;
        if mood == Mood::Fails(ErrorCode::InvalidArgument) {
            problem(dense, 400, "invalid_argument").await;
        } else {
            problem(dense, 503, "unavailable").await;
        }
        assert!(stack.backends.retrieved.lock().unwrap().is_none());
    }
}

#[tokio::test]
async fn missing_shards_are_said() {
    let stack = Stack::start().await;
    let shards = v1::Shards { asked: 2, answered: 1, missing: vec!["s1".to_owned()] };
    stack.backends.set(&stack.backends.shards, shards);
    let found = json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
    assert_eq!(found["degraded"], json!(["retrieval.partial"]));
    assert_eq!(found["shards"], json!({"asked": 2, "answered": 1, "missing": ["s1"]}));
}

#[tokio::test]
async fn without_a_vector_store_the_catalog_is_searched() {
    let stack = Stack::with(|config| config.search_timeout_ms = 300).await;
    stack.catalog.words.lock().unwrap().replace(vec![crate::backends::hit("tram", "The tram opened in 1901.", 2.5)]);
    for mood in [Mood::Fails(ErrorCode::Unavailable), Mood::Fails(ErrorCode::Internal), Mood::Hangs] {
        stack.backends.set(&stack.backends.retrieval, mood);
        let found = json(stack.post("/v1/search", &json!({"query": "tram"})).await, 200).await;
        assert_eq!(found["degraded"], json!(["retrieval.keyword_fallback"]), "{mood:?}");
        assert_eq!((&found["hits"][0]["document_id"], &found["hits"][0]["score"]), (&json!("tram"), &json!(2.5)));
    }
    // What is wrong with the request is not looked up elsewhere.
    stack.backends.set(&stack.backends.retrieval, Mood::Fails(ErrorCode::InvalidArgument));
    problem(stack.post("/v1/search", &json!({"query": "tram"})).await, 400, "invalid_argument").await;
    *stack.catalog.words.lock().unwrap() = None;
    stack.backends.set(&stack.backends.retrieval, Mood::Fails(ErrorCode::Unavailable));
    problem(stack.post("/v1/search", &json!({"query": "tram"})).await, 503, "unavailable").await;
}

fn index(model: &str) -> v1::IndexSpec {
    v1::IndexSpec {
        name: ragstone_core::IndexName::of(model, "r").into(),
        model: model.to_owned(),
        revision: "r".to_owned(),
        dimension: 3,
    }
}

#[tokio::test]
async fn the_very_first_questions_too() {
    let stack = Stack::start().await;
    // The default model's index is being built; another one serves.
    stack.backends.set(&stack.backends.serving, Some(index("n")));
    let question = json!({"query": "a"});
    for answer in join_all((0..8).map(|_| stack.post("/v1/search", &question))).await {
        json(answer, 200).await;
    }
    assert_eq!(*stack.backends.embedded.lock().unwrap(), ["n"; 8]);
    assert_eq!(*stack.backends.scans.lock().unwrap(), 1, "they ask together");
}

#[tokio::test]
async fn the_first_question_goes_on_when_nobody_tells_which_index_serves() {
    for mood in [Mood::Fails(ErrorCode::Unavailable), Mood::Hangs] {
        let stack = Stack::start().await;
        stack.backends.set(&stack.backends.indexes, mood);
        stack.backends.set(&stack.backends.serving, Some(index("m")));
        let found = json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
        assert_eq!(found["degraded"], json!([]), "{mood:?}");
        // The answer has told: nobody asks again.
        json(stack.post("/v1/search", &json!({"query": "b"})).await, 200).await;
        assert_eq!(*stack.backends.embedded.lock().unwrap(), ["", "m"]);
        assert_eq!(*stack.backends.scans.lock().unwrap(), 1);
    }
}

#[tokio::test]
async fn questions_are_embedded_with_the_serving_indexs_model() {
    let stack = Stack::start().await;
    let asked = || stack.backends.retrieved.lock().unwrap().take().unwrap().index;
    // The default model first; its index serves.
    stack.backends.set(&stack.backends.serving, Some(index("m")));
    json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
    assert_eq!(asked(), index("m").name);
    // Another index serves, and the old one is gone: this very search goes to the new one, embedded anew.
    stack.backends.set(&stack.backends.serving, Some(index("n")));
    let found = json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
    assert_eq!((asked(), found["degraded"].clone()), (index("n").name, json!([])));
    json(stack.post("/v1/search", &json!({"query": "b"})).await, 200).await;
    assert_eq!(asked(), index("n").name);
    // An index of a revision that the embedding service does not have: words only, and dense search says why not.
    let other = v1::IndexSpec { name: "n-other".to_owned(), revision: "other".to_owned(), ..index("n") };
    stack.backends.set(&stack.backends.serving, Some(other));
    let found = json(stack.post("/v1/search", &json!({"query": "c"})).await, 200).await;
    assert_eq!((asked(), found["degraded"].clone()), (String::new(), json!(["embed.lexical_only"])));
    problem(stack.post("/v1/search", &json!({"query": "c", "mode": "dense"})).await, 503, "unavailable").await;
}
