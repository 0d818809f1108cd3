//! One process per catalog file: an exclusive lock on a file beside it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use ragstone_core::{Error, Result};

use crate::durable;

/// A held lock; the system lets go of it when the process ends, however it ends.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child process that is about to begin may still share the file for a moment. When
        // it fails, closing has to do.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of the catalog at `path`, whose directory is created; it lasts as long as what is returned.
pub(super) fn acquire(path: &Path) -> Result<Lock> {
    if let Some(directory) = path.parent() {
        durable::create_directory(directory)
            .map_err(|e| Error::internal(format!("cannot create {}", directory.display())).with_source(e))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let unusable = |e: io::Error| Error::internal(format!("cannot lock the catalog {}", path.display())).with_source(e);
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::unavailable(format!("the catalog {} is in use by another process", path.display())))
        }
        Err(TryLockError::Error(e)) => Err(unusable(e)),
    }
}
