//! The naughty strings through every field that takes text: never a fault of the server's, and what is stored comes back as it was.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use http::HeaderValue;
use ragstone_core::Scope;
use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::world::{ALL, channel, client, evaluation_data, grpc, mcp, say, segment, stack, token};

/// Requests at once.
const AT_ONCE: usize = 8;

/// The strings; `None`, and a word about it, where they are not on this machine.
fn strings() -> Option<Vec<String>> {
    let strings: Vec<String> = evaluation_data("naughty strings", "security/blns.json")?;
    assert!(strings.len() > 400, "{}", strings.len());
    Some(strings)
}

/// What a request with one of the strings may be answered with, and what it was.
struct Outcome {
    what: String,
    status: u16,
    body: Value,
}

impl Outcome {
    fn is_fine(&self) -> bool {
        (200..500).contains(&self.status) && ![401, 403, 405].contains(&self.status)
    }
}

/// Sends one request; answers of any kind must be whole JSON or nothing.
async fn send(what: String, request: RequestBuilder) -> Outcome {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(json!("no JSON")) };
    Outcome { what, status, body }
}

/// Tries every string with `request`, several at once, and returns what came of each.
async fn all<F: Future<Output = Outcome>>(strings: &[String], request: impl Fn(usize, String) -> F) -> Vec<Outcome> {
    let requests = futures::stream::iter(strings.iter().cloned().enumerate()).map(|(n, text)| request(n, text));
    let outcomes: Vec<Outcome> = requests.buffered(AT_ONCE).collect().await;
    let bad = outcomes.iter().filter(|outcome| !outcome.is_fine() || outcome.body == "no JSON");
    let bad: Vec<String> =
        bad.map(|outcome| format!("{}: {} {}", outcome.what, outcome.status, outcome.body)).collect();
    assert!(bad.is_empty(), "{} are not as they should be:\n{}", bad.len(), bad.join("\n"));
    outcomes
}

/// Writes every string as title, metadata and text of a document, and reads it again.
async fn stored(client: &Client, strings: &[String]) {
    let document = |n: usize, text: &str| {
        json!({
            "id": format!("n{n}"), "text": format!("Begin{n} {text} End{n}"), "title": title(text),
            "metadata": { "value": text, "list": [text, n], "inner": { "value": text } },
        })
    };
    let all: Vec<Value> = strings.iter().enumerate().map(|(n, text)| document(n, text)).collect();
    let answer = client.post("/v1/documents", &json!(all)).await.unwrap().expect_status(202).unwrap();
    for (n, (item, text)) in answer["items"].as_array().unwrap().iter().zip(strings).enumerate() {
        let Some(job) = item["job_id"].as_str() else { panic!("{text:?}: {item}") };
        let job = client.finished_job(job).await.unwrap();
        assert_eq!(job["status"], "done", "{text:?}: {job}");
        let read = client.get(&format!("/v1/documents/n{n}")).await.unwrap().expect_status(200).unwrap();
        assert_eq!(read["title"], json!(title(text)));
        assert_eq!(read["metadata"], document(n, text)["metadata"]);
        let read = client.get(&format!("/v1/documents/n{n}/text")).await.unwrap().expect_status(200).unwrap();
        let chunks = read["chunks"].as_array().unwrap();
        let whole: String = chunks.iter().map(|chunk| chunk["content"].as_str().unwrap()).collect();
        assert_eq!(seen(&whole), seen(&format!("Begin{n} {text} End{n}")), "{text:?}");
        // The same value finds it, and only it and its equals.
        let only = json!({ "must": [{ "key": "metadata.value", "match": text }] });
        let search = json!({ "query": "Begin", "mode": "dense", "filter": only, "k": 100 });
        let hits = client.post("/v1/search", &search).await.unwrap().expect_status(200).unwrap();
        let found: BTreeSet<&str> =
            hits["hits"].as_array().unwrap().iter().map(|hit| hit["metadata"]["value"].as_str().unwrap()).collect();
        assert_eq!(found, BTreeSet::from([text.as_str()]), "{hits}");
    }
}

/// A title that is stored as it is: without control characters, which are refused, and without spaces around it.
fn title(text: &str) -> String {
    let allowed: String = text.chars().filter(|c| !c.is_control()).collect();
    allowed.trim().to_owned()
}

