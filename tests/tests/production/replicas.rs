//! Read replicas: any one may go and no answer suffers; a whole shard may go and the answer says so.

use serde_json::{Value, json};

use crate::servers::{Production, REPLICAS, SHARDS, find, ids, load, peers_of_shard};

/// Documents, and those that are asked for.
const DOCUMENTS: usize = 60;
const ASKED: std::ops::Range<usize> = 0..20;

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_may_go_and_a_lost_shard_is_named() {
    let production = Production::start().await;
    let client = production.client();
    load(&client, DOCUMENTS).await;
    let mut whole = Vec::new();
    for n in ASKED {
        let found = find(&client, n, "hybrid").await;
        assert_eq!(ids(&found)[0], format!("d{n}"), "{found:#}");
        whole.push(found["hits"].clone());
    }
    for peer in 0..SHARDS * REPLICAS {
        production.qdrant.stop_peer(peer).await;
        for n in ASKED {
            let found = find(&client, n, "hybrid").await;
            assert_eq!(found["degraded"], json!([]), "without peer {peer}: {found:#}");
            assert_eq!(found["shards"]["answered"], SHARDS, "without peer {peer}: {found:#}");
            assert_eq!(found["hits"], whole[n], "without peer {peer}");
        }
        production.qdrant.start_peer(peer).await.unwrap();
    }
    a_lost_shard_is_named(&production).await;
    production.stack.stop().await.unwrap();
}

async fn a_lost_shard_is_named(production: &Production) {
    let client = production.client();
    let peers = peers_of_shard(&production.qdrant, "s1").await;
    assert_eq!(peers.len(), REPLICAS);
    for peer in &peers {
        production.qdrant.stop_peer(*peer).await;
    }
    let names: Vec<String> = (0..SHARDS).map(|n| format!("s{n}")).collect();
    for n in ASKED {
        let found = find(&client, n, "hybrid").await;
        // A peer has replicas of one shard here: the others are whole.
        assert_eq!(found["shards"], json!({"asked": 4, "answered": 3, "missing": ["s1"]}), "{found:#}");
        assert_eq!(found["degraded"], json!(["retrieval.partial"]), "{found:#}");
        let lost = ragstone_core::place(&names, "default", &format!("d{n}")) == Some("s1");
        assert_eq!(ids(&found).contains(&format!("d{n}")), !lost, "{found:#}");
    }
    let question = json!({"query": "What do the reports tell of?"});
    let answer: Value = client.post("/v1/query", &question).await.unwrap().expect_status(200).unwrap();
    assert_eq!((&answer["sources_complete"], &answer["degraded"]), (&json!(false), &json!(["retrieval.partial"])));
    for peer in peers {
        production.qdrant.start_peer(peer).await.unwrap();
    }
    let again = find(&client, 0, "hybrid").await;
    assert_eq!((&again["degraded"], ids(&again)[0].as_str()), (&json!([]), "d0"), "{again:#}");
}
