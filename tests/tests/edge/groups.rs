//! Documents for groups: on every surface a caller sees what is for everyone and for the caller's groups, and nothing else; a key that
//! is taken back stops working.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ragstone_core::Scope;
use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};

use crate::world::{ALL, api_key, channel, client, found, grpc, ingest, mcp, stack, token};

/// Documents, and which groups may read them.
const DOCUMENTS: [(&str, &[&str]); 4] =
    [("open", &[]), ("red", &["red"]), ("blue", &["blue"]), ("both", &["red", "blue"])];

async fn load(writer: &Client) {
    for (id, groups) in DOCUMENTS {
        let text = format!("The lantern {id}word stands in the harbour.");
        ingest(writer, id, json!({ "text": text, "groups": groups, "metadata": { "name": id } })).await;
    }
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Which documents a text tells something of.
fn told(said: &str) -> BTreeSet<String> {
    DOCUMENTS.iter().map(|(id, _)| (*id).to_owned()).filter(|id| said.contains(&format!("{id}word"))).collect()
}

/// Checks each surface for a caller who may read exactly `readable`.
async fn check(client: &Client, readable: &BTreeSet<String>, who: &str) {
    for mode in ["hybrid", "dense", "keyword"] {
        let search = json!({ "query": "lantern harbour", "k": 50, "mode": mode });
        assert_eq!(&found(client, &search).await, readable, "{who}: search {mode}");
    }
    let question = "Where does the lantern stand?";
    let model =
        json!({ "model": "ragstone", "input": question, "messages": [{ "role": "user", "content": question }] });
    for (path, body) in [
        ("/v1/query", json!({ "query": question, "k": 50 })),
        ("/v1/vector_stores/ragstone/search", json!({ "query": question, "max_num_results": 50 })),
    ] {
        let answer = client.post(path, &body).await.unwrap().expect_status(200).unwrap();
        assert_eq!(&told(&answer.to_string()), readable, "{who}: {path}");
    }
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let mut body = model.clone();
        body.as_object_mut().unwrap().remove(if path.ends_with("responses") { "messages" } else { "input" });
        let answer = client.post(path, &body).await.unwrap().expect_status(200).unwrap();
        assert!(told(&answer.to_string()).is_subset(readable), "{who}: {path}: {answer}");
    }
    let list = client.get("/v1/documents").await.unwrap().expect_status(200).unwrap();
    let ids = list["items"].as_array().unwrap().iter().map(|item| item["document_id"].as_str().unwrap().to_owned());
    assert_eq!(&ids.collect::<BTreeSet<_>>(), readable, "{who}: list");
    for (id, _) in DOCUMENTS {
        let expected = if readable.contains(id) { 200 } else { 404 };
        for path in ["", "/text", "/history"] {
            let answer = client.get(&format!("/v1/documents/{id}{path}")).await.unwrap();
            assert_eq!(answer.status, expected, "{who}: {id}{path}: {}", answer.body);
        }
        let read = mcp(client, "resources/read", json!({ "uri": format!("ragstone://documents/{id}") })).await;
        assert_eq!(read.body["result"].is_object(), readable.contains(id), "{who}: {read:?}");
    }
    let listed = mcp(client, "resources/list", json!({})).await.body;
    assert_eq!(listed["result"]["resources"].as_array().unwrap().len(), readable.len(), "{who}: {listed}");
    let search = json!({ "name": "search", "arguments": { "query": "lantern", "k": 50 } });
    assert_eq!(&told(&mcp(client, "tools/call", search).await.body.to_string()), readable, "{who}: MCP");
    let jobs = client.get("/v1/jobs").await.unwrap().expect_status(200).unwrap();
    let of = |job: &Value| job["document_id"].as_str().unwrap().to_owned();
    let jobs: BTreeSet<String> = jobs["items"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(&jobs, readable, "{who}: jobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_for_a_callers_groups_is_shown() {
    let stack = stack(&[]).await;
    let admin = client(&stack, &token("acme", "root", &ALL, &["red", "blue"]));
    load(&admin).await;
    let channel = channel(&stack.url()).await;
    for (groups, readable) in [
        (&["red"][..], set(&["open", "red", "both"])),
        (&["blue"], set(&["open", "blue", "both"])),
        (&[], set(&["open"])),
        (&["Red", "*", "red blue"], set(&["open"])),
        (&["red", "blue"], set(&["open", "red", "blue", "both"])),
    ] {
        let token = token("acme", "reader", &[Scope::Query], groups);
        check(&client(&stack, &token), &readable, &format!("{groups:?}")).await;
        let mut grpc = grpc(&channel, &token);
        let search = v1::SearchRequest { query: "lantern".to_owned(), k: 50, ..Default::default() };
        let hits = grpc.search(search).await.unwrap().into_inner().hits;
        assert_eq!(hits.into_iter().map(|hit| hit.document_id).collect::<BTreeSet<_>>(), readable, "{groups:?}: gRPC");
        let list = grpc.list_documents(v1::ListDocumentsRequest::default()).await.unwrap().into_inner().documents;
        assert_eq!(list.into_iter().map(|one| one.document_id).collect::<BTreeSet<_>>(), readable, "{groups:?}: gRPC");
        for (id, _) in DOCUMENTS {
            let request = v1::GetDocumentRequest { document_id: id.to_owned() };
            assert_eq!(grpc.get_document(request).await.is_ok(), readable.contains(id), "{groups:?}: gRPC {id}");
        }
    }
    // Keys: with groups, with all of them, with none.
    for (wanted, readable) in [
        (json!({ "subject": "k", "scopes": ["query"], "groups": ["red"] }), set(&["open", "red", "both"])),
        (json!({ "subject": "k", "scopes": ["query"], "all_groups": true }), set(&["open", "red", "blue", "both"])),
        (json!({ "subject": "k", "scopes": ["query"] }), set(&["open"])),
    ] {
        let key = api_key(&admin, &wanted).await;
        check(&client(&stack, key["key"].as_str().unwrap()), &readable, &wanted.to_string()).await;
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_by_words_alone_keeps_to_groups_when_the_store_is_away() {
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    stack.require_authentication();
    stack.run().await.unwrap();
    load(&client(&stack, &token("acme", "root", &ALL, &["red", "blue"]))).await;
    stack.process("retrieval").unwrap().kill().await.unwrap();
    let reader = client(&stack, &token("acme", "reader", &[Scope::Query], &["red"]));
    let search = json!({ "query": "lantern harbour", "k": 50 });
    let answer = reader.post("/v1/search", &search).await.unwrap().expect_status(200).unwrap();
    assert_eq!(answer["degraded"], json!(["retrieval.keyword_fallback"]), "{answer}");
    assert_eq!(told(&answer["hits"].to_string()), set(&["open", "red", "both"]), "{answer}");
    let stranger = client(&stack, &token("other", "reader", &[Scope::Query], &["red"]));
    let answer = stranger.post("/v1/search", &search).await.unwrap().expect_status(200).unwrap();
    assert_eq!(answer["hits"], json!([]), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_back_stops_working_within_a_second() {
    let stack = stack(&[]).await;
    let admin = client(&stack, &token("acme", "root", &ALL, &[]));
    let key = api_key(&admin, &json!({ "subject": "build", "scopes": ["query"] })).await;
    let bearer = client(&stack, key["key"].as_str().unwrap());
    bearer.get("/v1/documents").await.unwrap().expect_status(200).unwrap();
    // Its secret is shown once; neither the list nor the log has it.
    let secret = key["key"].as_str().unwrap().rsplit('_').next().unwrap();
    for path in ["/v1/admin/keys", "/v1/admin/audit"] {
        let said = admin.get(path).await.unwrap().expect_status(200).unwrap().to_string();
        assert!(said.contains(key["id"].as_str().unwrap()) && !said.contains(secret), "{path}: {said}");
    }
    let path = format!("/v1/admin/keys/{}", key["id"].as_str().unwrap());
    admin.call(reqwest::Method::DELETE, &path).await.unwrap().expect_status(200).unwrap();
    let revoked = Instant::now();
    loop {
        let status = bearer.get("/v1/documents").await.unwrap().status;
        // The second, and what a busy machine takes for one request; unless configured it would be five.
        assert!(revoked.elapsed() < Duration::from_secs(4), "the key still works");
        if status == 401 {
            break;
        }
        assert_eq!(status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stack.stop().await.unwrap();
}
