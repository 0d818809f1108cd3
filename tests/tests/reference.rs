//! The API's reference at `/docs` in a real Chromium: it shows every call and sends one, and loads nothing from elsewhere.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Stdio;

use ragstone_testkit::process::installed;
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_shows_every_call_and_loads_nothing_from_elsewhere() {
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let browser = root.join("../.cache/test-browser");
    assert!(browser.join("node_modules/playwright-core").is_dir(), "scripts/test-browser.sh installs playwright-core");
    let output = Command::new("node")
        .arg(root.join("browser/reference.mjs"))
        .arg(stack.url())
        .env("RAGSTONE_TEST_BROWSER", browser)
        .env("RAGSTONE_TEST_CHROMIUM", installed("chromium", "chromium").unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["foreign"], json!([]), "requests to elsewhere");
    assert_eq!(seen["console"], json!([]), "complaints of the browser");
    let document: Value = serde_json::from_str(&ragstone_gateway::openapi_document().unwrap()).unwrap();
    let calls: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(seen["calls"], calls);
    stack.stop().await.unwrap();
}
