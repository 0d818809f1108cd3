//! Small files that are written wholly or not at all, and the lock that keeps a second process out.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use ragstone_core::{Error, ErrorCode, Result};

/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

/// Takes the lock of the directory, which lasts as long as the file is open and ends with the process.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    fs::create_dir_all(directory).map_err(|error| io(directory, error))?;
    let path = directory.join(LOCK);
    let options = File::options().write(true).create(true).truncate(false).open(&path);
    let file = options.map_err(|error| io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::conflict(format!(
            "the vector index in {} is in use by another process: stop it, or choose another path",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io(&path, error)),
    }
}

/// The file's text; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, error)),
    }
}

/// Puts `bytes` in place of what the file held; on return they are on disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| io(path, error))?;
    sync_parent(path)
}

/// Removes the file, also from the disk; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(path, error)),
    }
}

/// Removes the directory with all it holds, if it is there.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(path, error)),
    }
}

/// Gives the file or directory another name; on return that is on disk.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| io(from, error))?;
    sync_parent(to)?;
    sync_parent(from)
}

/// Makes the directory, if need be.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| io(path, error))?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|file| file.sync_all()).map_err(|error| io(parent, error))
}

/// What went wrong with `path`.
pub(crate) fn io(path: &Path, error: std::io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::StorageFull => ErrorCode::StorageFull,
        _ => ErrorCode::Unavailable,
    };
    Error::new(code, format!("cannot use {}", path.display())).with_source(error)
}
