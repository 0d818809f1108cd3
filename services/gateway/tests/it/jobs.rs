//! The REST routes of jobs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::ingestion::STATES;
use crate::stack::{Stack, events, json, problem};

async fn job(stack: &Stack) -> String {
    let stored = json(stack.put("d", "text/plain", "text").await, 202).await;
    stored["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_read_and_listed() {
    let stack = Stack::start().await;
    let id = job(&stack).await;
    let read = json(stack.get(&format!("/v1/jobs/{id}")).await, 200).await;
    let expected = json!({
        "job_id": id, "kind": "ingest", "document_id": "d", "version": 1, "status": "queued", "stage": "extract",
        "attempts": 0, "error": null, "progress": 0.0,
        "created_at": "1970-01-01T00:00:00Z", "updated_at": "1970-01-01T00:00:00Z",
    });
    assert_eq!(read, expected);
    let listed = json(stack.get("/v1/jobs?status=queued&limit=10").await, 200).await;
    assert_eq!(listed, json!({"items": [expected], "next_cursor": null}));
    assert_eq!(json(stack.get("/v1/jobs?status=dead").await, 200).await["items"], json!([]));
    problem(stack.get("/v1/jobs?status=ready").await, 400, "invalid_argument").await;
    problem(stack.get("/v1/jobs/none").await, 404, "not_found").await;
    problem(stack.get("/v1/jobs/none/events").await, 404, "not_found").await;
}

#[tokio::test]
async fn only_what_ended_badly_is_retried() {
    let stack = Stack::start().await;
    let id = job(&stack).await;
    let retry = || stack.request(Method::POST, &format!("/v1/jobs/{id}/retry")).send();
    problem(retry().await.unwrap(), 409, "conflict").await;
    stack.catalog.jobs.lock().unwrap()[0].set_status(ragstone_proto::v1::JobStatus::Dead);
    assert_eq!(json(retry().await.unwrap(), 202).await["status"], "queued");
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let stack = Stack::start().await;
    let id = job(&stack).await;
    let response = stack.get(&format!("/v1/jobs/{id}/events")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let events = events(&response.text().await.unwrap());
    assert!(events.iter().all(|(name, data)| name == "job" && data["job_id"] == id));
    let states: Vec<_> = events.iter().map(|(_, data)| data["status"].clone()).collect();
    assert_eq!(states.len(), STATES.len());
    assert_eq!(states.last(), Some(&json!("done")));
}

#[tokio::test]
async fn a_stopping_gateway_ends_the_stream_explicitly() {
    let stack = Stack::start().await;
    let id = job(&stack).await;
    *stack.catalog.stuck.lock().unwrap() = true;
    let mut response = stack.get(&format!("/v1/jobs/{id}/events")).await;
    let first = response.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("event: job"));
    stack.shutdown.cancel();
    let events = events(&response.text().await.unwrap());
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["status"]), ("error", &Value::from(503)));
    stack.serving.await.unwrap().unwrap();
}
