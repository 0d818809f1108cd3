//! SIGKILL at every stage of ingestion: whatever was acknowledged is searchable after a restart, exactly once.
#![expect(clippy::unwrap_used, reason = "tests")]

use ragstone_testkit::client::Client;
use ragstone_testkit::gate::{Gate, When};
use ragstone_testkit::ports::free_port;
use ragstone_testkit::stack::{Form, Stack};
use serde_json::json;

/// What was acknowledged: document id, job id, version, and the word only its newest text has.
struct Acknowledged {
    id: String,
    job: String,
    version: u64,
    word: String,
}

/// Three sections, so three chunks, each with the document's own word.
fn text(word: &str) -> String {
    let section = |n: usize| {
        format!("# Part {n} of {word}\n\n{}\n\n", format!("The {word} machine has a wheel number {n}. ").repeat(25))
    };
    (0..3).map(section).collect()
}

async fn put(client: &Client, id: &str, word: &str) -> Acknowledged {
    let answer = client.put_document(id, "text/markdown", text(word)).await.unwrap();
    Acknowledged {
        id: id.to_owned(),
        job: answer["job_id"].as_str().unwrap().to_owned(),
        version: answer["version"].as_u64().unwrap(),
        word: word.to_owned(),
    }
}

/// Every chunk of the acknowledged version is found once, and nothing of another version.
async fn assert_there_exactly_once(client: &Client, document: &Acknowledged) {
    let job = client.finished_job(&document.job).await.unwrap();
    assert_eq!(job["status"], "done", "{job}");
    let stored = client.get(&format!("/v1/documents/{}", document.id)).await.unwrap().expect_status(200).unwrap();
    assert_eq!((&stored["version"], &stored["live_version"]), (&json!(document.version), &json!(document.version)));
    let filter = json!({"must": [{"key": "document_id", "match": document.id}]});
    for mode in ["keyword", "dense"] {
        let query = json!({"query": document.word, "mode": mode, "k": 50, "filter": filter});
        let found = client.post("/v1/search", &query).await.unwrap().expect_status(200).unwrap();
        let mut chunks: Vec<u64> = Vec::new();
        for hit in found["hits"].as_array().unwrap() {
            assert_eq!(hit["version"], document.version, "{hit}");
            assert!(hit["content"].as_str().unwrap().contains(&document.word), "{hit}");
            chunks.push(hit["chunk_index"].as_u64().unwrap());
        }
        chunks.sort_unstable();
        let expected: Vec<u64> = (0..stored["chunks"].as_u64().unwrap()).collect();
        assert_eq!(chunks, expected, "{mode} search of {}", document.id);
        assert!(expected.len() >= 3, "{stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_stage_nothing_acknowledged_is_lost_or_doubled() {
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    let embedding = Gate::start(free_port().unwrap(), &stack.service_url("embedding")).await.unwrap();
    let retrieval = Gate::start(free_port().unwrap(), &stack.service_url("retrieval")).await.unwrap();
    stack.env("RAGSTONE__INGESTION__EMBEDDING_URL", &embedding.url());
    stack.env("RAGSTONE__INGESTION__RETRIEVAL_URL", &retrieval.url());
    stack.run().await.unwrap();
    let client = stack.client();
    let old = put(&client, "updated", "ancient").await;
    assert_there_exactly_once(&client, &old).await;

    let points = [
        (&embedding, "Embed", When::Before),
        (&embedding, "Embed", When::After),
        (&retrieval, "StageChunks", When::Before),
        (&retrieval, "StageChunks", When::After),
        (&retrieval, "PublishVersion", When::Before),
        (&retrieval, "PublishVersion", When::After),
        (&retrieval, "RemoveVersions", When::Before),
        (&retrieval, "RemoveVersions", When::After),
    ];
    for (round, (gate, method, when)) in points.into_iter().enumerate() {
        gate.hold(method, when);
        let mut acknowledged = vec![put(&client, "updated", &format!("renewed{round}")).await];
        for n in 0..3 {
            acknowledged.push(put(&client, &format!("new-{round}-{n}"), &format!("fresh{round}x{n}")).await);
        }
        gate.holding().await.unwrap();
        stack.process("ingestion").unwrap().kill().await.unwrap();
        gate.open();
        stack.spawn("ingestion").unwrap();
        stack.ready().await.unwrap();
        for document in &acknowledged {
            assert_there_exactly_once(&client, document).await;
        }
    }
    stack.stop().await.unwrap();
}

/// A parser that hangs when it is called for the first time, and says so by a file.
fn parser_that_hangs_once(dir: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let (script, mark) = (dir.join("parser"), dir.join("parsing"));
    let real = ragstone_testkit::process::binary("ragstone-ingestion").unwrap();
    let (mark, real) = (mark.display(), real.display());
    let text = format!("#!/bin/sh\n[ -e {mark} ] && exec {real} \"$@\"\n: >{mark}\nexec /bin/sleep 600\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_text_is_extracted_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    stack.env("RAGSTONE__INGESTION__EXTRACT_PROGRAM", parser_that_hangs_once(dir.path()).to_str().unwrap());
    stack.run().await.unwrap();
    let client = stack.client();
    let page = "<h1>Harbour</h1><p>The crane of Skagen lifts ninety tons.</p>";
    let accepted = client.put_document("page", "text/html", page).await.unwrap();
    while !dir.path().join("parsing").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stack.process("ingestion").unwrap().kill().await.unwrap();
    stack.spawn("ingestion").unwrap();
    stack.ready().await.unwrap();
    let job = client.finished_job(accepted["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(job["status"], "done", "{job}");
    let found =
        client.post("/v1/search", &json!({"query": "crane of Skagen"})).await.unwrap().expect_status(200).unwrap();
    assert_eq!(found["hits"].as_array().unwrap().len(), 1, "{found}");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_process_killed_under_load_loses_nothing_acknowledged() {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.run().await.unwrap();
    let client = stack.client();
    let mut all = Vec::new();
    for round in 0..4_usize {
        // Killed after another number of acknowledgements each time, with the work in other states.
        for n in 0..=round * 3 {
            all.push(put(&client, &format!("doc-{round}-{n}"), &format!("word{round}x{n}")).await);
        }
        all.retain(|document| document.id != "again");
        all.push(put(&client, "again", &format!("again{round}")).await);
        stack.process("up").unwrap().kill().await.unwrap();
        stack.spawn("up").unwrap();
        stack.ready().await.unwrap();
    }
    for document in &all {
        assert_there_exactly_once(&client, document).await;
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retrieval_killed_while_documents_are_written_loses_nothing() {
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    let retrieval = Gate::start(free_port().unwrap(), &stack.service_url("retrieval")).await.unwrap();
    stack.env("RAGSTONE__INGESTION__RETRIEVAL_URL", &retrieval.url());
    stack.run().await.unwrap();
    let client = stack.client();
    let points = [("StageChunks", When::After), ("PublishVersion", When::Before), ("RemoveVersions", When::Before)];
    for (round, (method, when)) in points.into_iter().enumerate() {
        retrieval.hold(method, when);
        let document = put(&client, "kept", &format!("kept{round}")).await;
        retrieval.holding().await.unwrap();
        stack.process("retrieval").unwrap().kill().await.unwrap();
        stack.spawn("retrieval").unwrap();
        stack.ready().await.unwrap();
        retrieval.open();
        assert_there_exactly_once(&client, &document).await;
    }
    stack.stop().await.unwrap();
}
