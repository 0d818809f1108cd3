//! A language model in front, through the whole product: streaming, citations, and what happens when it fails.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};

const FACT: &str = "The observatory of Lindqvist was opened in 1932.";
const QUESTION: &str = "When was the observatory of Lindqvist opened?";

async fn stack_with(model: &FakeOpenAi) -> Stack {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.env("OPENAI_BASE_URL", &model.base_url());
    stack.env("OPENAI_API_KEY", "secret-key");
    stack.run().await.unwrap();
    stack.client().ingest("observatory", "text/plain", FACT).await.unwrap();
    stack
}

async fn ask(stack: &Stack) -> Value {
    stack.client().post("/v1/query", &json!({"query": QUESTION})).await.unwrap().expect_status(200).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_and_what_it_cites_exists() {
    let model = FakeOpenAi::start([Behaviour::answer("It was opened in 1932 [1], they say [7].")]).await.unwrap();
    let stack = stack_with(&model).await;
    let answer = ask(&stack).await;
    assert_eq!(answer["answer"], "It was opened in 1932 [1], they say.");
    assert_eq!(answer["citations"][0]["quote"], FACT);
    assert_eq!((&answer["degraded"], answer["citations"].as_array().unwrap().len()), (&json!([]), 1));
    let seen = model.seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer secret-key");
    let prompt = seen[0].body["messages"].to_string();
    assert!(prompt.contains(FACT) && prompt.contains(QUESTION), "{prompt}");
    stack.stop().await.unwrap();
}

/// The text of all deltas that have arrived.
fn written(events: &str) -> String {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: {\"text\":"));
    data.filter_map(|text| serde_json::from_str::<String>(text.strip_suffix('}')?).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_words_arrive_while_the_model_is_still_writing() {
    // The model stalls after its first words: they must reach the client all the same.
    let model = FakeOpenAi::start([Behaviour::Stall(vec!["It was opened ".into(), "in 1932 ".into()])]).await.unwrap();
    let stack = stack_with(&model).await;
    let client = stack.client();
    let question = json!({"query": QUESTION, "stream": true});
    let mut response = client.http().post(client.url("/v1/query")).json(&question).send().await.unwrap();
    let mut text = String::new();
    let first_words = async {
        // Where the pieces are cut is not said: the end of each may wait for what follows.
        while !written(&text).starts_with("It was opened") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(5), first_words).await;
    assert!(arrived.is_ok(), "{text}");
    // The client leaves, and the model's server sees it.
    drop(response);
    tokio::time::timeout(Duration::from_secs(5), model.cancelled(1)).await.unwrap();
    // The passages were shown, so the audit log names them.
    let noted = async {
        loop {
            let log = client.get("/v1/admin/audit?action=answer").await.unwrap().expect_status(200).unwrap();
            if let Some(entry) = log["items"].get(0) {
                return entry["documents"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(10), noted).await.unwrap();
    assert_eq!(read, json!([{"document_id": "observatory", "version": 1}]));
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_model_fails_the_documents_own_sentences_stand_in() {
    let model = FakeOpenAi::start([Behaviour::refuse(500)]).await.unwrap();
    let stack = stack_with(&model).await;
    let answer = ask(&stack).await;
    assert!(answer["answer"].as_str().unwrap().contains(FACT), "{answer}");
    assert_eq!((&answer["degraded"], &answer["model"]), (&json!(["generation.extractive"]), &json!("extractive")));
    let metrics = reqwest::get(format!("{}/metrics", stack.admin_url("gateway"))).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("rag_degraded_total{code=\"generation.extractive\"} 1"), "{metrics}");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_the_service_stops_is_answered_on_every_surface() {
    let late = Behaviour::Late(Duration::from_secs(2), Box::new(Behaviour::answer("It was opened in 1932 [1].")));
    let model = FakeOpenAi::start([late]).await.unwrap();
    let mut stack = stack_with(&model).await;
    let client = stack.client();
    let arguments = json!({"name": "ask", "arguments": {"question": QUESTION}});
    let mcp = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments});
    let chat = json!({"model": "ragstone", "messages": [{"role": "user", "content": QUESTION}]});
    let calls = [("/v1/query", json!({"query": QUESTION})), ("/v1/chat/completions", chat), ("/mcp", mcp)];
    let calls: Vec<_> = calls
        .into_iter()
        .map(|(path, body)| {
            let request = client.http().post(client.url(path)).json(&body);
            let request = request.header("accept", "application/json, text/event-stream");
            tokio::spawn(async move { (path, request.send().await.unwrap().text().await.unwrap()) })
        })
        .collect();
    // Until the model has all three.
    while model.seen().len() < calls.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stopped = stack.process("up").unwrap().terminate().await.unwrap();
    for call in calls {
        let (path, answer) = call.await.unwrap();
        assert!(answer.contains("It was opened in 1932"), "{path}: {answer}");
    }
    assert!(stopped.success(), "{stopped}");
}
