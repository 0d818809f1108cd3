//! Thousands of requests made from the OpenAPI document, those it allows and those it forbids, against a live gateway:
//! nothing may break, and every answer must be one that the document describes. Schemathesis makes and judges them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};
use tokio::process::Command;

/// What is asked of every answer.
const CHECKS: [&str; 7] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
];
/// The most cases of each operation beside those that walk through its schema's bounds.
const EXAMPLES: &str = "40";
/// The same cases each time.
const SEED: &str = "20261125";

/// Documents and an answer, so that there is something to find, under the id that the document gives as its example.
async fn load(stack: &Stack) {
    let client = stack.client();
    let handbook =
        json!({ "text": "# Bells\n\nThe bell of Nordhafen was cast in 1612 by Marta Quist.", "title": "Bells" });
    for id in ["handbook", "0"] {
        client.ingest(id, "application/json", handbook.to_string()).await.unwrap();
    }
    client.post("/v1/query", &json!({ "query": "Who cast the bell?" })).await.unwrap().expect_status(200).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_document_allows_or_forbids_is_answered_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("../.cache/test-clients/bin/schemathesis");
    assert!(program.is_file(), "scripts/test-python.sh installs schemathesis");
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    load(&stack).await;
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let output = Command::new(program)
        .args(["run", &format!("{}/openapi.json", stack.url()), "--checks", &CHECKS.join(",")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--workers", "2"])
        .args(["--no-shrink", "--continue-on-failure", "--request-timeout", "30", "--report", "json"])
        .arg("--report-json-path")
        .arg(&report)
        // Where it keeps what it has found before: each run is to be the same.
        .current_dir(dir.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap_or_default()).unwrap_or_default();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["failures"], json!([]), "{said}");
    assert_eq!(report["errors"], json!([]), "{said}");
    let operations = &report["operations"];
    assert!(operations["tested"] == operations["total"] && operations["total"].as_u64() > Some(25), "{operations}");
    let cases = report["test_cases"]["generated"].as_u64().unwrap();
    assert!(cases >= 2_000, "only {cases} cases");
    stack.stop().await.unwrap();
}
