//! The playground in a real Chromium, driven by playwright-core: what a person does there, at desktop and phone widths.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ragstone_testkit::process::{binary, installed};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};
use tokio::process::Command;

/// Where `scripts/test-browser.sh` puts playwright-core, and where screenshots go, to be looked at.
fn cache(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name)
}

/// Runs the script and returns what it saw.
async fn drive(stack: &Stack, token: Option<&str>) -> Value {
    let browser = cache("test-browser");
    assert!(browser.join("node_modules/playwright-core").is_dir(), "scripts/test-browser.sh installs playwright-core");
    let screenshots = cache("screenshots").join(if token.is_some() { "token" } else { "open" });
    std::fs::create_dir_all(&screenshots).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/playground.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(stack.url())
        .arg(&screenshots)
        .args(token)
        .env("RAGSTONE_TEST_BROWSER", browser)
        .env("RAGSTONE_TEST_CHROMIUM", installed("chromium", "chromium").unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_credential_the_same_works_where_one_is_needed() {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.env("RAGSTONE__GATEWAY__AUTH__MODE", "required");
    stack.env("RAGSTONE__GATEWAY__AUTH__JWT__HS256_SECRET", "a secret of the playground's own test");
    stack.run().await.unwrap();
    let token = Command::new(binary("ragstone").unwrap())
        .args(["token", "--sub", "reader", "--tenant", "acme", "--scope", "query,ingest"])
        .envs(stack.environment().iter().cloned())
        .output()
        .await
        .unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    let token = String::from_utf8(token.stdout).unwrap();
    let seen = drive(&stack, Some(token.trim())).await;
    assert_eq!((&seen["foreign"], &seen["console"]), (&json!([]), &json!([])));
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_uploads_asks_and_follows_a_citation() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    let seen = drive(&stack, None).await;
    assert_eq!(seen["foreign"], json!([]), "requests to elsewhere");
    assert_eq!(seen["console"], json!([]), "complaints of the browser");
    assert_eq!(seen["titles"], json!(["Ragstone", "Ragstone"]), "scripts in documents ran");
    stack.stop().await.unwrap();
}
