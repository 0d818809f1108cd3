//! The REST routes of documents.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::stack::{Stack, json, problem};

#[tokio::test]
async fn a_document_is_stored_read_listed_and_deleted() {
    let stack = Stack::start().await;
    let stored = stack.put("guide%2FGr%C3%B6%C3%9Fe%20(2).md", "text/markdown; charset=utf-8", "# Größe").await;
    assert_eq!(stored.headers()["etag"], "\"1\"");
    let stored = json(stored, 202).await;
    assert_eq!(stored["document_id"], "guide/Größe (2).md");
    assert_eq!(
        (&stored["version"], &stored["status"], &stored["unchanged"]),
        (&json!(1), &json!("queued"), &json!(false))
    );
    assert!(stored["job_id"].is_string());
    let kept = stack.catalog.stored("guide/Größe (2).md");
    assert_eq!((kept.header.media_type.as_str(), kept.body.as_slice()), ("text/markdown", "# Größe".as_bytes()));

    let read = stack.get("/v1/documents/guide%2FGr%C3%B6%C3%9Fe%20(2).md").await;
    assert_eq!(read.headers()["etag"], "\"1\"");
    let read = json(read, 200).await;
    assert_eq!(read["status"], "ready");
    assert_eq!(read["bytes"], 9);
    assert_eq!(read["error"], Value::Null);
    assert_eq!(read["created_at"], "1970-01-01T00:00:00Z");

    let listed = json(stack.get("/v1/documents?limit=1&status=ready").await, 200).await;
    assert_eq!(listed["items"][0]["document_id"], "guide/Größe (2).md");
    assert_eq!(listed["next_cursor"], Value::Null);

    let path = "/v1/documents/guide%2FGr%C3%B6%C3%9Fe%20(2).md";
    let deleted = json(stack.request(Method::DELETE, path).send().await.unwrap(), 202).await;
    assert_eq!(deleted["version"], 2);
    problem(stack.get(path).await, 404, "not_found").await;
    problem(stack.request(Method::DELETE, path).send().await.unwrap(), 404, "not_found").await;
    let history = json(stack.get(&format!("{path}/history")).await, 200).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    assert_eq!(history["items"][0]["version"], 2);
    problem(stack.get("/v1/documents/none/history").await, 404, "not_found").await;
}

#[tokio::test]
async fn the_same_content_is_one_document() {
    let stack = Stack::start().await;
    let post = || stack.request(Method::POST, "/v1/documents").header("content-type", "text/plain").body("abc");
    let first = json(post().send().await.unwrap(), 202).await;
    assert_eq!(first["document_id"], "6437b3ac38465133ffb63b75273a8db5");
    let second = json(post().send().await.unwrap(), 202).await;
    assert_eq!((&second["version"], &second["unchanged"]), (&json!(1), &json!(true)));
    assert_eq!(second["job_id"], first["job_id"]);
}

#[tokio::test]
async fn pages_follow_one_another() {
    let stack = Stack::start().await;
    for id in ["a", "b", "c"] {
        json(stack.put(id, "text/plain", id).await, 202).await;
    }
    let first = json(stack.get("/v1/documents?limit=2").await, 200).await;
    assert_eq!(first["next_cursor"], "b");
    let second = json(stack.get("/v1/documents?limit=2&cursor=b").await, 200).await;
    assert_eq!((&second["items"][0]["document_id"], &second["next_cursor"]), (&json!("c"), &Value::Null));
    for bad in ["limit=0", "limit=1001", "limit=x", "status=done", "sort=asc"] {
        problem(stack.get(&format!("/v1/documents?{bad}")).await, 400, "invalid_argument").await;
    }
}

