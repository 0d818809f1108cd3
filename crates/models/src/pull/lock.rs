//! Keeps two processes from pulling the same model at once.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use tokio::fs::OpenOptions;

/// Held while a model's directory is being written; the operating system lets go of it when the process ends.
pub(super) struct PullLock {
    _file: File,
}

impl PullLock {
    /// Waits until no other process pulls into `dir`, which is created where it is missing.
    pub(super) async fn acquire(dir: &Path) -> io::Result<Self> {
        tokio::fs::create_dir_all(dir).await?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(".lock")).await?;
        let file = file.into_std().await;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // The blocking form could not be cancelled.
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}
