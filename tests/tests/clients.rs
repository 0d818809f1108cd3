//! Clients that people have already: OpenAI's and MCP's own SDKs against a live gateway, and Server-Sent Events through nginx.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use ragstone_auth::{DevelopmentToken, JwtConfig};
use ragstone_core::{Scope, TenantId};
use ragstone_testkit::client::Client;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};
use ragstone_testkit::nginx::Nginx;
use ragstone_testkit::stack::{Form, SECRET, Stack};
use serde_json::json;
use tokio::process::Command;

/// What the scripts of `tests/clients` ask about.
async fn load(client: &Client) {
    let bell = json!({
        "text": "# Nordhafen\n\nThe bell of Nordhafen was cast in 1612 by Marta Quist.\n\nIt still rings at noon.",
        "content_type": "text/markdown", "title": "The bell", "metadata": { "town": "Nordhafen" },
    });
    let gate = json!({ "text": "The gate of Sudhafen opens at dawn.", "metadata": { "town": "Sudhafen" } });
    for (id, document) in [("bell", bell), ("gate", gate)] {
        client.ingest(id, "application/json", document.to_string()).await.unwrap();
    }
}

/// Runs one of the scripts to its end.
async fn run(script: &str, stack: &Stack, token: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../.cache/test-clients/bin/python");
    assert!(python.is_file(), "scripts/test-python.sh installs the SDKs");
    let output = Command::new(python)
        .arg(root.join("clients").join(script))
        .args([stack.url().as_str(), token])
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_of_openai_and_mcp_work_as_they_are() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    load(&stack.client()).await;
    run("openai_sdk.py", &stack, "none").await;
    run("mcp_sdk.py", &stack, "none").await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_work_with_an_api_key() {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.require_authentication();
    stack.run().await.unwrap();
    let config = JwtConfig { hs256_secret: SECRET.into(), ..JwtConfig::default() };
    let token = DevelopmentToken {
        subject: "root".to_owned(),
        tenant: TenantId::new("acme").unwrap(),
        scopes: BTreeSet::from([Scope::Admin, Scope::Ingest, Scope::Query]),
        groups: Vec::new(),
        ttl: Duration::from_secs(600),
    };
    let admin = stack.client().with_token(token.sign(&config).unwrap().expose()).unwrap();
    load(&admin).await;
    let key = json!({ "subject": "sdk", "scopes": ["query"] });
    let key = admin.post("/v1/admin/keys", &key).await.unwrap().expect_status(201).unwrap();
    for script in ["openai_sdk.py", "mcp_sdk.py"] {
        run(script, &stack, key["key"].as_str().unwrap()).await;
    }
    stack.stop().await.unwrap();
}

/// What came of a stream until `seen` says that it is enough.
async fn read_until(response: reqwest::Response, seen: impl Fn(&str) -> bool) -> String {
    let (mut text, mut bytes) = (String::new(), response.bytes_stream());
    let reading = async {
        while !seen(&text) {
            let piece = bytes.next().await.expect("the stream has ended").unwrap();
            text.push_str(&String::from_utf8_lossy(&piece));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pass_through_nginx_as_they_are_written() {
    // The model says this little and then nothing more.
    let model = FakeOpenAi::start([Behaviour::Stall(vec!["Marta Quist ".into(), "cast it ".into()])]).await.unwrap();
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.env("OPENAI_BASE_URL", &model.base_url());
    stack.env("OPENAI_API_KEY", "key");
    stack.run().await.unwrap();
    let nginx = Nginx::start(&stack.url()).await.unwrap();
    let client = Client::new(&nginx.url);
    load(&client).await;

    let question = json!({ "query": "Who cast the bell?", "stream": true });
    let response = client.http().post(client.url("/v1/query")).json(&question).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = read_until(response, |text| text.contains("\"text\":\"Marta")).await;
    assert!(text.starts_with("event: contexts"), "{text}");
    tokio::time::timeout(Duration::from_secs(10), model.cancelled(1)).await.expect("a client that leaves is noticed");

    let chat =
        json!({ "model": "ragstone", "stream": true, "messages": [{ "role": "user", "content": "Who cast it?" }] });
    let response = client.http().post(client.url("/v1/chat/completions")).json(&chat).send().await.unwrap();
    read_until(response, |text| text.contains("\"content\":\"Marta")).await;

    // Jobs, and an answer to its end.
    model.script([Behaviour::answer("Marta Quist [1].")]);
    let response = client.http().post(client.url("/v1/query")).json(&question).send().await.unwrap();
    read_until(response, |text| text.contains("event: done")).await;
    let job = client.put_document("gate", "text/plain", "The gate of Sudhafen opens at noon.").await.unwrap();
    let events = format!("/v1/jobs/{}/events", job["job_id"].as_str().unwrap());
    let response = client.http().get(client.url(&events)).send().await.unwrap();
    read_until(response, |text| text.contains("\"status\":\"done\"")).await;
    stack.stop().await.unwrap();
}
