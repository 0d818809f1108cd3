//! Documents that are sent as an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use ragstone_gateway::FetchConfig;
use ragstone_proto::metadata_from_struct;
use ragstone_proto::v1::put_document_request::Part;
use ragstone_proto::v1::{DocumentHeader, PutDocumentRequest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ingestion::Stored;
use crate::stack::{Stack, json, problem, telemetry};

/// A web server with one page; its address, and how often it was asked.
async fn web() -> (u16, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    let page = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { ([("content-type", "text/html; charset=utf-8")], "<p>Hello</p>") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router =
        Router::new().route("/page", get(page)).route("/image", get(|| async { [("content-type", "image/png")] }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, hits)
}

async fn stack(port: u16) -> Stack {
    let allowed_networks = vec!["127.0.0.0/8".to_owned()];
    let fetch = FetchConfig { enabled: true, allowed_networks, allowed_ports: vec![port], ..FetchConfig::default() };
    Stack::with(|config| config.fetch = fetch).await
}

fn metadata(stored: &Stored) -> Value {
    stored.header.metadata.clone().map(metadata_from_struct).unwrap_or_default().into()
}

#[tokio::test]
async fn by_default_nothing_is_fetched() {
    let (port, hits) = web().await;
    let stack = Stack::start().await;
    let document = json!({"url": format!("http://127.0.0.1:{port}/page")});
    let put = stack.request(Method::PUT, "/v1/documents/d").json(&document).send().await.unwrap();
    let refused = problem(put, 422, "unprocessable").await;
    assert!(refused["detail"].as_str().unwrap().contains("gateway.fetch.enabled"), "{refused}");
    problem(stack.post("/v1/documents", &document).await, 422, "unprocessable").await;
    let batch = json(stack.post("/v1/documents", &json!([document, {"text": "x"}])).await, 202).await;
    assert_eq!(batch["items"][0]["error"]["status"], 422, "{batch}");
    assert_eq!(batch["items"][1]["status"], "queued", "{batch}");
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert!(telemetry().metrics().render().contains("rag_fetch_total{outcome=\"disabled\"}"));
}

#[tokio::test]
async fn a_fetched_document_is_stored_like_any_other() {
    let (port, _) = web().await;
    let stack = stack(port).await;
    let url = format!("http://127.0.0.1:{port}/page?token=secret#part");
    let document = json!({"url": url, "title": "T", "metadata": {"lang": "en"}, "groups": ["staff"]});
    let put = stack.request(Method::PUT, "/v1/documents/d").json(&document).send().await.unwrap();
    assert_eq!(json(put, 202).await["document_id"], "d");
    let stored = stack.catalog.stored("d");
    assert_eq!((stored.header.media_type.as_str(), stored.body.as_slice()), ("text/html", &b"<p>Hello</p>"[..]));
    assert_eq!((stored.header.title.as_str(), stored.header.groups.as_slice()), ("T", &["staff".to_owned()][..]));
    let source = format!("http://127.0.0.1:{port}/page");
    assert_eq!(metadata(&stored), json!({"lang": "en", "source_url": source}));

    // Without an id, the same address is the same document; a source that the caller names stays.
    let document = json!({"url": url, "metadata": {"source_url": "mine"}});
    let first = json(stack.post("/v1/documents", &document).await, 202).await;
    let second = json(stack.post("/v1/documents", &document).await, 202).await;
    assert_eq!(first["document_id"], second["document_id"]);
    assert_eq!(second["unchanged"], true);
    let stored = stack.catalog.stored(first["document_id"].as_str().unwrap());
    assert_eq!((stored.header.title.as_str(), metadata(&stored)), ("", json!({"source_url": "mine"})));
}

#[tokio::test]
async fn what_cannot_be_fetched_is_an_error_of_its_own_and_stores_nothing() {
    let (port, _) = web().await;
    let stack = stack(port).await;
    let page = |path: &str| json!({"url": format!("http://127.0.0.1:{port}/{path}")});
    problem(stack.post("/v1/documents", &page("image")).await, 415, "unsupported_media_type").await;
    problem(stack.post("/v1/documents", &page("none")).await, 422, "unprocessable").await;
    let forbidden =
        [format!("http://10.0.0.1:{port}/"), format!("http://[::1]:{port}/"), "http://127.0.0.1/".to_owned()];
    for url in forbidden {
        problem(stack.post("/v1/documents", &json!({"url": url})).await, 422, "unprocessable").await;
    }
    for url in ["file:///etc/passwd", "http://u:p@127.0.0.1/", "nonsense"] {
        problem(stack.post("/v1/documents", &json!({"url": url})).await, 400, "invalid_argument").await;
    }
    assert!(stack.catalog.documents.lock().unwrap().is_empty());

    let batch = json!([page("page"), page("image"), {"id": "t", "text": "x"}, {"url": "file:///x"}]);
    let batch = json(stack.post("/v1/documents", &batch).await, 202).await;
    let status = |item: usize| batch["items"][item]["error"]["status"].clone();
    assert_eq!((status(0), status(1), status(2), status(3)), (Value::Null, json!(415), Value::Null, json!(400)));
    assert_eq!(stack.catalog.documents.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn nothing_is_fetched_for_a_document_that_should_be_there_and_is_not() {
    let (port, hits) = web().await;
    let stack = stack(port).await;
    let put = || {
        let document = json!({"url": format!("http://127.0.0.1:{port}/page")});
        stack.request(Method::PUT, "/v1/documents/d").header("if-match", "*").json(&document).send()
    };
    problem(put().await.unwrap(), 409, "conflict").await;
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    json(stack.put("d", "text/plain", "x").await, 202).await;
    json(put().await.unwrap(), 202).await;
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn grpc_takes_the_same_document() {
    let (port, _) = web().await;
    let stack = stack(port).await;
    let header = DocumentHeader {
        document_id: "d".to_owned(),
        media_type: "application/json".to_owned(),
        ..DocumentHeader::default()
    };
    let document = json!({"url": format!("http://127.0.0.1:{port}/page")}).to_string().into_bytes();
    let parts = [Part::Header(header), Part::Data(document)].map(|part| PutDocumentRequest { part: Some(part) });
    stack.grpc().put_document(futures::stream::iter(parts)).await.unwrap();
    assert_eq!(stack.catalog.stored("d").body, b"<p>Hello</p>");
}