/// What is seen of a text: extraction may change spaces, and it takes away what nobody sees and could carry hidden orders.
fn seen(text: &str) -> String {
    let unseen = [
        ('\u{AD}', '\u{AD}'),
        ('\u{34F}', '\u{34F}'),
        ('\u{61C}', '\u{61C}'),
        ('\u{180B}', '\u{180F}'),
        ('\u{200B}', '\u{200F}'),
        ('\u{202A}', '\u{202E}'),
        ('\u{2060}', '\u{206F}'),
        ('\u{FE00}', '\u{FE0F}'),
        ('\u{FEFF}', '\u{FEFF}'),
        ('\u{FFF9}', '\u{FFFB}'),
        ('\u{1D173}', '\u{1D17A}'),
        ('\u{E0000}', '\u{E0FFF}'),
    ];
    let is_seen = |c: &char| {
        !c.is_whitespace() && !c.is_control() && !unseen.iter().any(|(first, last)| (first..=last).contains(&c))
    };
    text.chars().filter(is_seen).collect()
}

/// Every string as an id, in the path: what is taken is there under exactly this name.
async fn ids(client: &Client, strings: &[String]) -> usize {
    let put = all(strings, |_, text| {
        let path = format!("/v1/documents/{}", segment(&text));
        let request = client.http().put(client.url(&path)).header("content-type", "text/plain").body("An id.");
        send(format!("id {text:?}"), request)
    });
    let put = put.await;
    let mut taken = 0;
    for (outcome, text) in put.iter().zip(strings) {
        // The empty id is another route: the list.
        assert!([202, 400, 404].contains(&outcome.status) || text.is_empty(), "{}: {}", outcome.what, outcome.status);
        if outcome.status == 202 {
            taken += 1;
            assert_eq!(outcome.body["document_id"], json!(text));
            let read = client.get(&format!("/v1/documents/{}", segment(text))).await.unwrap();
            assert_eq!(read.expect_status(200).unwrap()["document_id"], json!(text));
        }
    }
    taken
}

/// Every string as a question, on every surface that takes one, and in what goes along with it.
async fn asked(client: &Client, strings: &[String]) {
    let post = |path: &'static str, body: fn(&str) -> Value| {
        all(strings, move |_, text| {
            send(format!("{path} {text:?}"), client.http().post(client.url(path)).json(&body(&text)))
        })
    };
    post("/v1/search", |text| json!({ "query": text, "k": 3 })).await;
    post("/v1/search", |text| json!({ "query": text, "k": 3, "mode": "keyword" })).await;
    post("/v1/search", |text| {
        json!({ "query": "x", "mode": "keyword", "filter": { "must_not": [{ "key": format!("metadata.{text}"), "match": text }] } })
    })
    .await;
    post("/v1/search", |text| {
        json!({ "query": "x", "mode": "keyword", "filter": { "should": [{ "key": "title", "match": [text, 1] }] } })
    })
    .await;
    post("/v1/search", |text| json!({ "query": "x", "mode": text })).await;
    post("/v1/query", |text| json!({ "query": text, "mode": "keyword" })).await;
    post("/v1/chat/completions", |text| {
        json!({ "model": "ragstone", "messages": [{ "role": "system", "content": text }, { "role": "user", "content": text }] })
    })
    .await;
    post("/v1/responses", |text| json!({ "model": text, "input": text, "metadata": { "key": text } })).await;
    post(
        "/v1/vector_stores/ragstone/search",
        |text| json!({ "query": text, "filters": { "type": "eq", "key": "value", "value": text } }),
    )
    .await;
    all(strings, |_, text| async move {
        let arguments = json!({ "query": text, "mode": "keyword" });
        let answer = mcp(client, "tools/call", json!({ "name": "search", "arguments": arguments })).await;
        let uri = format!("ragstone://documents/{text}");
        let read = mcp(client, "resources/read", json!({ "uri": uri })).await;
        let status = answer.status.as_u16().max(read.status.as_u16());
        let body = json!([answer.body, read.body]);
        assert!(!body.to_string().contains("\"internal\""), "MCP {text:?}: {body}");
        Outcome { what: format!("MCP {text:?}"), status, body }
    })
    .await;
}

/// Every string in what else is stored, and in paths and parameters.
async fn elsewhere(client: &Client, strings: &[String], query_id: &str) {
    all(strings, |_, text| {
        let body = json!({ "query_id": query_id, "rating": "up", "comment": text });
        send(format!("comment {text:?}"), client.http().post(client.url("/v1/feedback")).json(&body))
    })
    .await;
    let subjects = all(strings, |_, text| {
        let body = json!({ "subject": text, "scopes": ["query"], "groups": [text] });
        send(format!("subject {text:?}"), client.http().post(client.url("/v1/admin/keys")).json(&body))
    });
    for (outcome, text) in subjects.await.iter().zip(strings).filter(|(outcome, _)| outcome.status == 201) {
        assert_eq!((&outcome.body["subject"], &outcome.body["groups"]), (&json!(text), &json!([text])));
    }
    all(strings, |n, text| {
        let body = json!({ "text": "Groups and keys.", "groups": [text], "metadata": { text.as_str(): n } });
        send(format!("group {text:?}"), client.http().put(client.url(&format!("/v1/documents/g{n}"))).json(&body))
    })
    .await;
    for path in
        ["/v1/documents?cursor=", "/v1/documents?status=", "/v1/jobs?cursor=", "/v1/admin/audit?subject=", "/v1/jobs/"]
    {
        all(strings, |_, text| {
            send(format!("{path} {text:?}"), client.http().get(client.url(&format!("{path}{}", segment(&text)))))
        })
        .await;
    }
    all(strings, |_, text| {
        let request = client.http().delete(client.url(&format!("/v1/admin/keys/{}", segment(&text))));
        // Without an id it is another route, which takes no DELETE.
        async move {
            let outcome = send(format!("key {text:?}"), request).await;
            Outcome { status: if text.is_empty() { 404 } else { outcome.status }, ..outcome }
        }
    })
    .await;
}

