//! One process per catalog file: an exclusive lock on a file beside it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use ragstone_core::{Error, Result};

use crate::durable;

/// Takes the lock of the catalog at `path`, whose directory is created; it lasts as long as the returned file.
pub(super) fn acquire(path: &Path) -> Result<File> {
    if let Some(directory) = path.parent() {
        durable::create_directory(directory)
            .map_err(|e| Error::internal(format!("cannot create {}", directory.display())).with_source(e))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let unusable = |e: io::Error| Error::internal(format!("cannot lock the catalog {}", path.display())).with_source(e);
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::unavailable(format!("the catalog {} is in use by another process", path.display())))
        }
        Err(TryLockError::Error(e)) => Err(unusable(e)),
    }
}
