//! Qdrant under the contract: a cluster, a single one, and a real one where there is one.

use std::sync::Arc;

use ragstone_core::ports::VectorIndexes;
use ragstone_testkit::qdrant::ClusterConfig;
use ragstone_vector::{QdrantConfig, QdrantIndexes};

use crate::common::Server;
use crate::contract::Fixture;

async fn open(server: &Server, shards: usize) -> Arc<dyn VectorIndexes> {
    let config = QdrantConfig { shards: shards as u32, ..server.config() };
    Arc::new(QdrantIndexes::open(config).await.unwrap())
}

/// Four peers in this process, two replicas of each shard.
pub(crate) struct Cluster(Server, usize);

impl Fixture for Cluster {
    const RESHARDS: bool = true;

    fn name(&self) -> String {
        format!("Qdrant's API, 4 peers, {} shards, 2 replicas", self.1)
    }

    async fn start(shards: usize) -> Result<Self, String> {
        Ok(Self(Server::cluster(4).await, shards))
    }

    async fn open(&self) -> Arc<dyn VectorIndexes> {
        open(&self.0, self.1).await
    }
}

/// One peer in this process without cluster mode.
pub(crate) struct Single(Server);

impl Fixture for Single {
    const RESHARDS: bool = false;

    fn name(&self) -> String {
        "Qdrant's API, one peer without cluster mode".to_owned()
    }

    async fn start(_: usize) -> Result<Self, String> {
        Ok(Self(Server::with(ClusterConfig { distributed: false, ..ClusterConfig::default() }).await))
    }

    async fn open(&self) -> Arc<dyn VectorIndexes> {
        open(&self.0, 1).await
    }
}

/// A real Qdrant. Whether it can be resharded depends on its mode; the tests of `moving.rs` find out.
pub(crate) struct Real(Server, usize);

impl Fixture for Real {
    const RESHARDS: bool = true;

    fn name(&self) -> String {
        format!("a real Qdrant at {}, {} shards", self.0.urls.join(", "), self.1)
    }

    async fn start(shards: usize) -> Result<Self, String> {
        let server = Server::real().ok_or("RAGSTONE_TEST_QDRANT is not set")?;
        if shards > 2 && server.urls.len() == 1 {
            return Err("one URL: taken for a Qdrant without cluster mode".to_owned());
        }
        Ok(Self(server, shards))
    }

    async fn open(&self) -> Arc<dyn VectorIndexes> {
        open(&self.0, self.1).await
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // Cleaning up is asynchronous: a thread with a runtime of its own does it.
        let Server { urls, rest_urls, prefix, .. } = &self.0;
        let server = Server { cluster: None, urls: urls.clone(), rest_urls: rest_urls.clone(), prefix: prefix.clone() };
        let cleaning = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(server.clean());
        });
        if cleaning.join().is_err() {
            eprintln!("collections of {prefix} are left in the real Qdrant");
        }
    }
}
