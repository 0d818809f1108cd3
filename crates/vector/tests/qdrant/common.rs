//! The servers the tests run against, and builders of what they store.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use qdrant_client::Qdrant;
use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{SearchResult, VectorQuery};
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use ragstone_vector::{QdrantConfig, QdrantIndexes};

pub(crate) use crate::contract::{DIMENSION, document, point, put, query, spec, tenant, vector};

/// A Qdrant to test against.
pub(crate) struct Server {
    pub(crate) cluster: Option<QdrantCluster>,
    pub(crate) urls: Vec<String>,
    pub(crate) rest_urls: Vec<String>,
    pub(crate) prefix: String,
}

impl Server {
    /// A cluster in this process.
    pub(crate) async fn cluster(peers: usize) -> Self {
        Self::with(ClusterConfig { peers, ..ClusterConfig::default() }).await
    }

    pub(crate) async fn with(config: ClusterConfig) -> Self {
        // TLS needs a provider, whoever is first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let cluster = QdrantCluster::start(config).await.unwrap();
        let (urls, rest_urls) = (cluster.urls(), cluster.rest_urls());
        Self { urls, rest_urls, cluster: Some(cluster), prefix: prefix() }
    }

    /// The real one, where one is named.
    pub(crate) fn real() -> Option<Self> {
        let urls = std::env::var("RAGSTONE_TEST_QDRANT").ok().filter(|urls| !urls.is_empty())?;
        let urls: Vec<String> = urls.split(',').map(|url| url.trim().to_owned()).collect();
        let rest_urls = match std::env::var("RAGSTONE_TEST_QDRANT_REST").ok().filter(|urls| !urls.is_empty()) {
            Some(named) => named.split(',').map(|url| url.trim().to_owned()).collect(),
            None => urls.iter().map(|url| port_below(url)).collect(),
        };
        Some(Self { cluster: None, urls, rest_urls, prefix: prefix() })
    }

    /// The same Qdrant for somebody else: collections with another prefix.
    pub(crate) fn beside(&self) -> Self {
        Self { cluster: None, urls: self.urls.clone(), rest_urls: self.rest_urls.clone(), prefix: prefix() }
    }

    pub(crate) fn faults(&self) -> &QdrantCluster {
        self.cluster.as_ref().unwrap()
    }

    /// Settings for short tests.
    pub(crate) fn config(&self) -> QdrantConfig {
        QdrantConfig {
            urls: self.urls.clone(),
            rest_urls: self.rest_urls.clone(),
            collection_prefix: self.prefix.clone(),
            shard_timeout_ms: 1000,
            write_timeout_ms: 4000,
            topology_refresh_ms: 200,
            ..QdrantConfig::default()
        }
    }

    pub(crate) async fn indexes(&self) -> QdrantIndexes {
        QdrantIndexes::open(self.config()).await.unwrap()
    }

    /// A new index that serves.
    pub(crate) async fn store(&self) -> Arc<dyn VectorStore> {
        open(&self.indexes().await).await
    }

    pub(crate) fn collection(&self) -> String {
        format!("{}-{}", self.prefix, spec().name)
    }

    /// Qdrant's own client.
    pub(crate) fn client(&self) -> Qdrant {
        Qdrant::from_url(&self.urls[0]).skip_compatibility_check().build().unwrap()
    }

    /// The peers, by number, that hold a shard.
    pub(crate) async fn holders(&self, shard: &str) -> Vec<usize> {
        let cluster = self.faults();
        let info = self.client().collection_cluster_info(self.collection()).await.unwrap();
        let wanted = Some(qdrant_client::qdrant::ShardKey::from(shard));
        let local = info.local_shards.iter().filter(|s| s.shard_key == wanted).map(|_| info.peer_id);
        let remote = info.remote_shards.iter().filter(|s| s.shard_key == wanted).map(|s| s.peer_id);
        let ids: Vec<u64> = local.chain(remote).collect();
        (0..self.urls.len()).filter(|&peer| ids.contains(&cluster.peer_id(peer))).collect()
    }

    /// Removes what a test has left in a real Qdrant.
    pub(crate) async fn clean(&self) {
        if self.cluster.is_none() {
            let client = self.client();
            for found in client.list_collections().await.unwrap().collections {
                if found.name.starts_with(&self.prefix) {
                    client.delete_collection(found.name).await.unwrap();
                }
            }
        }
    }
}

/// Where Qdrant serves REST as it is usually set up: on the port below the one for gRPC.
fn port_below(url: &str) -> String {
    let (host, port) = url.rsplit_once(':').unwrap();
    format!("{host}:{}", port.trim_end_matches('/').parse::<u16>().unwrap() - 1)
}

fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("ragstone-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Everything this test is to run against; said on stderr, past the capture of test output.
pub(crate) async fn servers(test: &str) -> Vec<Server> {
    let mut servers = vec![Server::cluster(4).await];
    let single = ClusterConfig { distributed: false, ..ClusterConfig::default() };
    servers.push(Server::with(single).await);
    let mut said = "a cluster of 4 in process, a single one in process".to_owned();
    match Server::real() {
        Some(real) => {
            said.push_str(&format!(", a real one at {}", real.urls.join(", ")));
            servers.push(real);
        }
        None => said.push_str("; no real one: RAGSTONE_TEST_QDRANT is not set"),
    }
    std::io::stderr().write_all(format!("{test}: ran against {said}\n").as_bytes()).unwrap();
    servers
}

pub(crate) async fn open(indexes: &QdrantIndexes) -> Arc<dyn VectorStore> {
    indexes.create(&spec()).await.unwrap();
    indexes.open(None).await.unwrap()
}

/// Stores documents `d0`, `d1` and so on of two chunks, several at a time.
pub(crate) async fn fill(store: &dyn VectorStore, count: usize) {
    use futures::StreamExt;
    let one = |n: usize| async move {
        let name = format!("d{n}");
        let chunk = |index| {
            let mut point = point("t", &name, 1, index, &format!("common words, number {n}, part {index}"));
            point.vector = vector((n * 2) as u64 + u64::from(index));
            point
        };
        put(store, vec![chunk(0), chunk(1)]).await;
    };
    futures::stream::iter(0..count).for_each_concurrent(8, one).await;
}

/// (document, version, chunk) of each hit, best first.
pub(crate) fn ids(found: &SearchResult) -> Vec<(String, u64, u32)> {
    found.hits.iter().map(|hit| (hit.document_id.to_string(), hit.version, hit.chunk_index)).collect()
}

/// The same for a search that must be complete.
pub(crate) async fn hits(store: &dyn VectorStore, query: VectorQuery) -> Vec<(String, u64, u32)> {
    let found = store.search(query).await.unwrap();
    assert!(!found.shards.is_partial(), "{:?}", found.shards);
    ids(&found)
}
