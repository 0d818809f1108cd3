//! A backup from a laptop's stores, restored into empty servers: every document and every search result is the same.

use ragstone_testkit::client::Client;
use ragstone_testkit::process::binary;
use ragstone_testkit::stack::{Form, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::servers::{Production, find, load, ragstone};

const DOCUMENTS: usize = 30;

async fn documents(client: &Client) -> Vec<Value> {
    let page = client.get("/v1/documents?limit=100").await.unwrap().expect_status(200).unwrap();
    let mut items = page["items"].as_array().unwrap().clone();
    for item in &mut items {
        let id = item["document_id"].as_str().unwrap().to_owned();
        item["history"] = client.get(&format!("/v1/documents/{id}/history")).await.unwrap().body;
    }
    items
}

async fn searches(client: &Client) -> Vec<Value> {
    let mut found = Vec::new();
    for n in 0..DOCUMENTS {
        let answer = find(client, n, "dense").await;
        assert_eq!(answer["degraded"], json!([]), "{answer:#}");
        let hits = answer["hits"].as_array().unwrap().iter().cloned().map(|mut hit| {
            // The same vectors on another store: equal to the last bits of a float.
            hit["score"] = json!((hit["score"].as_f64().unwrap() * 1000.0).round());
            hit
        });
        found.push(Value::Array(hits.collect()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restores_into_an_empty_system() {
    let laptop = Stack::start(Form::AllInOne).await.unwrap();
    let client = laptop.client();
    load(&client, DOCUMENTS).await;
    client.ingest("d3", "text/plain", "Report 3, the second version, tells of the tower Wumm.").await.unwrap();
    let deleted = client.call(Method::DELETE, "/v1/documents/d4").await.unwrap().expect_status(202).unwrap();
    client.finished_job(deleted["job_id"].as_str().unwrap()).await.unwrap();
    let (documents_before, searches_before) = (documents(&client).await, searches(&client).await);
    let kept = laptop.dir().join("backup");
    // The server goes on working meanwhile.
    let manifest = ragstone(&laptop, &["backup", "--to", kept.to_str().unwrap()]).await;
    assert!(manifest["bodies"].as_u64().unwrap() >= DOCUMENTS as u64 - 1, "{manifest}");

    let mut production = Production::prepare().await;
    let restored = production.ragstone(&["restore", "--from", kept.to_str().unwrap()]).await;
    assert_eq!(restored, manifest);
    production.stack.run().await.unwrap();
    let client = production.client();
    filled(&client).await;
    assert_eq!(documents(&client).await, documents_before);
    assert_eq!(searches(&client).await, searches_before);
    let next = client.ingest("d3", "text/plain", "The third version.").await.unwrap();
    assert_eq!(next["version"], 3, "versions go on where they were: {next}");
    an_index_of_later_days_is_in_the_way(laptop, &kept).await;
    production.stack.stop().await.unwrap();
}

/// The catalog is lost but the index is not: it would pass its versions for newer ones than the restored catalog's.
async fn an_index_of_later_days_is_in_the_way(mut laptop: Stack, kept: &std::path::Path) {
    laptop.process("up").unwrap().terminate().await.unwrap();
    std::fs::remove_file(laptop.data_dir().join("catalog.db")).unwrap();
    let output = Command::new(binary("ragstone").unwrap())
        .args(["restore", "--from", kept.to_str().unwrap()])
        .envs(laptop.environment().iter().cloned())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("all-minilm-l6-v2"), "{said}");
    std::fs::remove_dir_all(laptop.data_dir().join("index")).unwrap();
    for wal in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(laptop.data_dir().join(wal));
    }
    ragstone(&laptop, &["restore", "--from", kept.to_str().unwrap()]).await;
    laptop.run().await.unwrap();
    let client = laptop.client();
    filled(&client).await;
    assert_eq!(find(&client, 5, "hybrid").await["hits"][0]["document_id"], "d5");
    laptop.stop().await.unwrap();
}

/// Returns once the index holds every document.
async fn filled(client: &Client) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let indexes = client.get("/v1/admin/indexes").await.unwrap().expect_status(200).unwrap();
        let index = &indexes["items"][0];
        if index["documents"] == index["expected"] && index["waiting"] == 0 && index["expected"] != 0 {
            return;
        }
        assert!(std::time::Instant::now() < until, "{indexes:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
