//! The directory where models live: what is there, and whether it is whole.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use ragstone_core::{Error, Result};

use crate::{
    digest::{FileState, check},
    manifest::{Manifest, ModelKind, ModelSpec},
};

const DEFAULT_HUB: &str = "https://huggingface.co";

/// The models on this machine, one directory each.
#[derive(Debug, Clone)]
pub struct ModelStore {
    pub(crate) dir: PathBuf,
    /// Base address of the hub.
    pub(crate) hub: String,
    pub(crate) manifest: Manifest,
}

/// Whether a model can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelState {
    /// At least one of its files is missing.
    Absent,
    /// All files are there and their hashes are right.
    Present,
    /// A file is there whose size or hash is wrong; pulling mends it.
    Corrupt,
}

/// A model and what was found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: ModelKind,
    /// SPDX id of its licence.
    pub license: String,
    /// Size of all files in bytes.
    pub size: u64,
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Whether it can be used.
    pub state: ModelState,
    /// One sentence for each file that is missing or wrong.
    pub problems: Vec<String>,
}

impl ModelStore {
    /// The store in `dir`; without one, in `$RAGSTONE_MODELS`, `$XDG_CACHE_HOME/ragstone/models` or
    /// `$HOME/.cache/ragstone/models`. `env` looks up environment variables; `HF_ENDPOINT` names another hub.
    ///
    /// # Errors
    /// `InvalidArgument` when none of these says where.
    pub fn open(dir: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = dir
            .or_else(|| set("RAGSTONE_MODELS"))
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("ragstone/models")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/ragstone/models")))
            .ok_or_else(|| Error::invalid("set RAGSTONE_MODELS to the directory where models are kept"))?;
        let hub = env("HF_ENDPOINT").and_then(|hub| hub.into_string().ok()).filter(|hub| !hub.is_empty());
        let hub = hub.unwrap_or_else(|| DEFAULT_HUB.to_owned());
        Ok(Self { dir, hub: hub.trim_end_matches('/').to_owned(), manifest: Manifest::builtin()? })
    }

    /// Where the store is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The models it can hold.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory of `model`.
    #[must_use]
    pub fn model_dir(&self, model: &ModelSpec) -> PathBuf {
        self.dir.join(&model.id)
    }

    /// Every known model with its state; reads and hashes all files that are there.
    ///
    /// # Errors
    /// `Internal` when a file cannot be read.
    pub async fn list(&self) -> Result<Vec<ModelStatus>> {
        let mut all = Vec::with_capacity(self.manifest.models.len());
        for model in &self.manifest.models {
            all.push(self.verify(&model.id).await?);
        }
        Ok(all)
    }

    /// Hashes all files of the model `id`.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `Internal` when a file cannot be read.
    pub async fn verify(&self, id: &str) -> Result<ModelStatus> {
        let (model, path) = (self.manifest.get(id)?.clone(), self.dir.join(id));
        blocking(move || status(model, path)).await
    }
}

fn status(model: ModelSpec, path: PathBuf) -> Result<ModelStatus> {
    let mut state = ModelState::Present;
    let mut problems = Vec::new();
    for file in &model.files {
        let at = path.join(&file.name);
        let found = check(&at, file)
            .map_err(|error| Error::internal(format!("cannot read {}", at.display())).with_source(error))?;
        match found {
            FileState::Good => {}
            FileState::Missing => {
                problems.push(format!("{} is missing", file.name));
                state = if state == ModelState::Corrupt { state } else { ModelState::Absent };
            }
            FileState::Corrupt(how) => {
                problems.push(format!("{} is corrupt: {how}", file.name));
                state = ModelState::Corrupt;
            }
        }
    }
    let size = model.size();
    Ok(ModelStatus { id: model.id, kind: model.kind, license: model.license, size, path, state, problems })
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("a background task of the model store failed").with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn open(vars: &[(&str, &str)]) -> Result<ModelStore> {
        ModelStore::open(None, |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_directory_is_the_first_one_that_is_set() {
        let all = [("RAGSTONE_MODELS", "/r"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h"), ("HF_ENDPOINT", "http://hub/")];
        assert_eq!(open(&all).unwrap().dir(), Path::new("/r"));
        assert_eq!(open(&all).unwrap().hub, "http://hub");
        assert_eq!(open(&all[1..]).unwrap().dir(), Path::new("/x/ragstone/models"));
        assert_eq!(open(&all[2..]).unwrap().dir(), Path::new("/h/.cache/ragstone/models"));
        assert_eq!(open(&[("RAGSTONE_MODELS", ""), ("HOME", "/h")]).unwrap().hub, DEFAULT_HUB);
        assert!(open(&[]).is_err());
        let given = ModelStore::open(Some("/given".into()), |_| Some("/env".into())).unwrap();
        assert_eq!(given.dir(), Path::new("/given"));
    }

    #[tokio::test]
    async fn an_empty_store_lists_every_model_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::open(Some(dir.path().into()), |_| None).unwrap();
        let list = store.list().await.unwrap();
        assert!(!list.is_empty());
        for model in list {
            assert_eq!(model.state, ModelState::Absent);
            assert_eq!(model.problems.len(), store.manifest.get(&model.id).unwrap().files.len());
        }
    }
}
