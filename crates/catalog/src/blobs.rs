//! Raw document bodies under their BLAKE3 hash, in a local directory or in an S3-compatible store.

mod config;
mod local;
mod objects;
mod s3;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ragstone_core::Result;
use ragstone_core::ports::BlobStore;

pub use config::{BlobsConfig, S3Config};
pub use local::LocalBlobs;
pub use s3::S3Blobs;

/// The store that `config` describes: S3 when a bucket is named, else a directory, `blobs` in `data_dir` unless another is
/// named. Credentials for S3 that the configuration does not have are taken from `env`, the process's environment.
///
/// # Errors
/// `InvalidArgument`, naming the key, when a setting cannot be used or S3 refuses it; `Unavailable` when
/// S3 does not answer; `StorageFull` or `Internal` when the directory cannot be used.
pub async fn open_blobs(
    config: &BlobsConfig,
    data_dir: &Path,
    env: &HashMap<String, String>,
) -> Result<Arc<dyn BlobStore>> {
    config.validate()?;
    if config.s3.bucket.is_empty() {
        let directory = config.directory.clone().unwrap_or_else(|| data_dir.join("blobs"));
        return Ok(Arc::new(LocalBlobs::open(&directory).await?));
    }
    Ok(Arc::new(S3Blobs::open(&config.s3, env).await?))
}
