//! One shard of the engine: the data of one replica, with its panics contained.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qdrant_edge as edge;
use qdrant_edge::EdgeShard;
use tonic::Status;

use super::errors::{from_engine, service};

/// Capacity of one file of the engine's log; its default of 32 MiB is much for a hundred shards of a test.
const LOG_FILE_BYTES: usize = 8 << 20;

/// An open shard of the engine in its own directory.
pub(super) struct Engine {
    /// There until it is dropped.
    shard: Option<EdgeShard>,
    path: PathBuf,
}

impl Engine {
    /// Creates an empty one in `path`. Blocks.
    pub(super) fn create(path: PathBuf, mut config: edge::EdgeConfig) -> Result<Self, Status> {
        config.wal_options = Some(edge::WalOptions { segment_capacity: LOG_FILE_BYTES, ..Default::default() });
        fs::create_dir_all(&path).map_err(service)?;
        let shard = contained(|| EdgeShard::new(&path, config))?;
        Ok(Self { shard: Some(shard), path })
    }

    /// Opens the copy of a shard in `path`. Blocks.
    pub(super) fn open(path: PathBuf) -> Result<Self, Status> {
        let shard = contained(|| EdgeShard::load(&path, None))?;
        Ok(Self { shard: Some(shard), path })
    }

    /// Copies the whole directory to `target`. Nothing may update the shard meanwhile. Blocks.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), Status> {
        self.run(|shard| {
            shard.flush();
            Ok(())
        })?;
        copy_directory(&self.path, target).map_err(service)
    }

    /// Runs `work` on a thread that may block.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&EdgeShard) -> edge::OperationResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.clone();
        tokio::task::spawn_blocking(move || engine.run(work)).await.map_err(service)?
    }

    fn run<T>(&self, work: impl FnOnce(&EdgeShard) -> edge::OperationResult<T>) -> Result<T, Status> {
        let shard = self.shard.as_ref().ok_or_else(|| service("the shard is closed"))?;
        contained(|| work(shard))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The engine flushes when it is dropped, and panics when its directory has gone before it.
        let shard = self.shard.take();
        drop(catch_unwind(AssertUnwindSafe(|| drop(shard))));
    }
}

fn contained<T>(work: impl FnOnce() -> edge::OperationResult<T>) -> Result<T, Status> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(from_engine),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(service(format!("the engine panicked: {}", text.unwrap_or("no message"))))
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
