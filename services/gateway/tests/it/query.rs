//! `POST /v1/query` answered as JSON.

use ragstone_core::ErrorCode;
use ragstone_proto::v1;
use serde_json::{Value, json};

use crate::backends::{Mood, Step, delta, done, hit, restart};
use crate::stack::{Stack, json, problem, telemetry};

async fn ask(stack: &Stack) -> Value {
    json(stack.post("/v1/query", &json!({"query": "When did the tram open?"})).await, 200).await
}

#[tokio::test]
async fn an_answer_has_every_field_of_the_contract() {
    let stack = Stack::start().await;
    let body = json!({
        "query": "When did the tram open?", "k": 2, "max_tokens": 99, "temperature": 0.5, "cache": false,
        "stream": false, "mode": "hybrid",
    });
    let answer = json(stack.post("/v1/query", &body).await, 200).await;
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "answer",
        "cache",
        "citations",
        "contexts",
        "degraded",
        "model",
        "query_id",
        "sources_complete",
        "timings_ms",
        "trace_id",
        "usage",
    ];
    assert_eq!(keys, expected);
    assert_eq!(answer["answer"], "It opened in 1901 [1]. It is of stone [2].");
    let citation = |marker: u32, document: &str, quote: &str, score: f32| json!({"marker": marker, "document_id": document, "chunk_index": 1, "quote": quote, "score": score});
    let quotes = [
        citation(1, "tram", "The tram opened in 1901.", 0.75),
        citation(2, "bridge", "It was built of stone in 1822.", 0.5),
    ];
    assert_eq!(answer["citations"], json!(quotes));
    let content = "The tram opened in 1901. Tickets cost two crowns.";
    let context = json!({"document_id": "tram", "version": 3, "chunk_index": 1, "title": "Title of tram", "content": content, "score": 0.75});
    assert_eq!(answer["contexts"][0], context);
    assert_eq!(
        (&answer["degraded"], &answer["sources_complete"], &answer["cache"]),
        (&json!([]), &json!(true), &json!("miss"))
    );
    assert_eq!(
        (&answer["model"], &answer["usage"]),
        (&json!("fake"), &json!({"prompt_tokens": 11, "completion_tokens": 7}))
    );
    assert!(answer["timings_ms"]["total"].as_f64().unwrap() >= answer["timings_ms"]["generate"].as_f64().unwrap());

    let asked = stack.backends.generated.lock().unwrap().clone().unwrap();
    assert_eq!((asked.max_tokens, asked.temperature), (99, Some(0.5)));
    assert_eq!(asked.passages.iter().map(|p| p.document_id.as_str()).collect::<Vec<_>>(), ["tram", "bridge"]);
    assert_eq!(asked.passages[0].title, "Title of tram");
}

#[tokio::test]
async fn nothing_found_is_an_answer_and_no_model_is_asked() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.hits, Vec::new());
    let answer = ask(&stack).await;
    assert_eq!(answer["answer"], "No relevant passage was found in the documents.");
    assert_eq!((&answer["citations"], &answer["contexts"], &answer["model"]), (&json!([]), &json!([]), &json!("none")));
    assert!(stack.backends.generated.lock().unwrap().is_none());
}

#[tokio::test]
async fn every_degradation_is_said_once() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.embedding, Mood::Fails(ErrorCode::RateLimited));
    stack.backends.set(&stack.backends.shards, v1::Shards { asked: 2, answered: 1, missing: vec!["s1".to_owned()] });
    let script = vec![
        delta("wrong "),
        restart("llm.stream_restarted"),
        delta("Right [1]."),
        done(&["llm.stream_restarted", "generation.extractive", "newer.code"]),
    ];
    stack.backends.set(&stack.backends.script, script);
    let answer = ask(&stack).await;
    assert_eq!(answer["answer"], "Right [1].");
    let expected =
        ["embed.lexical_only", "retrieval.partial", "llm.stream_restarted", "generation.extractive", "newer.code"];
    assert_eq!(answer["degraded"], json!(expected));
    assert_eq!(answer["sources_complete"], false);
    let metrics = telemetry().metrics().render();
    assert!(metrics.contains("rag_degraded_total{code=\"embed.lexical_only\"}"), "{metrics}");
    assert!(metrics.contains("rag_queries_total{outcome=\"degraded\"}"), "{metrics}");
    assert!(metrics.contains("rag_query_duration_seconds_bucket"), "{metrics}");
}

#[tokio::test]
async fn markers_without_a_passage_do_not_survive() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.script, vec![delta("True [1]. Made up [7]."), done(&[])]);
    let answer = ask(&stack).await;
    assert_eq!(answer["answer"], "True [1]. Made up.");
    assert_eq!(answer["citations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_context_keeps_to_its_budget() {
    let stack = Stack::with(|config| config.context_tokens = 300).await;
    let hits = (0..20_u8).map(|n| hit(&format!("d{n}"), &"word ".repeat(40), 1.0 - f32::from(n) / 100.0)).collect();
    stack.backends.set(&stack.backends.hits, hits);
    stack.backends.set(&stack.backends.script, vec![delta("x [1]"), done(&[])]);
    let answer = ask(&stack).await;
    let contexts = answer["contexts"].as_array().unwrap();
    assert_eq!(contexts.len(), 3);
    assert_eq!(contexts[0]["document_id"], "d0");
    assert_eq!(stack.backends.generated.lock().unwrap().clone().unwrap().passages.len(), 3);
}

#[tokio::test]
async fn a_failing_generation_is_an_error_never_half_an_answer() {
    let stack = Stack::with(|config| config.query_timeout_ms = 500).await;
    let body = json!({"query": "a"});
    for (script, code) in [
        (vec![Step::Fail(ErrorCode::Unavailable)], "unavailable"),
        (vec![delta("half "), Step::Fail(ErrorCode::Unavailable)], "unavailable"),
        (vec![delta("half ")], "unavailable"),
        (vec![delta("half "), Step::Hang], "deadline_exceeded"),
    ] {
        stack.backends.set(&stack.backends.script, script);
        problem(stack.post("/v1/query", &body).await, 503, code).await;
    }
    stack.backends.set(&stack.backends.script, vec![Step::Fail(ErrorCode::Internal)]);
    problem(stack.post("/v1/query", &body).await, 500, "internal").await;
}

#[tokio::test]
async fn readiness_names_the_backends() {
    let stack = Stack::with(|config| config.embedding_url = "http://127.0.0.1:1".to_owned()).await;
    ask(&stack).await;
    let report = stack.health.report().await;
    assert!(report.ready, "{report:?}");
    let states: Vec<_> = report.checks.iter().map(|check| (check.name.as_str(), check.critical, check.state)).collect();
    let expected = [
        ("retrieval", false, "up"),
        ("ingestion", false, "up"),
        ("search", true, "up"),
        ("embedding", false, "down"),
        ("generation", false, "up"),
    ];
    assert_eq!(states, expected);
}
