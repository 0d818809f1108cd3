//! A fifth shard, and another embedding model, while searches run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ragstone_testkit::client::Client;
use ragstone_testkit::fake_openai::{FakeCalls, embeddings};
use serde_json::json;

use crate::servers::{Production, find, ids, load, points_of_shard};

const DOCUMENTS: usize = 200;

/// Searches all the time until told to stop; how often. Each search must find its document first, and none twice.
fn keep_searching(client: Client, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let searches = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while !stop.load(Ordering::SeqCst) {
            let n = searches.fetch_add(1, Ordering::SeqCst) * 7 % DOCUMENTS;
            let found = find(&client, n, "keyword").await;
            assert_eq!(ids(&found).first(), Some(&format!("d{n}")), "{found:#}");
            assert_eq!(found["degraded"], json!([]), "{found:#}");
        }
        searches.load(Ordering::SeqCst)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_shard_takes_its_share_while_searches_run() {
    let production = Production::start().await;
    a_fifth_shard(&production).await;
    production.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_shard_of_a_real_qdrant_takes_its_share() {
    if let Some(production) = Production::start_on_real_qdrant().await {
        a_fifth_shard(&production).await;
        production.clean_up().await;
    }
}

async fn a_fifth_shard(production: &Production) {
    let client = production.client();
    load(&client, DOCUMENTS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let searching = keep_searching(client.clone(), stop.clone());

    let ended = production.ragstone(&["reshard", "--shards", "5"]).await;
    assert_eq!(ended["shards"], json!(["s0", "s1", "s2", "s3", "s4"]), "{ended:#}");
    assert_eq!((&ended["waiting"], &ended["stuck"], ended.get("moving_to")), (&json!(0), &json!(0), None), "{ended:#}");
    let moved = points_of_shard(production, "s4").await;
    assert!((DOCUMENTS * 15 / 100..=DOCUMENTS * 25 / 100).contains(&moved), "{moved} of {DOCUMENTS} moved");
    let mut total = 0;
    for n in 0..5 {
        total += points_of_shard(production, &format!("s{n}")).await;
    }
    assert_eq!(total, DOCUMENTS, "nothing is left behind");

    // New documents go to their places among five, and back to four works as well.
    client.ingest("new", "text/plain", "A new report tells of the harbour Yrl.").await.unwrap();
    let back = production.ragstone(&["reshard", "--shards", "4"]).await;
    assert_eq!(back["shards"], json!(["s0", "s1", "s2", "s3"]), "{back:#}");
    stop.store(true, Ordering::SeqCst);
    let searches = searching.await.unwrap();
    assert!(searches > 50, "only {searches} searches ran meanwhile");
    let found = client.post("/v1/search", &json!({"query": "harbour Yrl"})).await.unwrap().expect_status(200).unwrap();
    assert_eq!(found["hits"][0]["document_id"], "new", "{found:#}");
}

/// A vector of 32 numbers that only depends on a text's words: each adds 1 at a place of its own.
fn words(text: &str) -> Vec<f32> {
    let mut vector = vec![0.01; 32];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3) {
        let place = word.bytes().fold(7_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 32);
        vector[place] += 1.0;
    }
    vector
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_takes_over_while_searches_run() {
    let model = FakeCalls::start(|call| embeddings(call, words)).await.unwrap();
    let mut production = Production::prepare().await;
    let config = production.stack.dir().join("models.toml");
    let toml = format!(
        "[[embedding.models]]\nid = 'words'\nbase_url = '{}/v1'\nmodel = 'words'\ndimension = 32\nmax_tokens = 4000\n",
        model.url()
    );
    std::fs::write(&config, toml).unwrap();
    production.stack.env("RAGSTONE_CONFIG", config.to_str().unwrap());
    production.stack.run().await.unwrap();
    let client = production.client();
    load(&client, DOCUMENTS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let searching = keep_searching(client.clone(), stop.clone());

    let building = production.ragstone(&["reindex", "--model", "words", "--no-switch"]).await;
    assert_eq!((&building["state"], &building["documents"]), (&json!("building"), &json!(DOCUMENTS)), "{building:#}");
    assert_eq!((&building["dimension"], &building["topology"]["shards"][3]), (&json!(32), &json!("s3")));
    // What is ingested meanwhile is in both.
    client.ingest("new", "text/plain", "A new report tells of the harbour Yrlmoor.").await.unwrap();
    let serving = production.ragstone(&["reindex", "--model", "words"]).await;
    assert_eq!((&serving["state"], &serving["documents"]), (&json!("serving"), &json!(DOCUMENTS + 1)), "{serving:#}");
    let before = model.seen().len();
    let ask = json!({"query": "the harbour Yrlmoor", "mode": "dense"});
    let found = client.post("/v1/search", &ask).await.unwrap().expect_status(200).unwrap();
    let found = match found["hits"][0]["document_id"].as_str() {
        Some("new") => found,
        // The first search after the switch may have gone to the earlier index.
        _ => client.post("/v1/search", &ask).await.unwrap().expect_status(200).unwrap(),
    };
    assert_eq!((&found["hits"][0]["document_id"], &found["degraded"]), (&json!("new"), &json!([])), "{found:#}");
    let again = client.post("/v1/search", &json!({"query": "harbour of Yrlmoor now", "mode": "dense"})).await.unwrap();
    assert_eq!(again.expect_status(200).unwrap()["hits"][0]["document_id"], "new");
    assert!(model.seen().len() > before, "questions are embedded with the new model");

    // Back by one command, with all that was written since; then the other one goes.
    client.ingest("newer", "text/plain", "A newer report tells of the lighthouse Qirnfels.").await.unwrap();
    let back = production.ragstone(&["reindex", "rollback"]).await;
    assert_eq!((&back["model"], &back["documents"]), (&json!("all-MiniLM-L6-v2"), &json!(DOCUMENTS + 2)), "{back:#}");
    let ask = json!({"query": "the lighthouse Qirnfels"});
    let found = client.post("/v1/search", &ask).await.unwrap().expect_status(200).unwrap();
    assert_eq!(found["hits"][0]["document_id"], "newer", "{found:#}");
    production.ragstone(&["reindex", "drop", serving["name"].as_str().unwrap()]).await;
    let left = production.ragstone(&["reindex", "list"]).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left:#}");
    let found = client.post("/v1/search", &ask).await.unwrap().expect_status(200).unwrap();
    assert_eq!((&found["hits"][0]["document_id"], &found["degraded"]), (&json!("newer"), &json!([])), "{found:#}");

    stop.store(true, Ordering::SeqCst);
    assert!(searching.await.unwrap() > 50);
    production.stack.stop().await.unwrap();
}
