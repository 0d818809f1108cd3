//! Every command of docs/api.md works as it is printed, from the top down, and shows what the page says that it shows.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ragstone_testkit::process::binary;
use ragstone_testkit::stack::{Form, Stack};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A command of the page, or several that belong together.
struct Block {
    line: usize,
    language: String,
    text: String,
}

/// Those that are to be run. Blocks in other languages show something; `bash` is for a terminal of one's own.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (at, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(language) if !inside => {
                blocks.push(Block { line: at + 1, language: language.to_owned(), text: String::new() });
                inside = true;
            }
            Some(_) => inside = false,
            None if inside => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks.into_iter().filter(|block| ["sh", "python"].contains(&block.language.as_str())).collect()
}

/// Runs a block in `dir`; curl fails where the server answers with an error.
async fn run(block: &Block, dir: &Path) -> String {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/test-clients/bin").canonicalize();
    let clients = clients.expect("scripts/test-python.sh installs the clients");
    let ragstone = binary("ragstone").unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = [clients, ragstone.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
    let mut command = match block.language.as_str() {
        "python" => Command::new("python"),
        _ => Command::new("bash"),
    };
    if block.language == "sh" {
        command.args(["-euo", "pipefail"]);
    }
    let mut child = command
        .env("PATH", std::env::join_paths(places).unwrap())
        .env("CURL_HOME", dir)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(block.text.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "line {}: {}\n{said}{complaints}", block.line, output.status);
    said
}

/// Nobody types the next block before the documents of this one are in.
async fn settled(stack: &Stack) {
    let client = stack.client();
    for status in ["queued", "running"] {
        let path = format!("/v1/jobs?status={status}");
        while client.get(&path).await.unwrap().expect_status(200).unwrap()["items"] != json!([]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_works_as_it_is_printed() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")).unwrap();
    let stack = Stack::start(Form::AllInOne).await.unwrap();
    let page = page.replace("http://127.0.0.1:8080", &stack.url());
    let page = page.replace("http://127.0.0.1:9090", &stack.admin_url("gateway"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".curlrc"), "fail-with-body\nshow-error\n").unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() > 14, "{} blocks", blocks.len());
    for block in &blocks {
        let said = run(block, dir.path()).await;
        let promised: Vec<_> = block.text.lines().filter_map(|line| line.strip_prefix("# → ")).collect();
        assert!(!promised.is_empty(), "line {}: nothing says what it shows", block.line);
        for words in promised {
            assert!(said.contains(words), "line {}: no {words} in\n{said}", block.line);
        }
        settled(&stack).await;
    }
    stack.stop().await.unwrap();
}
