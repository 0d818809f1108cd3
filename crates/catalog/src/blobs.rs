//! Raw document bodies in a local directory: content-addressed, fsynced before they are acknowledged, checked when read.

use std::error::Error as _;
use std::io;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload};
use ragstone_core::ports::BlobStore;
use ragstone_core::{Error, ErrorCode, Result};

use crate::durable;

/// Bodies under `DIR/ab/cdef…`, where `abcdef…` is the BLAKE3 hash.
#[derive(Debug)]
pub struct LocalBlobs {
    store: LocalFileSystem,
}

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
        Ok(Self { store: store.with_fsync(true) })
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
        let hash = hash_of(body.clone()).await?;
        // Written again even when it is there: only so is it certain to be whole and synced.
        self.store
            .put(&key(&hash)?, PutPayload::from_bytes(body))
            .await
            .map_err(|e| store_error("cannot store the document's bytes", e))?;
        Ok(hash)
    }

    async fn get(&self, hash: &str) -> Result<Bytes> {
        let found =
            self.store.get(&key(hash)?).await.map_err(|e| store_error("cannot open the document's bytes", e))?;
        let body = found.bytes().await.map_err(|e| store_error("cannot read the document's bytes", e))?;
        if hash_of(body.clone()).await? == hash {
            Ok(body)
        } else {
            Err(Error::internal(format!("the stored bytes of {hash} are damaged: their hash is another")))
        }
    }

    async fn delete(&self, hash: &str) -> Result<()> {
        match self.store.delete(&key(hash)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(store_error("cannot remove the document's bytes", e)),
        }
    }
}

/// Hashing 50 MiB takes some 20 ms: too long for a thread that serves others.
async fn hash_of(body: Bytes) -> Result<String> {
    tokio::task::spawn_blocking(move || blake3::hash(&body).to_hex().to_string())
        .await
        .map_err(|e| Error::internal("the hashing task ended").with_source(e))
}

fn key(hash: &str) -> Result<Key> {
    blake3::Hash::from_hex(hash).map_err(|e| Error::invalid(format!("'{hash}' is not a hash")).with_source(e))?;
    let (directory, name) = hash.split_at(2);
    Ok(Key::from_iter([directory, name]))
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
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HELLO: &str = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";

    #[tokio::test]
    async fn bodies_come_back_under_their_hash_also_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let blobs = LocalBlobs::open(&root).await.unwrap();
        assert_eq!(blobs.put(Bytes::from_static(b"hello")).await.unwrap(), HELLO);
        assert_eq!(blobs.put(Bytes::from_static(b"hello")).await.unwrap(), HELLO);
        assert!(root.join("ea").join(&HELLO[2..]).is_file());
        let blobs = LocalBlobs::open(&root).await.unwrap();
        assert_eq!(blobs.get(HELLO).await.unwrap(), "hello");
        let empty = blobs.put(Bytes::new()).await.unwrap();
        assert!(blobs.get(&empty).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_removed_or_was_never_there_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path()).await.unwrap();
        blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        blobs.delete(HELLO).await.unwrap();
        blobs.delete(HELLO).await.unwrap();
        assert_eq!(blobs.get(HELLO).await.unwrap_err().code, ErrorCode::NotFound);
        for odd in ["", "../../etc/passwd", "zz", "é"] {
            assert_eq!(blobs.get(odd).await.unwrap_err().code, ErrorCode::InvalidArgument, "{odd}");
        }
    }

    #[tokio::test]
    async fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path()).await.unwrap();
        blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        std::fs::write(dir.path().join("ea").join(&HELLO[2..]), b"hellO").unwrap();
        assert_eq!(blobs.get(HELLO).await.unwrap_err().code, ErrorCode::Internal);
        blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(blobs.get(HELLO).await.unwrap(), "hello");
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let wrap = |kind| object_store::Error::Generic { store: "local", source: Box::new(io::Error::from(kind)) };
        assert_eq!(store_error("x", wrap(io::ErrorKind::StorageFull)).code, ErrorCode::StorageFull);
        assert_eq!(store_error("x", wrap(io::ErrorKind::QuotaExceeded)).code, ErrorCode::StorageFull);
        assert_eq!(store_error("x", wrap(io::ErrorKind::PermissionDenied)).code, ErrorCode::Internal);
    }
}
