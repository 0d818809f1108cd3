//! What happens to replicas while their peers are down. Against the test server only: nobody stops a real one here.

use std::collections::BTreeMap;
use std::time::Duration;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CountPointsBuilder, CreateShardKeyBuilder, CreateShardKeyRequestBuilder, ReadConsistencyType, ReplicaState,
    ShardingMethod, UpsertPointsBuilder, WriteOrdering, WriteOrderingType, read_consistency, shard_key,
};
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use serde_json::json;
use tonic::Code;

use crate::{connect, four_dimensions, point, refused};

/// Three peers and the shard `s0` on the peers 0 and 1, with an index of a field.
async fn cluster(write_consistency: u32) -> (QdrantCluster, Vec<Qdrant>) {
    let config = ClusterConfig { peers: 3, internal_timeout: Duration::from_millis(300), ..Default::default() };
    let cluster = QdrantCluster::start(config).await.unwrap();
    let clients: Vec<_> = cluster.urls().iter().map(|url| connect(url)).collect();
    let create = four_dimensions("c").sharding_method(ShardingMethod::Custom.into()).replication_factor(2);
    clients[0].create_collection(create.write_consistency_factor(write_consistency)).await.unwrap();
    let key = CreateShardKeyBuilder::default().shard_key(shard_key::Key::Keyword("s0".to_owned()));
    let placed = key.placement(vec![cluster.peer_id(0), cluster.peer_id(1)]);
    clients[0].create_shard_key(CreateShardKeyRequestBuilder::new("c").request(placed)).await.unwrap();
    (cluster, clients)
}

fn store(id: u64) -> UpsertPointsBuilder {
    let points = vec![point(id, [1.0; 4], json!({}))];
    UpsertPointsBuilder::new("c", points).shard_key_selector("s0".to_owned()).wait(true)
}

fn counting() -> CountPointsBuilder {
    CountPointsBuilder::new("c").exact(true)
}

async fn count(client: &Qdrant) -> u64 {
    client.count(counting()).await.unwrap().result.unwrap().count
}