/// Every string that can be part of a header at all: it neither breaks anything nor becomes a header of the answer.
async fn headers(client: &Client, nobody: &Client, strings: &[String]) -> usize {
    let legal: Vec<String> =
        strings.iter().filter(|text| HeaderValue::from_bytes(text.as_bytes()).is_ok()).cloned().collect();
    let usual = client.http().get(client.url("/v1/status")).send().await.unwrap();
    let usual: BTreeSet<String> = usual.headers().keys().map(ToString::to_string).collect();
    for name in ["x-request-id", "traceparent", "x-forwarded-for", "origin", "accept-language", "content-type", "host"]
    {
        let calls = futures::stream::iter(&legal).map(async |text: &String| {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let request = nobody.http().get(nobody.url("/v1/status")).header(name, value);
            let response = request.send().await.unwrap();
            assert!(response.status().as_u16() < 500, "{name} {text:?}: {response:?}");
            let new = response.headers().keys().map(ToString::to_string).filter(|name| !usual.contains(name));
            let new: Vec<String> = new.filter(|name| !name.starts_with("access-control") && name != "vary").collect();
            assert!(new.is_empty() || response.status() != 200, "{name} {text:?}: {new:?}");
        });
        calls.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
    for name in ["authorization", "x-api-key"] {
        for text in &legal {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let response = nobody.http().get(nobody.url("/v1/documents")).header(name, value).send().await.unwrap();
            assert!([400, 401].contains(&response.status().as_u16()), "{name} {text:?}: {response:?}");
        }
    }
    for name in ["idempotency-key", "if-match", "if-none-match", "content-encoding"] {
        all(&legal, |_, text| {
            let request = client.http().request(Method::PUT, client.url("/v1/documents/h"));
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let request = request.header(name, value).header("content-type", "text/plain").body("A header.");
            send(format!("{name} {text:?}"), request)
        })
        .await;
    }
    legal.len()
}

/// Every string as the name of a caller and of a group in a token: let in under that name, or refused.
async fn tokens(nobody: &Client, strings: &[String]) {
    let calls = futures::stream::iter(strings).map(async |text: &String| {
        let token = token("acme", text, &[Scope::Query], &[text]);
        let status = nobody.http().get(nobody.url("/v1/documents")).bearer_auth(token).send().await.unwrap().status();
        assert!(status == 200 || status == 401, "{text:?}: {status}");
        // What is wrong with a name is seen at once.
        let usual = !text.is_empty() && text.is_ascii() && !text.contains(|c: char| c.is_control());
        assert!(status == 200 || !usual || text.trim() != text || text.len() > 200, "{text:?}: {status}");
    });
    calls.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_string_is_too_naughty() {
    let Some(strings) = strings() else { return };
    let stack = stack(&[]).await;
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    stored(&ada, &strings).await;
    let question = json!({ "query": "Begin1", "mode": "keyword" });
    let answer = ada.post("/v1/query", &question).await.unwrap().expect_status(200).unwrap();
    asked(&ada, &strings).await;
    elsewhere(&ada, &strings, answer["query_id"].as_str().unwrap()).await;
    tokens(&stack.client(), &strings).await;
    let legal = headers(&ada, &stack.client(), &strings).await;
    let taken = ids(&client(&stack, &token("ids", "ada", &ALL, &[])), &strings).await;
    let mut rpc = grpc(&channel(&stack.url()).await, &token("acme", "ada", &[Scope::Query], &[]));
    for text in &strings {
        let request =
            v1::SearchRequest { query: text.clone(), mode: v1::SearchMode::Keyword.into(), ..Default::default() };
        if let Err(status) = rpc.search(request).await {
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text:?}: {status}");
        }
    }
    say(&format!("naughty strings: {} in every field, {taken} as ids, {legal} as headers", strings.len()));
    stack.stop().await.unwrap();
}
