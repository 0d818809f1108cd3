//! The demo's steps with the real command line against a real server: documents in, cited answers out.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use ragstone_testkit::process::binary;
use ragstone_testkit::stack::{Form, Stack};

fn ragstone(stack: &Stack, args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(binary("ragstone").unwrap())
        .args(args)
        .env("RAGSTONE_URL", stack.url())
        .current_dir(root)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn docs_in_cited_answers_out() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    said(&ragstone(&stack, &["ingest", "docs", "--wait"]));
    let again = ragstone(&stack, &["ingest", "docs", "--wait"]);
    assert!(said(&again).contains("0 failed"), "{again:?}");
    for (question, fact) in [
        ("When is a document acknowledged?", "synced to disk"),
        ("What happens when the embedding service is down?", "BM25"),
        ("What does ragstone doctor check?", "doctor"),
    ] {
        let answer = said(&ragstone(&stack, &["ask", question]));
        let (text, sources) = answer.split_once("Sources:").unwrap_or((answer.as_str(), ""));
        assert!(text.contains(fact), "{question}: {answer}");
        assert!(sources.contains("docs/"), "{question}: {answer}");
        let json = said(&ragstone(&stack, &["ask", question, "--json"]));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(!json["citations"].as_array().unwrap().is_empty(), "{json}");
    }
    assert!(said(&ragstone(&stack, &["search", "tombstone", "--k", "3"])).contains("docs/"));
    assert!(said(&ragstone(&stack, &["documents", "list"])).contains("docs/architecture.md"));
    said(&ragstone(&stack, &["documents", "delete", "docs/api.md"]));
    let missing = ragstone(&stack, &["documents", "get", "docs/none.md"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let admin = stack.admin_url("gateway");
    said(&ragstone(&stack, &["doctor", "--admin-url", &admin]));
    stack.stop().await.unwrap();
}

#[test]
fn what_cannot_be_reached_or_understood_has_its_exit_code() {
    let run = |args: &[&str]| Command::new(binary("ragstone").unwrap()).args(args).output().unwrap().status.code();
    assert_eq!(run(&["search", "x", "--url", "http://127.0.0.1:9"]), Some(69));
    assert_eq!(run(&["serch", "x"]), Some(2));
}
