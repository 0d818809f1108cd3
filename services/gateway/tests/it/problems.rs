//! Every error of the contract, wherever it can be had.

use ragstone_core::ErrorCode;
use reqwest::Method;
use serde_json::json;

use crate::backends::Mood;
use crate::stack::{Stack, nowhere, problem};

#[tokio::test]
async fn what_is_nowhere_is_404_and_wrong_methods_are_405() {
    let stack = Stack::start().await;
    for path in ["/nothing", "/v1/nothing", "/v1", "/v1/documents/a/b", "/v1/documents//"] {
        problem(stack.get(path).await, 404, "not_found").await;
    }
    for (method, path, allow) in [
        (Method::DELETE, "/v1/search", "POST"),
        (Method::GET, "/v1/query", "POST"),
        (Method::PATCH, "/v1/documents/a", "GET,HEAD,PUT,DELETE"),
        (Method::PUT, "/v1/documents", "GET,HEAD,POST"),
        (Method::POST, "/", "GET,HEAD"),
    ] {
        let response = stack.request(method, path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{path}");
        problem(response, 405, "method_not_allowed").await;
    }
}

#[tokio::test]
async fn malformed_bodies_are_400_with_their_position() {
    let stack = Stack::start().await;
    for (path, body, says) in [
        ("/v1/search", "", "EOF"),
        ("/v1/search", "{\n  \"query\": \"a\",,}", "line 2 column 16"),
        ("/v1/search", "[1]", "line 1 column"),
        ("/v1/search", r#"{"query":"a","stream":true}"#, "unknown field `stream`"),
        ("/v1/search", r#"{"query":"a","query":"b"}"#, "duplicate field `query`"),
        ("/v1/search", r#"{"k":1}"#, "missing field `query`"),
        ("/v1/search", r#"{"query":"a","k":-1}"#, "invalid value"),
        ("/v1/search", r#"{"query":"a","k":0}"#, "k is 0"),
        ("/v1/search", r#"{"query":"a","mode":"fuzzy"}"#, "fuzzy"),
        ("/v1/search", r#"{"query":"a","filter":{"or":[]}}"#, "unknown field `or`"),
        ("/v1/search", r#"{"query":"a","filter":{"must":[{"key":"tenant","match":"x"}]}}"#, "'tenant'"),
        ("/v1/query", r#"{"query":"a","temprature":1}"#, "unknown field `temprature`"),
        ("/v1/query", r#"{"query":"   "}"#, "empty"),
        ("/v1/query", r#"{"query":"a","max_tokens":5000}"#, "max_tokens"),
        ("/v1/query", r#"{"query":"a","temperature":2.5}"#, "temperature"),
        ("/v1/query", r#"{"query":"a"} trailing"#, "trailing"),
        ("/v1/query", "{\"query\":\"\u{fffd}", "EOF"),
    ] {
        let request = stack.request(Method::POST, path).header("content-type", "application/json");
        let refused = problem(request.body(body).send().await.unwrap(), 400, "invalid_argument").await;
        assert!(refused["detail"].as_str().unwrap().contains(says), "{body}: {refused}");
    }
    let stream = stack.post("/v1/query", &json!({"query": "", "stream": true})).await;
    problem(stream, 400, "invalid_argument").await;
}

#[tokio::test]
async fn invalid_utf8_is_400() {
    let stack = Stack::start().await;
    let request = stack.request(Method::POST, "/v1/query").header("content-type", "application/json");
    problem(request.body(&b"{\"query\":\"\xff\"}"[..]).send().await.unwrap(), 400, "invalid_argument").await;
    problem(stack.get("/v1/documents/%ff").await, 400, "invalid_argument").await;
    problem(stack.get("/v1/documents/%0a").await, 400, "invalid_argument").await;
}

#[tokio::test]
async fn long_queries_are_refused_never_cut() {
    let stack = Stack::start().await;
    let body = |length: usize| json!({ "query": "ß".repeat(length) });
    let refused = problem(stack.post("/v1/query", &body(1001)).await, 400, "invalid_argument").await;
    assert!(refused["detail"].as_str().unwrap().contains("1001 characters"));
    assert_eq!(stack.post("/v1/search", &body(1000)).await.status(), 200);
    let asked = stack.backends.retrieved.lock().unwrap().clone().unwrap();
    assert_eq!(asked.query.chars().count(), 1000);
}

#[tokio::test]
async fn queries_are_json_or_415_and_bounded_or_413() {
    let stack = Stack::start().await;
    let request = || stack.request(Method::POST, "/v1/query");
    problem(request().body("{}").send().await.unwrap(), 415, "unsupported_media_type").await;
    let form = request().header("content-type", "application/x-www-form-urlencoded").body("query=a");
    problem(form.send().await.unwrap(), 415, "unsupported_media_type").await;
    let huge = json!({ "query": "a".repeat(2 * 1024 * 1024) });
    problem(stack.post("/v1/query", &huge).await, 413, "too_large").await;
}

#[tokio::test]
async fn what_ingestion_refuses_comes_through() {
    let stack = Stack::start().await;
    for (code, status) in [
        (ErrorCode::InvalidArgument, 400),
        (ErrorCode::Conflict, 409),
        (ErrorCode::TooLarge, 413),
        (ErrorCode::UnsupportedMediaType, 415),
        (ErrorCode::Unprocessable, 422),
        (ErrorCode::RateLimited, 429),
        (ErrorCode::Unavailable, 503),
        (ErrorCode::DeadlineExceeded, 503),
        (ErrorCode::StorageFull, 507),
    ] {
        stack.catalog.refuses.lock().unwrap().replace(code);
        problem(stack.put("a", "text/plain", "text").await, status, code.as_str()).await;
    }
    stack.catalog.refuses.lock().unwrap().replace(ErrorCode::Internal);
    let hidden = problem(stack.put("a", "text/plain", "text").await, 500, "internal").await;
    assert!(!hidden["detail"].as_str().unwrap().contains("on purpose"), "{hidden}");
}

#[tokio::test]
async fn a_backend_that_is_gone_is_503_and_its_address_stays_inside() {
    let gone = nowhere().await;
    let port = gone.rsplit(':').next().unwrap().to_owned();
    let stack = Stack::with(|config| {
        config.retrieval_url = gone.clone();
        config.ingestion_url = gone;
    })
    .await;
    for response in [
        stack.post("/v1/search", &json!({"query": "a"})).await,
        stack.post("/v1/query", &json!({"query": "a"})).await,
        stack.post("/v1/query", &json!({"query": "a", "stream": true})).await,
        stack.put("a", "text/plain", "text").await,
        stack.get("/v1/documents").await,
        stack.get("/v1/jobs/x/events").await,
    ] {
        let told = problem(response, 503, "unavailable").await;
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("cannot be reached") && !detail.contains(&port), "{detail}");
    }
}

#[tokio::test]
async fn a_backend_that_hangs_is_503_in_time() {
    let stack = Stack::with(|config| config.search_timeout_ms = 50).await;
    stack.backends.set(&stack.backends.retrieval, Mood::Hangs);
    problem(stack.post("/v1/search", &json!({"query": "a"})).await, 503, "deadline_exceeded").await;
    stack.backends.set(&stack.backends.retrieval, Mood::Nonsense);
    problem(stack.post("/v1/search", &json!({"query": "a"})).await, 500, "internal").await;
    stack.backends.set(&stack.backends.retrieval, Mood::Fails(ErrorCode::Cancelled));
    problem(stack.post("/v1/search", &json!({"query": "a"})).await, 503, "cancelled").await;
}

#[tokio::test]
async fn every_answer_carries_its_ids() {
    let stack = Stack::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = stack.request(Method::GET, "/").header("x-request-id", "my-id.7");
    let response = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01")).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "my-id.7");
    assert!(response.headers()["traceparent"].to_str().unwrap().contains(trace));
    assert!(response.text().await.unwrap().starts_with("<!doctype html>"));
    let odd = stack.request(Method::GET, "/").header("x-request-id", "a b").send().await.unwrap();
    assert_eq!(odd.headers()["x-request-id"].len(), 36);
}
