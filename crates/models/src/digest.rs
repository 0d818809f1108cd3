//! SHA-256 of files, and whether a file on disk is the one the manifest names.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::manifest::FileSpec;

/// What is at a file's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    Missing,
    Good,
    /// Another size or hash than the manifest names; says which.
    Corrupt(String),
}

/// Reads the whole file at `path` and compares it with `spec`.
pub(crate) fn check(path: &Path, spec: &FileSpec) -> io::Result<FileState> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Missing),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    if size != spec.size {
        return Ok(FileState::Corrupt(format!("it has {size} bytes instead of {}", spec.size)));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(compare(&hex(&hasher.finalize()), spec))
}

/// Compares bytes in memory with `spec`.
pub(crate) fn check_bytes(bytes: &[u8], spec: &FileSpec) -> FileState {
    compare(&hex(&Sha256::digest(bytes)), spec)
}

/// The first 16 hexadecimal digits of the SHA-256 over `parts`, each with its length.
pub(crate) fn short_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize()[..8])
}

fn compare(found: &str, spec: &FileSpec) -> FileState {
    if found == spec.sha256 {
        FileState::Good
    } else {
        FileState::Corrupt(format!("its SHA-256 is {found} instead of {}", spec.sha256))
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
pub(crate) fn spec_of(name: &str, content: &[u8], sources: Vec<crate::manifest::Source>) -> FileSpec {
    FileSpec {
        name: name.to_owned(),
        role: crate::manifest::FileRole::Weights,
        sha256: hex(&Sha256::digest(content)),
        size: content.len() as u64,
        sources,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let spec = spec_of("f", b"right", Vec::new());
        assert_eq!(spec.sha256, "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9");
        assert_eq!(check(&path, &spec).unwrap(), FileState::Missing);
        for (content, good) in [(&b"right"[..], true), (b"wrong", false), (b"righ", false)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(check(&path, &spec).unwrap() == FileState::Good, good);
            assert_eq!(check_bytes(content, &spec) == FileState::Good, good);
        }
    }
}
