//! The blob store with a gate, so that a body is never removed between being stored and being entered in the catalog.

use std::sync::Arc;

use bytes::Bytes;
use ragstone_core::Result;
use ragstone_core::ports::{Accepted, BlobStore, Catalog, Lease, NewVersion};
use tokio::sync::RwLock;

/// Raw bodies, shared between accepting and cleaning. Equal bodies are stored once: without the gate, cleaning up after
/// one version could remove what an upload of the same bytes has just stored and is about to enter.
pub(crate) struct Bodies {
    blobs: Arc<dyn BlobStore>,
    /// Read: between storing and entering. Written: between giving up and removing.
    gate: RwLock<()>,
}

impl Bodies {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs, gate: RwLock::new(()) }
    }

    pub(crate) async fn get(&self, hash: &str) -> Result<Bytes> {
        self.blobs.get(hash).await
    }

    /// Stores `body` and enters the version that `version` makes of its hash; both are on disk on return.
    pub(crate) async fn enter(
        &self,
        catalog: &dyn Catalog,
        body: Bytes,
        version: impl FnOnce(String) -> Result<NewVersion>,
    ) -> Result<Accepted> {
        let _gate = self.gate.read().await;
        let hash = self.blobs.put(body).await?;
        catalog.accept(version(hash)?).await
    }

    /// Completes the job and removes the bodies that nothing needs any more.
    pub(crate) async fn complete(&self, catalog: &dyn Catalog, lease: &Lease) -> Result<()> {
        let _gate = self.gate.write().await;
        for hash in catalog.complete(lease).await? {
            // The job is done either way; what stays behind costs only room.
            if let Err(error) = self.blobs.delete(&hash).await {
                tracing::warn!(error = error.chain(), hash, "a body that nothing needs could not be removed");
            }
        }
        Ok(())
    }
}
