//! Shard keys and where shards are.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateShardKeyBuilder, CreateShardKeyRequestBuilder, DeletePointsBuilder,
    DeleteShardKeyRequestBuilder, Filter, PointsIdsList, Query, QueryPointsBuilder, ReplicaState, ScrollPointsBuilder,
    SearchPointsBuilder, ShardingMethod, UpsertPointsBuilder, shard_key,
};
use serde_json::json;
use tonic::Code;

use crate::{Servers, four_dimensions, number, on_any, on_cluster, on_single, point, refused};

/// A collection with custom sharding.
async fn keyed(servers: &Servers, replication: u32) -> String {
    let name = servers.name();
    let create = four_dimensions(&name).sharding_method(ShardingMethod::Custom.into());
    servers.client().create_collection(create.replication_factor(replication)).await.unwrap();
    name
}

fn new_key(name: &str, key: &str, shape: CreateShardKeyBuilder) -> CreateShardKeyRequestBuilder {
    CreateShardKeyRequestBuilder::new(name).request(shape.shard_key(shard_key::Key::Keyword(key.to_owned())))
}

async fn add_key(client: &Qdrant, name: &str, key: &str) {
    let request = new_key(name, key, CreateShardKeyBuilder::default());
    assert!(client.create_shard_key(request).await.unwrap().result);
}

fn store(name: &str, key: &str, ids: std::ops::RangeInclusive<u64>) -> UpsertPointsBuilder {
    let points: Vec<_> = ids.map(|id| point(id, [1.0; 4], json!({ "shard": key }))).collect();
    UpsertPointsBuilder::new(name, points).shard_key_selector(key.to_owned()).wait(true)
}

async fn count(client: &Qdrant, name: &str, key: Option<&str>) -> u64 {
    let mut request = CountPointsBuilder::new(name).exact(true);
    if let Some(key) = key {
        request = request.shard_key_selector(key.to_owned());
    }
    client.count(request).await.unwrap().result.unwrap().count
}

