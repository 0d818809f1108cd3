//! The Qdrant test server through Qdrant's own client, and the same checks against a real server when there is one:
//! `RAGSTONE_TEST_QDRANT` holds the gRPC URLs of its peers, separated by commas.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod collections;
mod errors;
mod faults;
mod payloads;
mod reads;
mod replicas;
mod shard_keys;
mod writes;

use std::collections::HashMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, CreateShardKeyBuilder, CreateShardKeyRequestBuilder, Distance, Modifier, PointStruct,
    SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpsertPointsBuilder, VectorParamsBuilder,
    VectorsConfigBuilder, shard_key,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use tonic::Code;
use uuid::Uuid;

const REAL: &str = "RAGSTONE_TEST_QDRANT";

/// Servers under test.
struct Servers {
    urls: Vec<String>,
    clients: Vec<Qdrant>,
    created: Mutex<Vec<String>>,
}

impl Servers {
    fn new(urls: &[String]) -> Self {
        Self { urls: urls.to_vec(), clients: urls.iter().map(|url| connect(url)).collect(), created: Mutex::default() }
    }

    /// The client of the first peer.
    fn client(&self) -> &Qdrant {
        &self.clients[0]
    }

    /// A name nobody else uses; the collection is deleted afterwards.
    fn name(&self) -> String {
        let name = format!("ragstone-test-{}", Uuid::new_v4());
        self.created.lock().unwrap().push(name.clone());
        name
    }

    /// A collection with a dense vector of four dimensions and a sparse one with IDF, without shard keys.
    async fn collection(&self) -> String {
        let name = self.name();
        self.client().create_collection(four_dimensions(&name)).await.unwrap();
        name
    }

    async fn is_cluster(&self) -> bool {
        let key = CreateShardKeyBuilder::default().shard_key(shard_key::Key::Number(1));
        let request = CreateShardKeyRequestBuilder::new("ragstone-no-such-collection").request(key);
        let (_, text) = refused(self.client().create_shard_key(request).await);
        !text.contains("Distributed mode disabled")
    }
}

fn connect(url: &str) -> Qdrant {
    // Creating shards takes a real cluster long when several tests do it at once.
    Qdrant::from_url(url).skip_compatibility_check().timeout(Duration::from_secs(60)).build().unwrap()
}

/// Runs a check against a test server that is a cluster of three, and against a real cluster.
async fn on_cluster(what: &str, check: impl AsyncFn(&Servers)) {
    let cluster = QdrantCluster::start(ClusterConfig { peers: 3, ..Default::default() }).await.unwrap();
    run(what, "the test server, three peers", &cluster.urls(), &check).await;
    on_real(what, Some(true), &check).await;
}

/// Runs a check against a test server without cluster mode, and against such a real one.
async fn on_single(what: &str, check: impl AsyncFn(&Servers)) {
    let config = ClusterConfig { distributed: false, ..Default::default() };
    let cluster = QdrantCluster::start(config).await.unwrap();
    run(what, "the test server without cluster mode", &cluster.urls(), &check).await;
    on_real(what, Some(false), &check).await;
}

/// Runs a check that is the same with and without cluster mode.
async fn on_any(what: &str, check: impl AsyncFn(&Servers)) {
    for (peers, distributed) in [(1, false), (3, true)] {
        let config = ClusterConfig { peers, distributed, ..Default::default() };
        let cluster = QdrantCluster::start(config).await.unwrap();
        run(what, &format!("the test server, {peers} peers"), &cluster.urls(), &check).await;
    }
    on_real(what, None, &check).await;
}

async fn on_real(what: &str, cluster: Option<bool>, check: &impl AsyncFn(&Servers)) {
    let Ok(urls) = std::env::var(REAL) else {
        eprintln!("{what}: not run against a real Qdrant, {REAL} is not set");
        return;
    };
    let urls: Vec<_> = urls.split(',').map(str::to_owned).collect();
    let is_cluster = Servers::new(&urls).is_cluster().await;
    if cluster.is_some_and(|wanted| wanted != is_cluster) {
        eprintln!("{what}: not run against {urls:?}, whose cluster mode is {is_cluster}");
        return;
    }
    run(what, &format!("a real Qdrant at {urls:?}"), &urls, check).await;
}

async fn run(what: &str, against: &str, urls: &[String], check: &impl AsyncFn(&Servers)) {
    let servers = Servers::new(urls);
    let version = servers.client().health_check().await.unwrap().version;
    eprintln!("{what}: against {against}, version {version}");
    let outcome = AssertUnwindSafe(check(&servers)).catch_unwind().await;
    let created = std::mem::take(&mut *servers.created.lock().unwrap());
    for name in created {
        servers.client().delete_collection(name).await.unwrap();
    }
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

fn four_dimensions(name: &str) -> CreateCollectionBuilder {
    let mut dense = VectorsConfigBuilder::default();
    dense.add_named_vector_params("dense", VectorParamsBuilder::new(4, Distance::Cosine));
    let mut sparse = SparseVectorsConfigBuilder::default();
    sparse.add_named_vector_params("words", SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
    CreateCollectionBuilder::new(name).vectors_config(dense).sparse_vectors_config(sparse)
}

fn payload(json: serde_json::Value) -> Payload {
    Payload::try_from(json).unwrap()
}

fn fields(json: serde_json::Value) -> HashMap<String, serde_json::Value> {
    serde_json::from_value(json).unwrap()
}

/// A point with a dense vector only.
fn point(id: u64, dense: [f32; 4], json: serde_json::Value) -> PointStruct {
    let vectors: HashMap<String, Vec<f32>> = HashMap::from([("dense".to_owned(), dense.to_vec())]);
    PointStruct::new(id, vectors, payload(json))
}

async fn upsert(client: &Qdrant, collection: &str, points: Vec<PointStruct>) {
    client.upsert_points(UpsertPointsBuilder::new(collection, points).wait(true)).await.unwrap();
}

/// The code and the message of an error.
fn refused<T: Debug>(outcome: Result<T, QdrantError>) -> (Code, String) {
    match outcome {
        Err(QdrantError::ResponseError { status }) => (status.code(), status.message().to_owned()),
        other => panic!("expected an error of the server, got {other:?}"),
    }
}

fn number(id: Option<qdrant_client::qdrant::PointId>) -> u64 {
    match id.and_then(|id| id.point_id_options) {
        Some(qdrant_client::qdrant::point_id::PointIdOptions::Num(number)) => number,
        other => panic!("no number: {other:?}"),
    }
}
