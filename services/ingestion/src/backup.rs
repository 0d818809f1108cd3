//! Backup and restore of what owns the truth: the catalog's rows and the raw bodies. The vector indexes are derived: after
//! a restore they are filled again from the catalog, unless somebody else has put them into the backup and brings them back.
//!
//! A backup is a directory: `catalog.ndjson` (one row a line), `blobs/` (bodies by their hash) and, written last,
//! `manifest.json`. It is consistent: the rows are one moment of the catalog, every body they need is there, and what is there
//! of the indexes is older than the rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use ragstone_catalog::LocalBlobs;
use ragstone_core::ports::{BlobStore, Catalog, Record};
use ragstone_core::{Error, ErrorCode, Result};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

use crate::Config;
use crate::storage::{open_blobs, open_catalog, open_catalog_for_reading};

/// The layout of a backup; raised when an older Ragstone could not read it.
const FORMAT: u32 = 2;
/// The layout of one without indexes: any Ragstone reads it.
const PLAIN: u32 = 1;
const MANIFEST: &str = "manifest.json";
const CATALOG: &str = "catalog.ndjson";
const BLOBS: &str = "blobs";
/// A body may go while the backup runs, because a newer version went live: then the rows are read again.
const TRIES: u32 = 5;
/// Bodies copied at a time.
const COPIES: usize = 8;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout.
    pub format: u32,
    /// The Ragstone that wrote it.
    pub ragstone: String,
    /// When, in seconds since 1970.
    pub created_at: u64,
    /// Rows of the catalog.
    pub rows: u64,
    /// Raw bodies.
    pub bodies: u64,
    /// BLAKE3 hash of `catalog.ndjson`.
    pub catalog_blake3: String,
    /// Names of the indexes that are in it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<String>,
}

impl Manifest {
    /// What the backup in `directory` holds.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no whole backup.
    pub async fn read(directory: &Path) -> Result<Self> {
        read_manifest(directory).await
    }
}

/// Writes a backup into `directory`, which must be empty or not there. The service may go on working meanwhile.
///
/// First of all `save_indexes` may put indexes into the directory and name them. They are then older than the rows and never
/// newer, so that a restore can tell by the rows what they lack.
///
/// # Errors
/// `Conflict` when the directory holds something; `Unavailable` when a store does not answer; `Internal` for a damaged
/// body; those of `save_indexes`.
pub async fn backup(
    config: &Config,
    directory: &Path,
    save_indexes: impl AsyncFnOnce() -> Result<Vec<String>>,
) -> Result<Manifest> {
    begin(directory).await?;
    let indexes = save_indexes().await?;
    let catalog = open_catalog_for_reading(config).await?;
    let blobs = open_blobs(config).await?;
    let kept: Arc<dyn BlobStore> = Arc::new(LocalBlobs::open(&directory.join(BLOBS)).await?);
    let mut tries = 0;
    loop {
        let (rows, hash, needed) = write_rows(&*catalog, &directory.join(CATALOG)).await?;
        let gone = copy(&blobs, &kept, needed.clone()).await?;
        tries += 1;
        if gone.is_empty() {
            let manifest = manifest(rows, needed.len() as u64, hash, indexes);
            write_manifest(directory, &manifest).await?;
            catalog.close().await;
            return Ok(manifest);
        }
        if tries == TRIES {
            let message = format!("{} bodies that the catalog needs are not in the blob store", gone.len());
            return Err(Error::internal(message).with_source(gone.into_iter().collect::<Vec<_>>().join(" ")));
        }
        tracing::info!(gone = gone.len(), "bodies went while they were copied: the rows are read again");
    }
}

/// Brings a backup into the stores that `config` names, which must be empty. No service may use them meanwhile. When the
/// catalog is whole, `restore_indexes` may bring indexes back beside it; what it finds out is returned too.
///
/// # Errors
/// `InvalidArgument` when there is no whole backup in `directory`; `Conflict` when the catalog is not empty;
/// `Unavailable` when another process uses it; those of `restore_indexes`.
pub async fn restore<T>(
    config: &Config,
    directory: &Path,
    restore_indexes: impl AsyncFnOnce(&dyn Catalog) -> Result<T>,
) -> Result<(Manifest, T)> {
    let manifest = read_manifest(directory).await?;
    let rows = directory.join(CATALOG);
    if hash_of(&rows).await? != manifest.catalog_blake3 {
        return Err(Error::invalid(format!("{} is damaged: its hash is another", rows.display())));
    }
    let catalog = open_catalog(config).await?;
    let kept: Arc<dyn BlobStore> = Arc::new(LocalBlobs::open(&directory.join(BLOBS)).await?);
    let blobs = open_blobs(config).await?;
    // Bodies first: a row must never stand without its body.
    let hashes = kept.list().map_ok(|(hash, _)| hash).try_collect::<BTreeSet<_>>().await?;
    if (hashes.len() as u64) < manifest.bodies {
        let message =
            format!("{} bodies are missing in {}", manifest.bodies - hashes.len() as u64, directory.display());
        return Err(Error::invalid(message));
    }
    let gone = copy(&kept, &blobs, hashes).await?;
    if !gone.is_empty() {
        return Err(Error::invalid(format!("{} bodies went while they were copied", gone.len())));
    }
    let outcome = import(&*catalog, rows, manifest.rows, restore_indexes).await;
    catalog.close().await;
    Ok((manifest, outcome?))
}