async fn keys(client: &Qdrant, name: &str) -> BTreeSet<String> {
    let listed = client.list_shard_keys(name).await.unwrap().shard_keys;
    let text = |key: qdrant_client::qdrant::ShardKeyDescription| match key.key.and_then(|key| key.key) {
        Some(shard_key::Key::Keyword(text)) => text,
        other => panic!("no text: {other:?}"),
    };
    listed.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_separates_its_points() {
    on_cluster("shard keys", async |servers: &Servers| {
        let (client, name) = (servers.client(), keyed(servers, 1).await);
        add_key(client, &name, "s0").await;
        add_key(client, &name, "s1").await;
        assert_eq!(keys(client, &name).await, BTreeSet::from(["s0".to_owned(), "s1".to_owned()]));
        client.upsert_points(store(&name, "s0", 1..=3)).await.unwrap();
        client.upsert_points(store(&name, "s1", 4..=5)).await.unwrap();
        for client in &servers.clients {
            assert_eq!(count(client, &name, Some("s0")).await, 3);
            assert_eq!(count(client, &name, Some("s1")).await, 2);
            assert_eq!(count(client, &name, None).await, 5);
            let query = QueryPointsBuilder::new(&name).query(Query::new_nearest(vec![1.0; 4])).using("dense");
            let hits = client.query(query.clone().limit(10).shard_key_selector("s1".to_owned())).await.unwrap().result;
            assert_eq!(hits.iter().map(|hit| number(hit.id.clone())).collect::<BTreeSet<_>>(), [4, 5].into());
            let key = hits[0].shard_key.clone().and_then(|key| key.key);
            assert_eq!(key, Some(shard_key::Key::Keyword("s1".to_owned())));
            let both = query.limit(10).shard_key_selector(vec!["s0".to_owned(), "s1".to_owned()]);
            assert_eq!(client.query(both).await.unwrap().result.len(), 5);
        }

        // A point of the same id in another shard is another point, and queries of all shards show both.
        let other = vec![point(1, [1.0, 0.0, 0.0, 0.0], json!({ "shard": "s1" }))];
        let other = UpsertPointsBuilder::new(&name, other).shard_key_selector("s1".to_owned()).wait(true);
        client.upsert_points(other).await.unwrap();
        assert_eq!(count(client, &name, None).await, 6);
        let query = QueryPointsBuilder::new(&name).query(Query::new_nearest(vec![1.0; 4])).using("dense").limit(10);
        assert_eq!(client.query(query).await.unwrap().result.len(), 6);
        let search = SearchPointsBuilder::new(&name, vec![1.0; 4], 10).vector_name("dense");
        assert_eq!(client.search_points(search).await.unwrap().result.len(), 5);
        let scroll = client.scroll(ScrollPointsBuilder::new(&name).limit(10)).await.unwrap();
        assert_eq!(scroll.result.len(), 5);

        let shards = Filter::must([Condition::matches("shard", ["s0", "s1"])]);
        let delete = DeletePointsBuilder::new(&name).points(shards).shard_key_selector("s1".to_owned()).wait(true);
        client.delete_points(delete).await.unwrap();
        assert_eq!((count(client, &name, Some("s0")).await, count(client, &name, Some("s1")).await), (3, 0));

        let delete = DeleteShardKeyRequestBuilder::new(&name).key("s0".to_owned());
        assert!(client.delete_shard_key(delete).await.unwrap().result);
        assert_eq!(keys(client, &name).await, BTreeSet::from(["s1".to_owned()]));
        assert_eq!(count(client, &name, None).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_fit_are_refused() {
    on_cluster("wrong shard keys", async |servers: &Servers| {
        let (client, name) = (servers.client(), keyed(servers, 1).await);
        add_key(client, &name, "s0").await;
        let input = |text: &str| (Code::InvalidArgument, format!("Wrong input: {text}"));
        let request = |text: &str| (Code::InvalidArgument, format!("Bad request: {text}"));

        let unknown = client.upsert_points(store(&name, "s9", 1..=1)).await;
        assert_eq!(refused(unknown), input("Shard key \"s9\" not found"));
        let none = UpsertPointsBuilder::new(&name, vec![point(1, [1.0; 4], json!({}))]).wait(true);
        assert_eq!(refused(client.upsert_points(none).await), input("Shard key not specified"));
        let ids = DeletePointsBuilder::new(&name).points(PointsIdsList { ids: vec![1.into()] }).wait(true);
        assert_eq!(refused(client.delete_points(ids).await), input("Shard key not specified"));
        let all = DeletePointsBuilder::new(&name).points(Filter::default()).wait(true);
        assert_eq!(refused(client.delete_points(all).await), input("Shard key not specified"));
        let read = CountPointsBuilder::new(&name).shard_key_selector("s9".to_owned());
        assert_eq!(refused(client.count(read).await), request("Shard key \"s9\" not found"));

        let again = new_key(&name, "s0", CreateShardKeyBuilder::default());
        let expected = request(&format!("Sharding key \"s0\" already exists for collection {name}"));
        assert_eq!(refused(client.create_shard_key(again).await), expected);
        let delete = DeleteShardKeyRequestBuilder::new(&name).key("s9".to_owned());
        let expected = request(&format!("Sharding key \"s9\" does not exist for collection {name}"));
        assert_eq!(refused(client.delete_shard_key(delete).await), expected);
        let nowhere = new_key(&name, "s1", CreateShardKeyBuilder::default().placement(vec![1]));
        assert_eq!(refused(client.create_shard_key(nowhere).await), request("Peer 1 does not exist"));

        let automatic = servers.collection().await;
        let key = new_key(&automatic, "s0", CreateShardKeyBuilder::default());
        let expected = request("Shard Key cannot be created with Auto sharding method");
        assert_eq!(refused(client.create_shard_key(key).await), expected);
        let unknown = client.upsert_points(store(&automatic, "s0", 1..=1)).await;
        assert_eq!(refused(unknown), input("Shard key \"s0\" not found"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cluster_mode_there_are_no_keys() {
    on_single("no cluster mode", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let disabled = (Code::InvalidArgument, "Bad request: Distributed mode disabled".to_owned());
        let create = new_key(&name, "s0", CreateShardKeyBuilder::default());
        assert_eq!(refused(client.create_shard_key(create).await), disabled);
        let delete = DeleteShardKeyRequestBuilder::new(&name).key("s0".to_owned());
        assert_eq!(refused(client.delete_shard_key(delete).await), disabled);
        assert!(client.list_shard_keys(&name).await.unwrap().shard_keys.is_empty());
        let info = client.collection_cluster_info(&name).await.unwrap();
        assert_eq!((info.local_shards.len(), info.remote_shards.len()), (1, 0));

        // A collection that waits for keys is created, and can take no point.
        let keyed = keyed(servers, 1).await;
        let refusal = refused(client.upsert_points(store(&keyed, "s0", 1..=1)).await);
        assert_eq!(refusal, (Code::InvalidArgument, "Wrong input: Shard key \"s0\" not found".to_owned()));
        assert_eq!(count(client, &keyed, None).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_where_they_were_asked_for() {
    on_cluster("placement", async |servers: &Servers| {
        let (client, name) = (servers.client(), keyed(servers, 2).await);
        let mut ids = Vec::new();
        for client in &servers.clients {
            ids.push(client.collection_cluster_info(&name).await.unwrap().peer_id);
        }
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), servers.clients.len(), "peers of one cluster");
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        let placed = CreateShardKeyBuilder::default().placement(vec![first, last]);
        client.create_shard_key(new_key(&name, "placed", placed)).await.unwrap();
        let shape = CreateShardKeyBuilder::default().shards_number(2).replication_factor(1);
        client.create_shard_key(new_key(&name, "two", shape)).await.unwrap();
        client.upsert_points(store(&name, "placed", 1..=4)).await.unwrap();
        client.upsert_points(store(&name, "two", 10..=59)).await.unwrap();

        let mut homes: BTreeMap<String, Vec<(u32, u64)>> = BTreeMap::new();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for client in &servers.clients {
            let info = client.collection_cluster_info(&name).await.unwrap();
            assert_eq!(info.shard_count, 3);
            assert_eq!(info.local_shards.len() + info.remote_shards.len(), 4);
            for shard in info.local_shards {
                assert_eq!(shard.state(), ReplicaState::Active);
                let key = format!("{:?}", shard.shard_key.unwrap().key.unwrap());
                homes.entry(key.clone()).or_default().push((shard.shard_id, info.peer_id));
                *counts.entry(key).or_default() += shard.points_count;
            }
        }
        let placed: BTreeSet<_> = homes["Keyword(\"placed\")"].iter().map(|(_, peer)| *peer).collect();
        assert_eq!(placed, [first, last].into());
        assert_eq!(homes["Keyword(\"two\")"].iter().map(|(shard, _)| *shard).collect::<BTreeSet<_>>().len(), 2);
        // Two replicas of four points, and fifty points over two shards.
        assert_eq!((counts["Keyword(\"placed\")"], counts["Keyword(\"two\")"]), (8, 50));
        assert_eq!(count(client, &name, Some("two")).await, 50);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_shards_share_the_points() {
    on_any("automatic sharding", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        client.create_collection(four_dimensions(&name).shard_number(3)).await.unwrap();
        let points = (1..=60).map(|id| point(id, [1.0; 4], json!({}))).collect();
        crate::upsert(client, &name, points).await;
        for client in &servers.clients {
            assert_eq!(count(client, &name, None).await, 60);
            let info = client.collection_cluster_info(&name).await.unwrap();
            assert_eq!(info.shard_count, 3);
            assert!(info.local_shards.iter().all(|shard| shard.points_count > 0 && shard.points_count < 60));
        }
    })
    .await;
}
