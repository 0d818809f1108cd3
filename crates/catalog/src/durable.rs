//! Directories that survive a power cut: a new name is on disk only when the directory that holds it is synced.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Creates `dir` with its parents and syncs every directory that got a new entry.
pub(crate) fn create_directory(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !is_here(path) && !path.exists()).collect();
    fs::create_dir_all(if is_here(dir) { Path::new(".") } else { dir })?;
    missing.iter().filter_map(|path| path.parent()).try_for_each(sync_directory)
}

/// Puts the names in `dir` on disk.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(if is_here(dir) { Path::new(".") } else { dir })?.sync_all()
}

/// The parent of a bare file name is the empty path: it means the working directory.
fn is_here(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
