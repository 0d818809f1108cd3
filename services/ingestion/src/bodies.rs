//! The blob store with a gate, so that a body is never removed between being stored and being entered in the catalog.

use std::sync::Arc;

use bytes::Bytes;
use ragstone_core::ports::{Accepted, BlobStore, Catalog, Lease, NewVersion};
use ragstone_core::{Error, Result};
use tokio::sync::RwLock;
use tracing::Instrument as _;

/// Raw bodies, shared between accepting and cleaning. Equal bodies are stored once: without the gate, cleaning up after
/// one version could remove what an upload of the same bytes has just stored and is about to enter.
pub(crate) struct Bodies {
    blobs: Arc<dyn BlobStore>,
    /// Read: between storing and entering. Written: between giving up and removing.
    gate: Arc<RwLock<()>>,
}

impl Bodies {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs, gate: Arc::default() }
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

    /// Completes the job and removes the bodies that nothing needs any more. Once begun it ends, also when the caller
    /// leaves: with the gate open again, a removal still under way could take what the next upload has just stored.
    pub(crate) async fn complete(&self, catalog: &Arc<dyn Catalog>, lease: &Lease) -> Result<()> {
        let gate = self.gate.clone().write_owned().await;
        let (blobs, catalog, lease) = (self.blobs.clone(), catalog.clone(), lease.clone());
        let work = async move {
            let _gate = gate;
            for hash in catalog.complete(&lease).await? {
                // The job is done either way; what stays behind costs only room.
                if let Err(error) = blobs.delete(&hash).await {
                    tracing::warn!(error = error.chain(), hash, "a body that nothing needs could not be removed");
                }
            }
            Ok(())
        };
        let ended = tokio::spawn(work.in_current_span()).await;
        ended.unwrap_or_else(|error| Err(Error::internal("completing a job broke off").with_source(error)))
    }
}
