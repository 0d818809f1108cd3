//! One index in Qdrant behind the `VectorStore` port.

use std::sync::Arc;

use async_trait::async_trait;
use ragstone_core::ports::{Point, VectorStore};
use ragstone_core::{DocumentId, IndexSpec, Result, SearchResult, TenantId, Topology, VectorQuery};
use tokio_util::task::AbortOnDropHandle;

use super::collection::Collection;

/// One index in Qdrant: a collection whose shards are looked up in the background for as long as this is there.
#[derive(Debug)]
pub struct QdrantStore {
    collection: Arc<Collection>,
    _looking: AbortOnDropHandle<()>,
}

impl QdrantStore {
    pub(crate) fn new(collection: Collection) -> Self {
        let collection = Arc::new(collection);
        let looked_after = Arc::clone(&collection);
        let task = tokio::spawn(async move { looked_after.keep_looking().await });
        Self { collection, _looking: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn collection(&self) -> &Collection {
        &self.collection
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    fn spec(&self) -> &IndexSpec {
        &self.collection.spec
    }

    async fn search(&self, query: VectorQuery) -> Result<SearchResult> {
        self.collection.search(query).await
    }

    async fn upsert_staged(&self, points: Vec<Point>) -> Result<()> {
        self.collection.upsert_staged(points).await
    }

    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()> {
        self.collection.publish((tenant.as_str(), document.as_str()), version, chunks).await
    }

    async fn remove_versions(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()> {
        self.collection.remove_versions((tenant.as_str(), document.as_str()), below).await
    }

    /// Nothing is left to do: every write before has waited until all healthy replicas had applied it, or has failed.
    async fn flush(&self, _: &TenantId, _: &DocumentId) -> Result<()> {
        Ok(())
    }

    async fn live_documents(&self) -> Result<u64> {
        self.collection.live_documents().await
    }

    async fn unhealthy_shards(&self) -> Vec<String> {
        let all = |topology: &Topology| topology.all().into_iter().map(str::to_owned).collect::<Vec<_>>();
        match self.collection.ask_all(self.collection.config.shard_timeout()).await {
            Ok(view) => all(&view.layout.topology).into_iter().filter(|shard| !view.served.contains(shard)).collect(),
            Err(_) => all(&self.collection.known().layout.topology),
        }
    }

    async fn topology(&self) -> Result<Topology> {
        Ok(self.collection.fresh().await?.layout.topology.clone())
    }

    async fn begin_reshard(&self, shards: &[String]) -> Result<()> {
        self.collection.begin_reshard(shards).await
    }

    async fn move_document(&self, tenant: &TenantId, document: &DocumentId) -> Result<bool> {
        self.collection.move_document((tenant.as_str(), document.as_str())).await
    }

    async fn finish_reshard(&self) -> Result<()> {
        self.collection.finish_reshard().await
    }
}
