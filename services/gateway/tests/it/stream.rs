//! `POST /v1/query` answered as Server-Sent Events.

use std::time::{Duration, Instant};

use ragstone_core::ErrorCode;
use serde_json::{Value, json};

use crate::backends::{Mood, Step, delta, done, restart};
use crate::stack::{Stack, events, problem};

async fn stream(stack: &Stack) -> reqwest::Response {
    stack.post("/v1/query", &json!({"query": "When did the tram open?", "stream": true})).await
}

async fn all(stack: &Stack) -> Vec<(String, Value)> {
    let response = stream(stack).await;
    assert_eq!(response.status(), 200);
    events(&response.text().await.unwrap())
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn events_come_in_their_order() {
    let stack = Stack::start().await;
    let response = stream(&stack).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(response.headers().contains_key("x-request-id") && response.headers().contains_key("traceparent"));
    let events = events(&response.text().await.unwrap());
    assert_eq!(names(&events), ["contexts", "delta", "delta", "delta", "done"]);
    assert_eq!(events[0].1["contexts"][1]["document_id"], "bridge");
    assert_eq!(events[1].1, json!({"text": "It opened "}));
    let done = &events[4].1;
    assert_eq!(done["answer"], "It opened in 1901 [1]. It is of stone [2].");
    assert_eq!(done["citations"][0]["quote"], "The tram opened in 1901.");
}

#[tokio::test]
async fn the_first_words_arrive_before_the_last_are_written() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.script, vec![delta("early "), Step::Hang]);
    let mut response = stream(&stack).await;
    let mut seen = String::new();
    while !seen.contains("early") {
        seen.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(names(&events(&seen)), ["contexts", "delta"]);
}

#[tokio::test]
async fn a_restart_is_said() {
    let stack = Stack::start().await;
    let script = vec![delta("wrong "), restart("llm.stream_restarted"), delta("right"), done(&[])];
    stack.backends.set(&stack.backends.script, script);
    let events = all(&stack).await;
    assert_eq!(names(&events), ["contexts", "delta", "restart", "delta", "done"]);
    assert_eq!(events[2].1, json!({"degraded": "llm.stream_restarted"}));
    assert_eq!((&events[4].1["answer"], &events[4].1["degraded"]), (&json!("right"), &json!(["llm.stream_restarted"])));
}

#[tokio::test]
async fn a_failure_midway_ends_the_stream_with_a_problem() {
    let stack = Stack::with(|config| config.query_timeout_ms = 500).await;
    for (script, code) in [
        (vec![delta("half "), Step::Fail(ErrorCode::Unavailable)], "unavailable"),
        (vec![delta("half ")], "unavailable"),
        (vec![delta("half "), Step::Hang], "deadline_exceeded"),
    ] {
        stack.backends.set(&stack.backends.script, script);
        let events = all(&stack).await;
        assert_eq!(names(&events), ["contexts", "delta", "error"]);
        let told = &events[2].1;
        assert_eq!((&told["code"], &told["status"]), (&json!(code), &json!(503)));
        assert_eq!(told["trace_id"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_a_status() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.retrieval, Mood::Fails(ErrorCode::Unavailable));
    problem(stream(&stack).await, 503, "unavailable").await;
}

#[tokio::test]
async fn a_stopping_gateway_ends_the_stream_explicitly() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.script, vec![delta("half "), Step::Hang]);
    let response = stream(&stack).await;
    stack.shutdown.cancel();
    let events = events(&response.text().await.unwrap());
    assert_eq!(names(&events), ["contexts", "delta", "error"]);
    assert_eq!(events[2].1["status"], 503);
    stack.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_found_streams_like_any_answer() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.hits, Vec::new());
    let events = all(&stack).await;
    assert_eq!(names(&events), ["contexts", "delta", "done"]);
    assert_eq!(events[1].1["text"], events[2].1["answer"]);
}

#[tokio::test]
async fn text_of_any_kind_survives_the_stream() {
    let stack = Stack::start().await;
    let odd = ["line\nbreaks\r\n\n", "event: done\ndata: {}\n\n", "Grüße 🦀 \u{2028}", " lead and trail "];
    let script = odd.iter().map(|text| delta(text)).chain([done(&[])]).collect();
    stack.backends.set(&stack.backends.script, script);
    let events = all(&stack).await;
    // A word waits until it is clear that it begins no address.
    let deltas = events.iter().filter(|(name, _)| name == "delta");
    let text: String = deltas.map(|(_, data)| data["text"].as_str().unwrap()).collect();
    assert_eq!(text, odd.concat());
    assert_eq!(events.last().unwrap().1["answer"], odd.concat());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_generation() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.script, vec![delta("early "), Step::Hang]);
    for streaming in [true, false] {
        let body = json!({"query": "a", "stream": streaming});
        let request = stack.request(reqwest::Method::POST, "/v1/query").json(&body);
        let client = tokio::spawn(async move {
            let response = request.send().await.unwrap();
            response.text().await.unwrap()
        });
        stack.backends.hanging.notified().await;
        client.abort();
        let left = Instant::now();
        let cancelled = stack.backends.cancelled.notified();
        tokio::time::timeout(Duration::from_secs(10), cancelled).await.unwrap();
        assert!(left.elapsed() < Duration::from_millis(250), "streaming {streaming}: {:?}", left.elapsed());
    }
}
