//! An index in a backup: a directory with one file for each shard and, written last, `index.json`, which says what they are.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ragstone_core::{Error, ErrorCode, IndexName, IndexSpec, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::fields::Kind;

/// The layout of such a directory; raised when an older Ragstone could not read it.
const FORMAT: u32 = 1;
const CONTENTS: &str = "index.json";
/// Read at a time.
const BLOCK: usize = 1 << 20;

/// An index in a backup.
#[derive(Debug, Clone)]
pub struct SavedIndex {
    directory: PathBuf,
    pub(crate) contents: Contents,
}

/// What `index.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    format: u32,
    pub(crate) spec: IndexSpec,
    /// Names of the analysers of its texts.
    pub(crate) analyzers: Vec<String>,
    /// Metadata fields with a payload index.
    pub(crate) fields: Vec<Field>,
    pub(crate) shards: Vec<Shard>,
}

/// A payload index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    /// As Qdrant writes it.
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

/// A shard's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shard {
    /// The shard's name; the file has it too.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

impl Contents {
    pub(crate) fn new(spec: IndexSpec, analyzers: Vec<String>, fields: Vec<Field>, shards: Vec<Shard>) -> Self {
        Self { format: FORMAT, spec, analyzers, fields, shards }
    }

    /// Writes it, synced: what is in a directory without it is no index.
    pub(crate) async fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(CONTENTS);
        let io = |error| unusable(&path, error);
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::internal("no contents").with_source(e))?;
        let mut file = tokio::fs::File::create(&path).await.map_err(io)?;
        file.write_all(&json).await.map_err(io)?;
        file.sync_all().await.map_err(io)?;
        tokio::fs::File::open(directory).await.map_err(io)?.sync_all().await.map_err(io)
    }
}

impl SavedIndex {
    /// Reads what is in `directory` and makes sure that every file is whole.
    ///
    /// # Errors
    /// `InvalidArgument`, with the file that is missing, damaged or of another Ragstone.
    pub async fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(CONTENTS);
        let json = tokio::fs::read(&path).await.map_err(|error| unusable(&path, error))?;
        let wrong = |why: String| Error::invalid(format!("{} is of no use: {why}", path.display()));
        let contents: Contents = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        if contents.format != FORMAT {
            return Err(wrong(format!("its format is {}, this Ragstone reads {FORMAT}", contents.format)));
        }
        let names: BTreeSet<_> = contents.shards.iter().map(|shard| shard.name.as_str()).collect();
        if names.is_empty() || names.len() < contents.shards.len() {
            return Err(wrong("it names no shards, or one twice".to_owned()));
        }
        // They become paths.
        names.iter().try_for_each(|name| IndexName::new(*name).map(drop))?;
        let saved = Self { directory: directory.to_owned(), contents };
        for shard in &saved.contents.shards {
            saved.check(shard).await?;
        }
        Ok(saved)
    }

    /// What the index holds.
    #[must_use]
    pub fn spec(&self) -> &IndexSpec {
        &self.contents.spec
    }

    /// The file of a shard.
    pub(crate) fn file(&self, shard: &Shard) -> PathBuf {
        file(&self.directory, &shard.name)
    }

    async fn check(&self, shard: &Shard) -> Result<()> {
        let path = self.file(shard);
        let owned = path.clone();
        let hashing = tokio::task::spawn_blocking(move || hash(&owned));
        let hashed = hashing.await.map_err(|error| Error::internal("the hashing task ended").with_source(error))?;
        if hashed.map_err(|error| unusable(&path, error))? != (shard.bytes, shard.sha256.clone()) {
            return Err(Error::invalid(format!("{} is damaged: its checksum is another", path.display())));
        }
        Ok(())
    }
}

/// Where a shard is in the directory of its index.
pub(crate) fn file(directory: &Path, shard: &str) -> PathBuf {
    directory.join(format!("{shard}.snapshot"))
}

/// What an error of the file system means.
pub(crate) fn unusable(path: &Path, error: std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorCode::StorageFull,
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => ErrorCode::InvalidArgument,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("cannot use {}: {error}", path.display()))
}

fn hash(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let (mut length, mut hasher, mut block) = (0, Sha256::new(), vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((length, hex::encode(hasher.finalize())));
        }
        hasher.update(&block[..read]);
        length += read as u64;
    }
}
