//! Bodies in a local directory, fsynced before they are acknowledged.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use ragstone_core::ports::BlobStore;
use ragstone_core::{Error, ErrorCode, Result};

use super::objects::Objects;
use crate::durable;

/// Bodies under `DIR/ab/cdef…`, where `abcdef…` is the BLAKE3 hash.
pub struct LocalBlobs(Objects);

impl LocalBlobs {
    /// Opens the store in `dir`, which is created where it does not exist.
    ///
    /// # Errors
    /// `StorageFull`, or `Internal` when the directory cannot be used.
    pub async fn open(dir: &Path) -> Result<Self> {
        let owned = dir.to_owned();
        let made = tokio::task::spawn_blocking(move || make_directories(&owned)).await;
        made.map_err(|e| Error::internal("the task that makes blob directories ended").with_source(e))?
            .map_err(|e| file_error(&format!("cannot use {} for document bodies", dir.display()), e))?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|e| store_error("cannot open the blob store", e))?;
        // File and directory are synced before `put` returns, and a body appears under its name only when whole.
        let store = Arc::new(store.with_fsync(true));
        Ok(Self(Objects { store, prefix: Key::default(), error: store_error, check_error: store_error }))
    }
}

/// All 256 directories at once: were they made on demand, a writer could rely on a directory that another writer has
/// made but not yet synced.
fn make_directories(dir: &Path) -> io::Result<()> {
    durable::create_directory(dir)?;
    for n in 0..=u8::MAX {
        match std::fs::create_dir(dir.join(hex::encode([n]))) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    durable::sync_directory(dir)
}

#[async_trait]
impl BlobStore for LocalBlobs {
    async fn put(&self, body: Bytes) -> Result<String> {
        self.0.put(body).await
    }

    async fn get(&self, hash: &str) -> Result<Bytes> {
        self.0.get(hash).await
    }

    async fn delete(&self, hash: &str) -> Result<()> {
        self.0.delete(hash).await
    }

    fn list(&self) -> BoxStream<'_, Result<(String, SystemTime)>> {
        self.0.list()
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}

fn store_error(doing: &str, error: object_store::Error) -> Error {
    if let object_store::Error::NotFound { .. } = error {
        return Error::not_found(doing).with_source(error);
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(is_full) {
            return full(doing).with_source(error);
        }
        cause = inner.source();
    }
    Error::internal(doing).with_source(error)
}

fn file_error(doing: &str, error: io::Error) -> Error {
    if is_full(&error) { full(doing).with_source(error) } else { Error::internal(doing).with_source(error) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn full(doing: &str) -> Error {
    Error::new(ErrorCode::StorageFull, format!("{doing}: the disk is full"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let wrap = |kind| object_store::Error::Generic { store: "local", source: Box::new(io::Error::from(kind)) };
        assert_eq!(store_error("x", wrap(io::ErrorKind::StorageFull)).code, ErrorCode::StorageFull);
        assert_eq!(store_error("x", wrap(io::ErrorKind::QuotaExceeded)).code, ErrorCode::StorageFull);
        assert_eq!(store_error("x", wrap(io::ErrorKind::PermissionDenied)).code, ErrorCode::Internal);
    }
}
