//! What directory and S3 have in common: bodies under `ab/cdef…`, where `abcdef…` is the hash, checked when read.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::{Path as Key, PathPart};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use ragstone_core::{Error, Result};

/// What `check` writes and `list` does not see.
const PROBE: &str = ".check";

/// Objects of a store, under a prefix.
pub(super) struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Key,
    /// What an error of a call means; the text says what was being done.
    pub(super) error: fn(&str, object_store::Error) -> Error,
    /// What it means to whoever starts or watches the service.
    pub(super) check_error: fn(&str, object_store::Error) -> Error,
}

impl Objects {
    pub(super) async fn put(&self, body: Bytes) -> Result<String> {
        let hash = hash_of(body.clone()).await?;
        // Written again even when it is there: only so is it certain to be whole and durable.
        let put = self.store.put(&self.key(&hash)?, PutPayload::from_bytes(body)).await;
        put.map_err(|e| (self.error)("cannot store the document's bytes", e))?;
        Ok(hash)
    }

    pub(super) async fn get(&self, hash: &str) -> Result<Bytes> {
        let found = self.store.get(&self.key(hash)?).await;
        let found = found.map_err(|e| (self.error)("cannot open the document's bytes", e))?;
        let body = found.bytes().await.map_err(|e| (self.error)("cannot read the document's bytes", e))?;
        if hash_of(body.clone()).await? == hash {
            Ok(body)
        } else {
            Err(Error::internal(format!("the stored bytes of {hash} are damaged: their hash is another")))
        }
    }

    pub(super) async fn delete(&self, hash: &str) -> Result<()> {
        match self.store.delete(&self.key(hash)?).await {
            Ok(()) => Ok(()),
            Err(error) => match (self.error)("cannot remove the document's bytes", error) {
                error if error.code == ragstone_core::ErrorCode::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(super) fn list(&self) -> BoxStream<'_, Result<(String, SystemTime)>> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let objects = self.store.list(prefix).map_err(|e| (self.error)("cannot list the documents' bytes", e));
        objects.try_filter_map(async |object| Ok(self.named(&object))).boxed()
    }

    /// Writes a few bytes and looks whether they are there.
    pub(super) async fn check(&self) -> Result<()> {
        let key = self.below([PROBE]);
        let put = self.store.put(&key, PutPayload::from_static(b"ragstone")).await;
        put.map_err(|e| (self.check_error)("cannot store documents' bytes", e))?;
        self.store.head(&key).await.map_err(|e| (self.check_error)("cannot read documents' bytes", e)).map(drop)
    }

    fn key(&self, hash: &str) -> Result<Key> {
        // Of all ways to write a hash only the one it is stored under.
        let known = blake3::Hash::from_hex(hash).is_ok_and(|parsed| parsed.to_hex().as_str() == hash);
        if !known {
            return Err(Error::invalid(format!("'{hash}' is not a hash")));
        }
        let (directory, name) = hash.split_at(2);
        Ok(self.below([directory, name]))
    }

    fn below<'a>(&'a self, parts: impl IntoIterator<Item = &'a str>) -> Key {
        self.prefix.parts().chain(parts.into_iter().map(PathPart::from)).collect()
    }

    /// The hash an object is stored under; `None` for what else lies there.
    fn named(&self, object: &ObjectMeta) -> Option<(String, SystemTime)> {
        let parts: Vec<PathPart<'_>> = object.location.prefix_match(&self.prefix)?.collect();
        let [directory, name] = parts.as_slice() else { return None };
        let hash = format!("{}{}", directory.as_ref(), name.as_ref());
        let stored_here = self.key(&hash).is_ok_and(|key| key == object.location);
        stored_here.then(|| (hash, object.last_modified.into()))
    }
}

/// Hashing 50 MiB takes some 20 ms: too long for a thread that serves others.
async fn hash_of(body: Bytes) -> Result<String> {
    tokio::task::spawn_blocking(move || blake3::hash(&body).to_hex().to_string())
        .await
        .map_err(|e| Error::internal("the hashing task ended").with_source(e))
}
