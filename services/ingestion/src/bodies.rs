//! The blob store with a gate, so that a body is never removed between being stored and being entered in the catalog.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ragstone_core::ports::{Accepted, BlobStore, Catalog, Lease, NewVersion, Write};
use ragstone_core::{Error, IndexName, Result};
use tokio::sync::RwLock;
use tracing::Instrument as _;

/// Bodies looked up in the catalog at a time.
const SWEPT_AT_ONCE: usize = 500;

/// Raw bodies, shared between accepting and cleaning. Equal bodies are stored once: without the gate, cleaning up after
/// one version could remove what an upload of the same bytes has just stored and is about to enter.
pub(crate) struct Bodies {
    blobs: Arc<dyn BlobStore>,
    /// Whether this process has the store to itself, so that the gate keeps everybody out.
    alone: bool,
    /// Read: between storing and entering. Written: between giving up and removing.
    gate: Arc<RwLock<()>>,
}

impl Bodies {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, alone: bool) -> Self {
        Self { blobs, alone, gate: Arc::default() }
    }

    /// Whether the store answers and can be written to.
    pub(crate) async fn check(&self) -> Result<()> {
        self.blobs.check().await
    }

    pub(crate) async fn get(&self, hash: &str) -> Result<Bytes> {
        self.blobs.get(hash).await
    }

    /// Stores bytes that no version refers to.
    #[cfg(test)]
    pub(crate) async fn put(&self, body: Bytes) -> Result<String> {
        self.blobs.put(body).await
    }

    /// Stores `body` and enters the version that `version` makes of its hash; both are on disk on return.
    pub(crate) async fn enter(
        &self,
        catalog: &dyn Catalog,
        body: Bytes,
        version: impl FnOnce(String) -> Result<(Write, NewVersion)>,
    ) -> Result<Accepted> {
        let _gate = self.gate.read().await;
        let hash = self.blobs.put(body.clone()).await?;
        let (write, version) = version(hash)?;
        let accepted = catalog.accept(&write, version).await?;
        if !self.alone {
            // Another process's sweep may have taken an old copy between the two; now that the catalog names it, none will.
            self.blobs.put(body).await?;
        }
        Ok(accepted)
    }

    /// Completes the job and removes the bodies that nothing needs any more. Once begun it ends, also when the caller
    /// leaves: with the gate open again, a removal still under way could take what the next upload has just stored.
    pub(crate) async fn complete(
        &self,
        catalog: &Arc<dyn Catalog>,
        lease: &Lease,
        written: &[IndexName],
    ) -> Result<()> {
        let gate = if self.alone { Some(self.gate.clone().write_owned().await) } else { None };
        let (blobs, catalog, lease) = (self.blobs.clone(), catalog.clone(), lease.clone());
        let (written, alone) = (written.to_vec(), self.alone);
        let work = async move {
            let _gate = gate;
            let unused = catalog.complete(&lease, &written).await?;
            // Another process may be about to enter the same bytes: what is left behind goes with the next sweep.
            for hash in unused.into_iter().filter(|_| alone) {
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

    /// Removes bodies that no version needs: an upload that was refused after its bytes were stored, or a process that
    /// ended between two steps, leaves some behind. Only those stored more than `age` ago, longer than any upload takes.
    /// Returns how many went.
    pub(crate) async fn sweep(&self, catalog: &dyn Catalog, age: Duration) -> Result<u64> {
        let mut swept = 0;
        let mut old = self.blobs.list().try_chunks(SWEPT_AT_ONCE);
        while let Some(found) = old.next().await {
            let found = found.map_err(|broken| broken.1)?;
            let is_old = |at: &SystemTime| at.elapsed().is_ok_and(|since| since > age);
            let hashes: Vec<String> = found.into_iter().filter(|(_, at)| is_old(at)).map(|(hash, _)| hash).collect();
            let _gate = if self.alone { Some(self.gate.write().await) } else { None };
            let used = catalog.bodies_in_use(&hashes).await?;
            for hash in hashes.into_iter().filter(|hash| !used.contains(hash)) {
                // Asked once more: the first answer may be old by now.
                if self.alone || catalog.bodies_in_use(std::slice::from_ref(&hash)).await?.is_empty() {
                    self.blobs.delete(&hash).await?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }
}