#[tokio::test]
async fn preconditions_guard_writes() {
    let stack = Stack::start().await;
    let put = async |name: &'static str, value: &'static str, body: &'static str| {
        let request = stack.request(Method::PUT, "/v1/documents/d").header("content-type", "text/plain");
        request.header(name, value).body(body).send().await.unwrap()
    };
    problem(put("if-match", "*", "one").await, 409, "conflict").await;
    problem(put("if-match", "\"1\"", "one").await, 409, "conflict").await;
    json(put("if-none-match", "*", "one").await, 202).await;
    problem(put("if-none-match", "*", "two").await, 409, "conflict").await;
    json(put("if-match", "\"1\"", "two").await, 202).await;
    problem(put("if-match", "\"1\"", "three").await, 409, "conflict").await;
    json(put("if-match", "*", "three").await, 202).await;
    for odd in ["W/\"3\"", "3", "\"0\"", "\"1\", \"3\""] {
        problem(put("if-match", odd, "four").await, 400, "invalid_argument").await;
    }
    assert_eq!(stack.catalog.stored("d").body, b"three");
    let delete = |tag: &'static str| stack.request(Method::DELETE, "/v1/documents/d").header("if-match", tag).send();
    problem(delete("\"2\"").await.unwrap(), 409, "conflict").await;
    json(delete("\"3\"").await.unwrap(), 202).await;
    problem(delete("*").await.unwrap(), 409, "conflict").await;
}