/// The states of the replicas by peer, as this client's peer sees them.
async fn states(client: &Qdrant) -> BTreeMap<u64, ReplicaState> {
    let info = client.collection_cluster_info("c").await.unwrap();
    let local = info.local_shards.iter().map(|shard| (info.peer_id, shard.state()));
    local.chain(info.remote_shards.iter().map(|shard| (shard.peer_id, shard.state()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_missed_a_write_is_dead_until_it_is_copied() {
    let (cluster, clients) = cluster(1).await;
    clients[2].upsert_points(store(1)).await.unwrap();
    cluster.stop_peer(0).await;
    assert!(clients[0].count(counting()).await.is_err());
    // Reads go on, also through the peer that has no replica; nobody has missed anything yet.
    assert_eq!((count(&clients[1]).await, count(&clients[2]).await), (1, 1));
    assert_eq!(states(&clients[1]).await[&cluster.peer_id(0)], ReplicaState::Active);

    clients[2].upsert_points(store(2)).await.unwrap();
    let expected = [(cluster.peer_id(0), ReplicaState::Dead), (cluster.peer_id(1), ReplicaState::Active)];
    assert_eq!(states(&clients[1]).await, expected.into());
    assert_eq!((count(&clients[1]).await, count(&clients[2]).await), (2, 2));

    cluster.start_peer(0).await.unwrap();
    assert_eq!(states(&clients[1]).await[&cluster.peer_id(0)], ReplicaState::Active);
    // Its own replica answers now, and goes on from what it got.
    cluster.stop_peer(1).await;
    assert_eq!(count(&clients[0]).await, 2);
    clients[0].upsert_points(store(3)).await.unwrap();
    assert_eq!((count(&clients[0]).await, count(&clients[2]).await), (3, 3));
    cluster.start_peer(1).await.unwrap();
    assert_eq!(count(&clients[1]).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_missed_nothing_needs_no_copy() {
    let (cluster, clients) = cluster(1).await;
    clients[0].upsert_points(store(1)).await.unwrap();
    cluster.stop_peer(0).await;
    cluster.start_peer(0).await.unwrap();
    assert_eq!(count(&clients[0]).await, 1);
    assert!(states(&clients[2]).await.values().all(|state| *state == ReplicaState::Active));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_fail_a_write() {
    let (cluster, clients) = cluster(2).await;
    clients[2].upsert_points(store(1)).await.unwrap();
    cluster.stop_peer(0).await;
    // The server's own trouble, and the replica is not given up for it.
    for id in [2, 3] {
        let (code, text) = refused(clients[2].upsert_points(store(id)).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("Service internal error"), "{text}");
    }
    assert_eq!(states(&clients[2]).await[&cluster.peer_id(0)], ReplicaState::Active);
    cluster.start_peer(0).await.unwrap();
    clients[2].upsert_points(store(4)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_peers_fails_reads_and_writes() {
    let (cluster, clients) = cluster(1).await;
    clients[2].upsert_points(store(1)).await.unwrap();
    cluster.stop_peer(0).await;
    cluster.stop_peer(1).await;
    assert_eq!(refused(clients[2].count(counting()).await).0, Code::Internal);
    assert_eq!(refused(clients[2].upsert_points(store(2)).await).0, Code::Internal);
    // Another shard is not touched by that.
    let key = CreateShardKeyBuilder::default().shard_key(shard_key::Key::Keyword("s1".to_owned()));
    let placed = key.placement(vec![cluster.peer_id(2)]);
    clients[2].create_shard_key(CreateShardKeyRequestBuilder::new("c").request(placed)).await.unwrap();
    let other = counting().shard_key_selector("s1".to_owned());
    assert_eq!(clients[2].count(other).await.unwrap().result.unwrap().count, 0);
    cluster.start_peer(1).await.unwrap();
    assert_eq!(count(&clients[2]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stricter_reads_and_writes_ask_for_more() {
    let (cluster, clients) = cluster(1).await;
    clients[2].upsert_points(store(1)).await.unwrap();
    let all = || counting().read_consistency(read_consistency::Value::Type(ReadConsistencyType::All.into()));
    let two = || counting().read_consistency(read_consistency::Value::Factor(2));
    assert_eq!(clients[2].count(all()).await.unwrap().result.unwrap().count, 1);
    let strong = || store(2).ordering(WriteOrdering { r#type: WriteOrderingType::Strong.into() });
    clients[2].upsert_points(strong()).await.unwrap();

    // The leader of strong writes is the peer of the highest id.
    cluster.stop_peer(1).await;
    assert_eq!(refused(clients[2].count(all()).await).0, Code::Internal);
    assert_eq!(refused(clients[2].count(two()).await).0, Code::Internal);
    let (code, text) = refused(clients[2].upsert_points(strong()).await);
    assert!(code == Code::Internal && text.contains("Strong ordering via leader peer"), "{text}");
    // With medium ordering another one leads.
    let medium = store(3).ordering(WriteOrdering { r#type: WriteOrderingType::Medium.into() });
    clients[2].upsert_points(medium).await.unwrap();
    assert_eq!(count(&clients[0]).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_is_given_up() {
    let (cluster, clients) = cluster(1).await;
    cluster.pause(0);
    clients[2].upsert_points(store(1)).await.unwrap();
    assert_eq!(states(&clients[2]).await[&cluster.peer_id(0)], ReplicaState::Dead);
    assert_eq!(count(&clients[2]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_through_another_peer_avoids_the_slow_one() {
    let (cluster, clients) = cluster(1).await;
    clients[2].upsert_points(store(1)).await.unwrap();
    cluster.delay(0, Duration::from_secs(60));
    let read = tokio::time::timeout(Duration::from_secs(20), count(&clients[2])).await;
    assert_eq!(read.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_a_peer_that_is_down_is_complete_when_that_is_back() {
    let (cluster, clients) = cluster(1).await;
    cluster.stop_peer(0).await;
    let key = CreateShardKeyBuilder::default().shard_key(shard_key::Key::Keyword("s1".to_owned()));
    let placed = key.placement(vec![cluster.peer_id(0), cluster.peer_id(2)]);
    let created = clients[2].create_shard_key(CreateShardKeyRequestBuilder::new("c").request(placed)).await;
    assert_eq!(refused(created).0, Code::DeadlineExceeded);
    let points = vec![point(1, [1.0; 4], json!({}))];
    let store = UpsertPointsBuilder::new("c", points).shard_key_selector("s1".to_owned()).wait(true);
    clients[2].upsert_points(store).await.unwrap();
    cluster.start_peer(0).await.unwrap();
    cluster.stop_peer(2).await;
    let read = counting().shard_key_selector("s1".to_owned());
    assert_eq!(clients[0].count(read).await.unwrap().result.unwrap().count, 1);
}
