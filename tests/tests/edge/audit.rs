//! The audit log and feedback: what was done is there in order, chained, and without content.

use std::time::Duration;

use ragstone_testkit::client::Client;
use ragstone_testkit::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{ALL, api_key, client, stack, token};

const TEXT: &str = "The ferryman of Westhafen is called Ottokar.";
const QUESTION: &str = "Who is the ferryman of Westhafen?";

async fn read_log(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/v1/admin/audit{query}")).await.unwrap().expect_status(200).unwrap();
    answer["items"].as_array().unwrap().clone()
}

/// Waits until the log has so many entries: answers are noted a moment later.
async fn entries(client: &Client, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        let log = read_log(client, "").await;
        if log.len() >= count {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there are no {count} entries: {:?}", read_log(client, "").await);
}

async fn with_request_id(client: &Client, method: Method, path: &str, id: &str, body: Value) -> Value {
    let request = client.http().request(method, client.url(path)).header("x-request-id", id);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = client.send(request).await.unwrap();
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.body
}

/// Does one thing after the other; the id of the answer and of the key.
async fn act(client: &Client) -> (String, String) {
    let written = with_request_id(client, Method::PUT, "/v1/documents/ferry", "r-write", json!({ "text": TEXT })).await;
    client.finished_job(written["job_id"].as_str().unwrap()).await.unwrap();
    let question = json!({ "query": QUESTION });
    let answer = with_request_id(client, Method::POST, "/v1/query", "r-answer", question).await;
    entries(client, 2).await;
    let wanted = json!({ "subject": "build", "scopes": ["query"] });
    let key = with_request_id(client, Method::POST, "/v1/admin/keys", "r-key", wanted).await;
    let key = key["id"].as_str().unwrap().to_owned();
    with_request_id(client, Method::DELETE, &format!("/v1/admin/keys/{key}"), "r-revoke", Value::Null).await;
    with_request_id(client, Method::DELETE, "/v1/documents/ferry", "r-delete", Value::Null).await;
    (answer["query_id"].as_str().unwrap().to_owned(), key)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_in_the_log_in_order_and_chained() {
    let stack = stack(&[]).await;
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    let (query_id, key) = act(&ada).await;
    let log = entries(&ada, 5).await;
    let told: Vec<[&str; 5]> = log
        .iter()
        .map(|entry| {
            ["action", "object_kind", "object_id", "request_id", "subject"].map(|field| entry[field].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ["document.write", "document", "ferry", "r-write", "ada"],
            ["answer", "query", query_id.as_str(), "r-answer", "ada"],
            ["key.create", "key", key.as_str(), "r-key", "ada"],
            ["key.revoke", "key", key.as_str(), "r-revoke", "ada"],
            ["document.delete", "document", "ferry", "r-delete", "ada"],
        ]
    );
    assert_eq!(log[1]["documents"], json!([{ "document_id": "ferry", "version": 1 }]));
    for (earlier, later) in log.iter().zip(&log[1..]) {
        assert_eq!(earlier["hash"], later["prev_hash"]);
        assert_eq!(earlier["seq"].as_u64().unwrap() + 1, later["seq"].as_u64().unwrap());
    }
    let found = ada.get("/v1/admin/audit/verification").await.unwrap().expect_status(200).unwrap();
    assert_eq!(found["whole"], true, "{found}");
    assert_eq!((&found["entries"], &found["hash"]), (&json!(5), &log[4]["hash"]), "{found}");
    let said = json!(log).to_string();
    assert!(!said.contains("Ottokar") && !said.contains("ferryman"), "{said}");
    assert_eq!(read_log(&ada, "?action=key.create&subject=ada").await.len(), 1);
    assert_eq!(read_log(&ada, "?after=3").await.len(), 2);
    assert_eq!(read_log(&ada, "?subject=nobody").await.len(), 0);
    let other = client(&stack, &token("other", "ada", &ALL, &[]));
    assert_eq!(read_log(&other, "").await.len(), 0);
    stack.stop().await.unwrap();
}

/// How often answers were rated so.
async fn rated(stack: &Stack, rating: &str) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", stack.admin_url("gateway"))).await.unwrap().text().await.unwrap();
    let line = format!("rag_feedback_total{{rating=\"{rating}\"}} ");
    metrics.lines().find_map(|rest| rest.strip_prefix(&line)).map_or(0, |count| count.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_rated_and_counted() {
    let stack = stack(&[]).await;
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    crate::world::ingest(&ada, "ferry", json!({ "text": TEXT })).await;
    let answer = ada.post("/v1/query", &json!({ "query": QUESTION })).await.unwrap().expect_status(200).unwrap();
    let id = &answer["query_id"];
    for rating in ["up", "down", "up"] {
        let body = json!({ "query_id": id, "rating": rating, "comment": "It was Ottokar." });
        ada.post("/v1/feedback", &body).await.unwrap().expect_status(204).unwrap();
    }
    assert_eq!((rated(&stack, "up").await, rated(&stack, "down").await), (2, 1));
    let unknown = json!({ "query_id": "01890000-0000-7000-8000-000000000000", "rating": "up" });
    ada.post("/v1/feedback", &unknown).await.unwrap().expect_status(404).unwrap();
    let key = api_key(&ada, &json!({ "subject": "k", "scopes": ["ingest"] })).await;
    let may_not = client(&stack, key["key"].as_str().unwrap());
    may_not.post("/v1/feedback", &json!({ "query_id": id, "rating": "up" })).await.unwrap().expect_status(403).unwrap();
    for bad in [
        json!({ "query_id": id, "rating": "sideways" }),
        json!({ "query_id": id }),
        json!({ "query_id": id, "rating": "up", "comment": "x".repeat(2_001) }),
        json!({ "query_id": id, "rating": "up", "tenant": "other" }),
    ] {
        ada.post("/v1/feedback", &bad).await.unwrap().expect_status(400).unwrap();
    }
    assert_eq!((rated(&stack, "up").await, rated(&stack, "down").await), (2, 1));
    stack.stop().await.unwrap();
}
