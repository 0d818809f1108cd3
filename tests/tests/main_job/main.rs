//! The main job, end to end, in both forms: documents of every format in, grounded and cited answers out.
#![expect(clippy::unwrap_used, reason = "tests")]

mod formats;

use ragstone_proto::v1;
use ragstone_proto::v1::rag_service_client::RagServiceClient;
use ragstone_testkit::client::Client;
use ragstone_testkit::stack::{Form, Stack};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one() {
    main_job(Form::AllInOne).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes() {
    main_job(Form::FiveProcesses).await;
}

async fn main_job(form: Form) {
    let stack = Stack::start(form).await.unwrap();
    let client = stack.client();
    every_format_is_found(&client).await;
    answers_are_grounded_and_cited(&client).await;
    streams_tell_the_same(&client).await;
    the_grpc_edge_tells_the_same(&stack).await;
    versions_replace_each_other(&client).await;
    filters_choose(&client).await;
    what_is_deleted_is_gone(&client).await;
    bad_input_is_named(&client).await;
    metrics_are_there(&stack).await;
    stack.stop().await.unwrap();
}

async fn search(client: &Client, body: Value) -> Vec<Value> {
    let found = client.post("/v1/search", &body).await.unwrap().expect_status(200).unwrap();
    assert_eq!(found["degraded"], json!([]), "{found}");
    assert_eq!(found["shards"]["asked"], found["shards"]["answered"], "{found}");
    found["hits"].as_array().unwrap().clone()
}

async fn every_format_is_found(client: &Client) {
    for format in formats::all() {
        let job = client.ingest(&format.id, format.content_type, format.body.clone()).await.unwrap();
        assert_eq!(job["document_id"], format.id.as_str());
        for mode in ["hybrid", "dense", "keyword"] {
            let hits = search(client, json!({"query": format.question, "k": 3, "mode": mode})).await;
            assert_eq!(hits[0]["document_id"], format.id.as_str(), "{mode}: {hits:#?}");
            assert!(hits[0]["content"].as_str().unwrap().contains(format.fact), "{mode}: {hits:#?}");
        }
        let document = client.get(&format!("/v1/documents/{}", format.id)).await.unwrap().expect_status(200).unwrap();
        assert_eq!((&document["status"], &document["version"]), (&json!("ready"), &json!(1)), "{document}");
        assert!(document["chunks"].as_u64().unwrap() >= 1, "{document}");
    }
    let listed = client.get("/v1/documents?limit=4").await.unwrap().expect_status(200).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = client.get(&format!("/v1/documents?limit=4&cursor={cursor}")).await.unwrap().expect_status(200).unwrap();
    assert_eq!(rest["items"].as_array().unwrap().len(), formats::all().len() - 4);
    assert_eq!(rest["next_cursor"], Value::Null);
}

async fn answers_are_grounded_and_cited(client: &Client) {
    for format in formats::all() {
        let answer =
            client.post("/v1/query", &json!({"query": format.question})).await.unwrap().expect_status(200).unwrap();
        assert!(answer["answer"].as_str().unwrap().contains(format.fact), "{answer:#}");
        let citation = &answer["citations"][0];
        assert_eq!(citation["document_id"], format.id.as_str(), "{answer:#}");
        let context = &answer["contexts"][usize::try_from(citation["marker"].as_u64().unwrap()).unwrap() - 1];
        assert_eq!(context["document_id"], citation["document_id"]);
        assert!(context["content"].as_str().unwrap().contains(citation["quote"].as_str().unwrap()), "{answer:#}");
        assert_eq!((&answer["degraded"], &answer["sources_complete"]), (&json!([]), &json!(true)));
        assert_eq!((&answer["model"], &answer["cache"]), (&json!("extractive"), &json!("miss")));
        assert_eq!(answer["trace_id"].as_str().unwrap().len(), 32);
    }
}

async fn streams_tell_the_same(client: &Client) {
    let question = json!({"query": formats::all()[0].question, "stream": true});
    let response = client.http().post(client.url("/v1/query")).json(&question).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let text = response.text().await.unwrap();
    let events: Vec<(&str, Value)> = text
        .split("\n\n")
        .filter(|block| block.starts_with("event:"))
        .map(|block| {
            let (name, data) = block.split_once('\n').unwrap();
            let data = serde_json::from_str(data.trim_start_matches("data:")).unwrap();
            (name.trim_start_matches("event:").trim(), data)
        })
        .collect();
    assert_eq!(events.first().unwrap().0, "contexts");
    assert_eq!(events.last().unwrap().0, "done");
    let streamed: String =
        events.iter().filter(|(name, _)| *name == "delta").map(|(_, data)| data["text"].as_str().unwrap()).collect();
    let done = &events.last().unwrap().1;
    assert_eq!(streamed.trim(), done["answer"].as_str().unwrap().trim());
    assert_eq!(events[0].1["contexts"], done["contexts"]);
}

async fn the_grpc_edge_tells_the_same(stack: &Stack) {
    let mut edge = RagServiceClient::connect(stack.url()).await.unwrap();
    let query = formats::all()[1].question.to_owned();
    let rest = stack.client().post("/v1/query", &json!({"query": query})).await.unwrap().expect_status(200).unwrap();
    let grpc = edge.query(v1::QueryRequest { query, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(rest["answer"], grpc.answer.as_str());
    assert_eq!(rest["citations"][0]["document_id"], grpc.citations[0].document_id.as_str());
    let missing = edge.get_document(v1::GetDocumentRequest { document_id: "none".into() }).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
}

async fn versions_replace_each_other(client: &Client) {
    let first = "The lighthouse of Varnholm was painted green in the year 1871.";
    let second = "The lighthouse of Varnholm was painted orange in the year 1999.";
    client.ingest("lighthouse", "text/plain", first).await.unwrap();
    let again = client.put_document("lighthouse", "text/plain", first).await.unwrap();
    assert_eq!((&again["unchanged"], &again["version"]), (&json!(true), &json!(1)), "{again}");
    let job = client.ingest("lighthouse", "text/plain", second).await.unwrap();
    assert_eq!(job["version"], 2);
    let hits = search(client, json!({"query": "What colour is the lighthouse of Varnholm?", "k": 10})).await;
    let own: Vec<_> = hits.iter().filter(|hit| hit["document_id"] == "lighthouse").collect();
    assert_eq!(own.len(), 1, "{own:#?}");
    assert_eq!((&own[0]["version"], own[0]["content"].as_str().unwrap()), (&json!(2), second));
    let stale = client.http().put(client.url("/v1/documents/lighthouse")).header("if-match", "\"1\"");
    let stale = client.send(stale.header("content-type", "text/plain").body("x")).await.unwrap();
    stale.expect_status(409).unwrap();
    let history = client.get("/v1/documents/lighthouse/history").await.unwrap().expect_status(200).unwrap();
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "{history}");
}

async fn filters_choose(client: &Client) {
    for (id, year) in [("report-2019", 2019), ("report-2023", 2023)] {
        let body =
            json!({"text": "The annual report of the harbour office names its income.", "metadata": {"year": year}});
        client.ingest(id, "application/json", body.to_string()).await.unwrap();
    }
    for (filter, expected) in [
        (json!({"must": [{"key": "metadata.year", "gte": 2020}]}), "report-2023"),
        (json!({"must": [{"key": "metadata.year", "match": 2019}]}), "report-2019"),
        (
            json!({"must_not": [{"key": "metadata.year", "lt": 2020}], "must": [{"key": "metadata.year", "gt": 0}]}),
            "report-2023",
        ),
    ] {
        let query = json!({"query": "income of the harbour office", "filter": filter, "k": 10});
        let hits = search(client, query).await;
        let ids: Vec<_> = hits.iter().map(|hit| hit["document_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [expected], "{filter}");
    }
}

async fn what_is_deleted_is_gone(client: &Client) {
    let deleted = client.call(Method::DELETE, "/v1/documents/lighthouse").await.unwrap().expect_status(202).unwrap();
    let job = client.finished_job(deleted["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(job["status"], "done");
    let hits = search(client, json!({"query": "lighthouse of Varnholm", "k": 20})).await;
    assert!(hits.iter().all(|hit| hit["document_id"] != "lighthouse"), "{hits:#?}");
    client.call(Method::DELETE, "/v1/documents/lighthouse").await.unwrap().expect_status(404).unwrap();
    // Written again, it goes on counting: a version is never used twice.
    let job = client.ingest("lighthouse", "text/plain", "The lighthouse of Varnholm is back.").await.unwrap();
    assert_eq!(job["version"], 4, "{job}");
}

async fn bad_input_is_named(client: &Client) {
    for (body, status, says) in [
        (json!({"query": ""}), 400, "query"),
        (json!({"query": "x".repeat(1001)}), 400, "1000"),
        (json!({"query": "x", "k": 0}), 400, "k"),
        (json!({"query": "x", "colour": 1}), 400, "colour"),
        (json!({"query": "x", "filter": {"must": [{"key": "tenant", "match": "y"}]}}), 400, "tenant"),
    ] {
        let problem = client.post("/v1/query", &body).await.unwrap().expect_status(status).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
        assert!(problem["trace_id"].is_string() && problem["code"].is_string(), "{problem}");
    }
    let upload = |kind: &'static str, body: &'static [u8]| {
        client.send(client.http().put(client.url("/v1/documents/bad")).header("content-type", kind).body(body))
    };
    upload("image/png", b"x").await.unwrap().expect_status(415).unwrap();
    upload("application/json", b"{\"txt\":1}").await.unwrap().expect_status(400).unwrap();
    client.get("/v1/documents/never-seen").await.unwrap().expect_status(404).unwrap();
    client.get("/v1/jobs/nonsense").await.unwrap().expect_status(404).unwrap();
    client.get("/v1/nowhere").await.unwrap().expect_status(404).unwrap();
    // A PDF that is none is accepted like any other body; its job says what is wrong with it.
    let accepted = client.put_document("broken", "application/pdf", "this is no PDF").await.unwrap();
    let job = client.finished_job(accepted["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(job["status"], "failed", "{job}");
    assert!(!job["error"].as_str().unwrap().is_empty(), "{job}");
}

async fn metrics_are_there(stack: &Stack) {
    let mut text = String::new();
    for service in ["gateway", "retrieval", "embedding", "generation", "ingestion"] {
        if let Ok(answer) = reqwest::get(format!("{}/metrics", stack.admin_url(service))).await {
            text.push_str(&answer.text().await.unwrap());
        }
    }
    for name in [
        "rag_queries_total",
        "rag_query_duration_seconds",
        "rag_retrieval_latency_seconds",
        "rag_embedding_latency_seconds",
        "rag_llm_latency_seconds",
        "rag_llm_first_token_seconds",
        "rag_tokens_total",
        "rag_ingest_documents_total",
        "rag_ingest_stage_seconds",
        "rag_ingest_jobs",
        "rag_inflight",
    ] {
        assert!(text.contains(name), "{name} is missing");
    }
}
