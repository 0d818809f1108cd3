//! Backups restored into empty systems: every document and every search result is the same. One comes from a laptop's stores;
//! one takes Qdrant's index along, which is older than the catalog by the time that is read.

use std::path::Path;

use ragstone_testkit::client::Client;
use ragstone_testkit::process::binary;
use ragstone_testkit::stack::{Form, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::servers::{Production, find, load, ragstone, refused};

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
    let args = ["backup", "--with-index", "--to", kept.to_str().unwrap()];
    let (code, said) = refused(&laptop, &args, as_it_is()).await;
    assert!(code == Some(1) && said.contains("only an index in Qdrant"), "{said}");
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

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_back_with_what_has_changed_since_it_was_saved() {
    let production = Production::start().await;
    let client = production.client();
    load(&client, DOCUMENTS).await;
    let (saved, kept) = (production.stack.dir().join("saved"), production.stack.dir().join("kept"));
    let first = production.ragstone(&["backup", "--with-index", "--to", saved.to_str().unwrap()]).await;
    // As if all this were done between the snapshots and the rows.
    client.ingest("d3", "text/plain", "Report 3, the second version, tells of the tower Wumm.").await.unwrap();
    client.ingest("late", "text/plain", "Report 99 tells of the castle Xolm.").await.unwrap();
    let deleted = client.call(Method::DELETE, "/v1/documents/d4").await.unwrap().expect_status(202).unwrap();
    client.finished_job(deleted["job_id"].as_str().unwrap()).await.unwrap();
    production.ragstone(&["backup", "--to", kept.to_str().unwrap()]).await;
    put_into(&saved, &kept, &first);
    let (documents_before, searches_before) = (documents(&client).await, searches(&client).await);
    let mut urls = production.qdrant.rest_urls();
    urls.reverse();
    let again = production.stack.dir().join("again");
    let swapped = ("RETRIEVAL__QDRANT__REST_URLS", urls.join(","));
    let args = ["backup", "--with-index", "--to", again.to_str().unwrap()];
    let (code, said) = refused(&production.stack, &args, (swapped.0, &swapped.1)).await;
    assert!(code == Some(78) && said.contains("retrieval.qdrant.rest_urls"), "{code:?}: {said}");

    let mut target = Production::prepare().await;
    what_cannot_be_restored_leaves_nothing_behind(&target, &kept, &first).await;
    let restored = target.ragstone(&["restore", "--from", kept.to_str().unwrap()]).await;
    let index = &restored["restored_indexes"][0];
    assert_eq!(index["name"], first["indexes"][0]);
    let counts = [&index["documents"], &index["to_rebuild"], &index["removed"]];
    assert_eq!(counts, [&json!(DOCUMENTS - 2), &json!(2), &json!(2)], "{restored:#}");
    let (code, said) = refused(&target.stack, &["restore", "--from", kept.to_str().unwrap()], as_it_is()).await;
    assert!(code == Some(1) && said.contains("the vector store is not empty"), "{said}");
    target.stack.run().await.unwrap();
    let client = target.client();
    filled(&client).await;
    let count = async |args: &[&str]| target.redis.cli(args).await.unwrap().trim().parse::<u64>().unwrap();
    // One key is no embedding: it shows that Redis can be written to.
    let cached = count(&["DBSIZE"]).await - count(&["EXISTS", "ragstone:check"]).await;
    assert_eq!(cached, 2, "only what is new is embedded");
    assert_eq!(documents(&client).await, documents_before);
    assert_eq!(searches(&client).await, searches_before);
    let found = client.post("/v1/search", &json!({"query": "the tower Wumm", "mode": "keyword"})).await.unwrap().body;
    assert_eq!((&found["hits"][0]["document_id"], &found["hits"][0]["version"]), (&json!("d3"), &json!(2)));
    target.stack.stop().await.unwrap();
    where_the_index_is_embedded_the_saved_one_is_left_aside(&kept).await;
    production.stack.stop().await.unwrap();
}

/// A setting that changes nothing here.
fn as_it_is() -> (&'static str, &'static str) {
    ("TELEMETRY__LOG_LEVEL", "info")
}

/// Puts the indexes of one backup into another.
fn put_into(saved: &Path, kept: &Path, manifest: &Value) {
    std::fs::rename(saved.join("index"), kept.join("index")).unwrap();
    let path = kept.join("manifest.json");
    let mut later: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&later["format"], &manifest["format"]), (&json!(1), &json!(2)));
    for key in ["format", "indexes"] {
        later[key] = manifest[key].clone();
    }
    std::fs::write(&path, later.to_string()).unwrap();
}

async fn what_cannot_be_restored_leaves_nothing_behind(target: &Production, kept: &Path, manifest: &Value) {
    let args = ["restore", "--from", kept.to_str().unwrap()];
    let elsewhere = target.urls.join(",");
    let (code, said) = refused(&target.stack, &args, ("RETRIEVAL__QDRANT__REST_URLS", &elsewhere)).await;
    assert!(code == Some(1) && said.contains("retrieval.qdrant.rest_urls"), "{code:?}: {said}");
    let file = kept.join("index").join(manifest["indexes"][0].as_str().unwrap()).join("s1.snapshot");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, &good[..good.len() - 1]).unwrap();
    let (code, said) = refused(&target.stack, &args, as_it_is()).await;
    assert!(code == Some(1) && said.contains("s1.snapshot is damaged"), "{code:?}: {said}");
    std::fs::write(&file, good).unwrap();
}

async fn where_the_index_is_embedded_the_saved_one_is_left_aside(kept: &Path) {
    let mut laptop = Stack::prepare(Form::AllInOne).unwrap();
    let restored = ragstone(&laptop, &["restore", "--from", kept.to_str().unwrap()]).await;
    assert_eq!(restored.get("restored_indexes"), None);
    laptop.run().await.unwrap();
    filled(&laptop.client()).await;
    assert_eq!(find(&laptop.client(), 5, "dense").await["hits"][0]["document_id"], "d5");
    laptop.stop().await.unwrap();
}

/// The catalog is lost but the index is not: it would pass its versions for newer ones than the restored catalog's.
async fn an_index_of_later_days_is_in_the_way(mut laptop: Stack, kept: &Path) {
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
