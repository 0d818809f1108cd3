//! Documents in, grounded and cited answers out, with everything stored on servers.

use reqwest::Method;
use serde_json::json;

use crate::servers::{Production, find, ids, load, text, word};

#[tokio::test(flavor = "multi_thread")]
async fn documents_in_and_cited_answers_out() {
    let mut production = Production::start().await;
    let client = production.client();
    load(&client, 40).await;
    for n in [0, 7, 39] {
        for mode in ["hybrid", "keyword"] {
            let found = find(&client, n, mode).await;
            assert_eq!(ids(&found)[0], format!("d{n}"), "{mode}: {found:#}");
            assert_eq!(found["shards"]["answered"], 4, "{found:#}");
            assert_eq!(found["degraded"], json!([]), "{found:#}");
        }
    }
    let question = json!({"query": format!("What does the report tell of the village {}?", word(7))});
    let answer = client.post("/v1/query", &question).await.unwrap().expect_status(200).unwrap();
    assert_eq!(answer["citations"][0]["document_id"], "d7", "{answer:#}");
    assert!(answer["answer"].as_str().unwrap().contains(&word(7)), "{answer:#}");

    // A new version and a deletion are seen by the next search once their jobs are done.
    client.ingest("d7", "text/plain", "Report 7 now tells of the castle Xolm.").await.unwrap();
    let castle = client.post("/v1/search", &json!({"query": "castle Xolm"})).await.unwrap().expect_status(200).unwrap();
    assert_eq!((&castle["hits"][0]["document_id"], &castle["hits"][0]["version"]), (&json!("d7"), &json!(2)));
    assert_ne!(ids(&find(&client, 7, "keyword").await).first(), Some(&"d7".to_owned()));
    let deleted = client.call(Method::DELETE, "/v1/documents/d8").await.unwrap().expect_status(202).unwrap();
    client.finished_job(deleted["job_id"].as_str().unwrap()).await.unwrap();
    assert!(!ids(&find(&client, 8, "hybrid").await).contains(&"d8".to_owned()));

    // Everything is on the servers: nothing in the data directory, and a new set of processes finds it all.
    assert!(!production.stack.data_dir().join("catalog.db").exists());
    assert!(!production.stack.data_dir().join("index").exists());
    let cached = production.redis.cli(&["DBSIZE"]).await.unwrap();
    assert!(cached.trim().parse::<u64>().unwrap() >= 40, "embeddings in Redis: {cached}");
    for service in ["gateway", "ingestion", "generation", "retrieval", "embedding"] {
        production.stack.process(service).unwrap().kill().await.unwrap();
    }
    production.stack.run().await.unwrap();
    let client = production.client();
    assert_eq!(ids(&find(&client, 39, "hybrid").await)[0], "d39");
    let body = client.put_document("d39", "text/plain", text(39)).await.unwrap();
    assert_eq!(body["unchanged"], json!(true), "the body's hash is known: {body}");

    the_vector_store_is_gone(&production).await;
    production.stack.stop().await.unwrap();
}

/// Without any peer of Qdrant the catalog's texts are searched; when it is back, so are vectors.
async fn the_vector_store_is_gone(production: &Production) {
    let client = production.client();
    for peer in 0..8 {
        production.qdrant.stop_peer(peer).await;
    }
    let found = find(&client, 39, "hybrid").await;
    assert_eq!(ids(&found)[0], "d39", "{found:#}");
    assert_eq!(found["degraded"], json!(["retrieval.keyword_fallback"]), "{found:#}");
    let accepted = client.put_document("late", "text/plain", "A late report about the lighthouse Qirn.").await.unwrap();
    for peer in 0..8 {
        production.qdrant.start_peer(peer).await.unwrap();
    }
    assert_eq!(client.finished_job(accepted["job_id"].as_str().unwrap()).await.unwrap()["status"], "done");
    let found =
        client.post("/v1/search", &json!({"query": "lighthouse Qirn"})).await.unwrap().expect_status(200).unwrap();
    assert_eq!((&found["hits"][0]["document_id"], &found["degraded"]), (&json!("late"), &json!([])), "{found:#}");
}