async fn import<T>(
    catalog: &dyn Catalog,
    rows: PathBuf,
    expected: u64,
    restore_indexes: impl AsyncFnOnce(&dyn Catalog) -> Result<T>,
) -> Result<T> {
    let imported = catalog.import(read_rows(rows).await?).await?;
    if imported != expected {
        return Err(Error::internal(format!("{imported} rows came in, the backup has {expected}")));
    }
    restore_indexes(catalog).await
}

async fn begin(directory: &Path) -> Result<()> {
    let io = |error| unusable(directory, error);
    tokio::fs::create_dir_all(directory).await.map_err(io)?;
    if tokio::fs::read_dir(directory).await.map_err(io)?.next_entry().await.map_err(io)?.is_some() {
        return Err(Error::conflict(format!("{} is not empty: name a new directory", directory.display())));
    }
    Ok(())
}

/// Writes every row; how many, the file's hash, and the bodies that the rows need.
async fn write_rows(catalog: &dyn Catalog, path: &Path) -> Result<(u64, String, BTreeSet<String>)> {
    let io = |error| unusable(path, error);
    let mut file = BufWriter::new(File::create(path).await.map_err(io)?);
    let (mut rows, mut hasher, mut needed) = (0, blake3::Hasher::new(), BTreeSet::new());
    let mut records = catalog.export();
    while let Some(record) = records.try_next().await? {
        needed.extend(body_of(&record));
        let mut line =
            serde_json::to_vec(&record).map_err(|e| Error::internal("a row cannot be written").with_source(e))?;
        line.push(b'\n');
        hasher.update(&line);
        file.write_all(&line).await.map_err(io)?;
        rows += 1;
    }
    file.flush().await.map_err(io)?;
    file.get_ref().sync_all().await.map_err(io)?;
    Ok((rows, hasher.finalize().to_hex().to_string(), needed))
}

/// The body that a row of `versions` may still need.
fn body_of(record: &Record) -> Option<String> {
    let needs = record.table == "versions" && record.row.get("needs_body")?.as_bool() == Some(true);
    let hash = record.row.get("content_hash")?.as_str()?;
    (needs && !hash.is_empty()).then(|| hash.to_owned())
}

/// Copies bodies; both ends check their hashes. Returns those that were not there.
async fn copy(
    from: &Arc<dyn BlobStore>,
    to: &Arc<dyn BlobStore>,
    hashes: BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let copies = futures::stream::iter(hashes).map(|hash| async move {
        match from.get(&hash).await {
            Ok(body) => to.put(body).await.map(|_| None),
            Err(error) if error.code == ErrorCode::NotFound => Ok(Some(hash)),
            Err(error) => Err(error),
        }
    });
    copies.buffer_unordered(COPIES).try_filter_map(|gone| async move { Ok(gone) }).try_collect().await
}

fn manifest(rows: u64, bodies: u64, catalog_blake3: String, indexes: Vec<String>) -> Manifest {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ragstone = env!("CARGO_PKG_VERSION").to_owned();
    let format = if indexes.is_empty() { PLAIN } else { FORMAT };
    Manifest { format, ragstone, created_at: since.as_secs(), rows, bodies, catalog_blake3, indexes }
}

/// Last of all, and synced: a directory without it is no backup.
async fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<()> {
    let path = directory.join(MANIFEST);
    let io = |error| unusable(&path, error);
    let json = serde_json::to_vec_pretty(manifest).map_err(|e| Error::internal("no manifest").with_source(e))?;
    let mut file = File::create(&path).await.map_err(io)?;
    file.write_all(&json).await.map_err(io)?;
    file.sync_all().await.map_err(io)?;
    File::open(directory).await.map_err(io)?.sync_all().await.map_err(io)
}

async fn read_manifest(directory: &Path) -> Result<Manifest> {
    let path = directory.join(MANIFEST);
    let none = |what: String| Error::invalid(format!("there is no whole backup in {}: {what}", directory.display()));
    let json = tokio::fs::read(&path).await.map_err(|e| none(format!("{}: {e}", path.display())))?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| none(e.to_string()))?;
    if !(PLAIN..=FORMAT).contains(&manifest.format) {
        return Err(none(format!("its format is {}, this Ragstone reads {PLAIN} to {FORMAT}", manifest.format)));
    }
    Ok(manifest)
}

async fn read_rows(path: PathBuf) -> Result<BoxStream<'static, Result<Record>>> {
    let file = File::open(&path).await.map_err(|error| unusable(&path, error))?;
    let lines = tokio_stream::wrappers::LinesStream::new(BufReader::new(file).lines());
    let record = move |line: std::io::Result<String>| {
        let line = line.map_err(|error| unusable(&path, error))?;
        serde_json::from_str(&line).map_err(|e| Error::invalid(format!("{} has an unusable row: {e}", path.display())))
    };
    Ok(lines.map(record).boxed())
}

async fn hash_of(path: &Path) -> Result<String> {
    let owned = path.to_owned();
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(&owned)?)?;
        Ok(hasher.finalize().to_hex().to_string())
    });
    let hashed = hashing.await.map_err(|e| Error::internal("the hashing task ended").with_source(e))?;
    hashed.map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorCode::StorageFull,
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => ErrorCode::InvalidArgument,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("cannot use {}: {error}", path.display()))
}
