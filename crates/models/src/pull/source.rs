//! What every source shares: its ways to fail, and the check of what it delivered.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    digest::{FileState, check},
    manifest::FileSpec,
};

/// Why a source did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it did not answer within {0} s")]
    Late(u64),
    #[error("not found there")]
    NotFound,
    #[error("other content than expected: {0}")]
    Mismatch(String),
    #[error("no pip was found (tried python3 -m pip, pip3 and pip)")]
    NoPip,
    #[error("pip failed: {0}")]
    Pip(String),
    #[error("the wheel cannot be read: {0}")]
    Wheel(#[from] zip::result::ZipError),
    #[error("a background task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A source with its failure.
pub(super) struct Failure {
    pub(super) source: String,
    pub(super) error: SourceError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.error)
    }
}

impl SourceError {
    pub(super) fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io(error) if is_full(error))
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Checks what a source wrote to `part`; what is wrong is removed.
pub(super) async fn checked(part: PathBuf, spec: &FileSpec) -> Result<PathBuf, SourceError> {
    let spec = spec.clone();
    tokio::task::spawn_blocking(move || {
        let problem = match check(&part, &spec)? {
            FileState::Good => return Ok(part),
            FileState::Missing => return Err(SourceError::NotFound),
            FileState::Corrupt(how) => how,
        };
        std::fs::remove_file(&part)?;
        Err(SourceError::Mismatch(problem))
    })
    .await?
}

/// The file a source that starts from nothing writes to.
pub(super) fn scratch(dir: &Path, spec: &FileSpec) -> PathBuf {
    dir.join(format!(".{}.tmp", spec.name))
}

/// The file a download that can be resumed writes to.
pub(super) fn partial(dir: &Path, spec: &FileSpec) -> PathBuf {
    dir.join(format!(".{}.part", spec.name))
}

fn chain(error: &reqwest::Error) -> String {
    // The address names the hub and the file, which the source's name does already.
    let mut text = String::from("the request failed");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