#[tokio::test]
async fn forms_and_envelopes_carry_fields() {
    let stack = Stack::start().await;
    let form = Form::new()
        .part("file", Part::bytes(&b"# Hi"[..]).file_name("hi.md"))
        .text("metadata", r#"{"lang":"de","n":9007199254740991}"#)
        .text("groups", r#"["staff"]"#)
        .text("title", "Hallo");
    let put = stack.request(Method::PUT, "/v1/documents/form").multipart(form).send().await.unwrap();
    json(put, 202).await;
    let read = json(stack.get("/v1/documents/form").await, 200).await;
    assert_eq!((&read["content_type"], &read["title"]), (&json!("text/markdown"), &json!("Hallo")));
    assert_eq!(read["metadata"], json!({"lang": "de", "n": 9_007_199_254_740_991_u64}));
    assert_eq!(read["groups"], json!(["staff"]));

    let envelope = json!({"id": "env", "text": "<p>Hi</p>", "content_type": "text/html", "metadata": {"a": [1, null]}});
    assert_eq!(json(stack.post("/v1/documents", &envelope).await, 202).await["document_id"], "env");
    let kept = stack.catalog.stored("env");
    assert_eq!((kept.header.media_type.as_str(), kept.body.as_slice()), ("text/html", &b"<p>Hi</p>"[..]));
    let unknown = json!({"text": "t", "language": "de"});
    let refused = problem(stack.post("/v1/documents", &unknown).await, 400, "invalid_argument").await;
    assert!(refused["detail"].as_str().unwrap().contains("`language`"));
    let huge = json!({"text": "t", "metadata": {"a": "x".repeat(20_000)}});
    problem(stack.post("/v1/documents", &huge).await, 400, "invalid_argument").await;
}

#[tokio::test]
async fn what_cannot_be_read_is_415() {
    let stack = Stack::start().await;
    for media_type in ["image/png", "application/octet-stream", "text/plain; charset=latin1"] {
        problem(stack.put("a", media_type, "x").await, 415, "unsupported_media_type").await;
    }
    let bare = stack.request(Method::PUT, "/v1/documents/a").body("x").send().await.unwrap();
    problem(bare, 415, "unsupported_media_type").await;
}

#[tokio::test]
async fn batches_answer_item_by_item_in_order() {
    let stack = Stack::start().await;
    let batch = json!([{"id": "a", "text": "1"}, {"id": "b"}, {"text": "abc"}, {"id": "a", "text": "2"}]);
    let answer = json(stack.post("/v1/documents", &batch).await, 202).await;
    let items = answer["items"].as_array().unwrap();
    assert_eq!((&items[0]["document_id"], &items[0]["version"]), (&json!("a"), &json!(1)));
    assert_eq!((&items[1]["error"]["status"], &items[1]["error"]["code"]), (&json!(400), &json!("invalid_argument")));
    assert_eq!(items[2]["document_id"], "6437b3ac38465133ffb63b75273a8db5");
    assert_eq!(items[3]["error"]["status"], 409);
    let put = stack.put("a", "application/json", batch.to_string()).await;
    problem(put, 400, "invalid_argument").await;
}

#[tokio::test]
async fn a_thousand_lines_are_stored_eight_at_a_time() {
    let stack = Stack::start().await;
    *stack.catalog.delay.lock().unwrap() = Duration::from_millis(1);
    let lines: String = (0..1000).map(|n| format!("{{\"id\":\"d{n}\",\"text\":\"text {n}\"}}\n")).collect();
    let request = stack.request(Method::POST, "/v1/documents").header("content-type", "application/x-ndjson");
    let answer = json(request.body(lines.clone()).send().await.unwrap(), 202).await;
    let ids: Vec<_> = answer["items"].as_array().unwrap().iter().map(|item| item["document_id"].clone()).collect();
    assert_eq!(ids, (0..1000).map(|n| json!(format!("d{n}"))).collect::<Vec<_>>());
    assert_eq!(stack.catalog.peak.load(Ordering::SeqCst), 8);
    let request = stack.request(Method::POST, "/v1/documents").header("content-type", "application/x-ndjson");
    let too_many = request.body(format!("{lines}{{\"text\":\"one more\"}}")).send().await.unwrap();
    problem(too_many, 413, "too_large").await;
}

#[tokio::test]
async fn large_bodies_arrive_in_pieces_and_larger_ones_not_at_all() {
    let stack = Stack::with(|config| config.max_body_bytes = 8 * 1024 * 1024).await;
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    json(stack.put("big", "application/pdf", body.clone()).await, 202).await;
    assert!(stack.catalog.stored("big").body == body);
    let pieces = stack.catalog.pieces.lock().unwrap().clone();
    assert!(pieces.len() == 32 && pieces.iter().all(|piece| *piece == 256 * 1024), "{pieces:?}");

    let mut over = body;
    over.push(0);
    let announced = problem(stack.put("over", "application/pdf", over.clone()).await, 413, "too_large").await;
    assert!(announced["detail"].as_str().unwrap().contains("8388608"));
    let chunks = over.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let streamed = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    problem(stack.put("over", "application/pdf", streamed).await, 413, "too_large").await;
    assert!(!stack.catalog.documents.lock().unwrap().contains_key("over"));
}

#[tokio::test]
async fn writes_name_their_caller_and_pass_their_key_on() {
    let stack = Stack::start().await;
    let put = |key: &str| {
        let request = stack.request(Method::PUT, "/v1/documents/d").header("content-type", "text/plain").body("abc");
        request.header("idempotency-key", key).header("x-request-id", "req-1")
    };
    json(put("k-1").send().await.unwrap(), 202).await;
    for bad in ["a b", &"x".repeat(256)] {
        problem(put(bad).send().await.unwrap(), 400, "invalid_argument").await;
    }
    let batch = json!([{"id": "a", "text": "1"}, {"id": "b"}, {"id": "c", "text": "2"}]);
    let post = |key: &str| {
        let request = stack.request(Method::POST, "/v1/documents").json(&batch);
        request.header("idempotency-key", key).send()
    };
    json(post("k-2").await.unwrap(), 202).await;
    problem(post(&"x".repeat(251)).await.unwrap(), 400, "invalid_argument").await;
    let uploads = stack.catalog.uploads.lock().unwrap().clone();
    let mut keys: Vec<_> = uploads.iter().map(|(_, key)| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["k-1", "k-2#0", "k-2#2"], "each item has its own, by its place");
    assert_eq!((uploads[0].0.subject.as_str(), uploads[0].0.request_id.as_str()), ("anonymous", "req-1"));
    assert!(uploads.iter().all(|(caller, _)| caller.access.as_ref().is_some_and(|access| access.all_groups)));
}
