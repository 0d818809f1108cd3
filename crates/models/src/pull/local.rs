//! A directory as a source: a model directory copied from another machine, or a folder with loose files.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::source::{SourceError, checked, scratch};
use crate::manifest::FileSpec;

/// Copies `from/<model>/<file>`, or `from/<file>`, next to its place in `dir`.
pub(super) async fn fetch(from: &Path, model: &str, spec: &FileSpec, dir: &Path) -> Result<PathBuf, SourceError> {
    let part = scratch(dir, spec);
    for candidate in [from.join(model).join(&spec.name), from.join(&spec.name)] {
        match tokio::fs::copy(&candidate, &part).await {
            Ok(_) => return checked(part, spec).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SourceError::NotFound)
}
