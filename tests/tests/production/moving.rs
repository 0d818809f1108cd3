//! A fifth shard, and another embedding model, while searches run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ragstone_testkit::client::Client;
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
    let client = production.client();
    load(&client, DOCUMENTS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let searching = keep_searching(client.clone(), stop.clone());

    let ended = production.ragstone(&["reshard", "--shards", "5"]).await;
    assert_eq!(ended["shards"], json!(["s0", "s1", "s2", "s3", "s4"]), "{ended:#}");
    assert_eq!((&ended["waiting"], &ended["stuck"], ended.get("moving_to")), (&json!(0), &json!(0), None), "{ended:#}");
    let moved = points_of_shard(&production.qdrant, "s4").await;
    assert!((DOCUMENTS * 15 / 100..=DOCUMENTS * 25 / 100).contains(&moved), "{moved} of {DOCUMENTS} moved");
    let mut total = 0;
    for n in 0..5 {
        total += points_of_shard(&production.qdrant, &format!("s{n}")).await;
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
    production.stack.stop().await.unwrap();
}
