//! An index: the chunks of all documents, embedded by one revision of one model.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest name; stores make names of their own from it.
const MAX_NAME: usize = 100;
/// Hexadecimal digits of the hash that tells a revision from the others of its model.
const REVISION_IN_NAME: usize = 12;

/// An index's name: lower-case letters, digits, `-`, `_` and `.`, for example `all-minilm-l6-v2-53aa51172d14`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IndexName(String);

impl IndexName {
    /// The name as given.
    ///
    /// # Errors
    /// `InvalidArgument` when it is empty, too long or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && name.len() <= MAX_NAME && name.chars().all(fits) {
            return Ok(Self(name));
        }
        Err(Error::invalid(format!("'{name}' is not the name of an index")))
    }

    /// The name of the index for this revision of this model.
    #[must_use]
    pub fn of(model: &str, revision: &str) -> Self {
        let lower = model.chars().map(|c| c.to_ascii_lowercase());
        let plain = lower.map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
        let model: String = plain.take(MAX_NAME - REVISION_IN_NAME - 1).collect();
        let model = model.trim_matches(['-', '.']);
        let model = if model.is_empty() { "model" } else { model };
        // Its hash, as two revisions may begin alike.
        let revision = blake3::hash(revision.as_bytes()).to_hex();
        Self(format!("{model}-{}", &revision[..REVISION_IN_NAME]))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for IndexName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<IndexName> for String {
    fn from(name: IndexName) -> Self {
        name.0
    }
}

/// What an index holds; vectors of two revisions never meet in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// Its name.
    pub name: IndexName,
    /// The embedding model's id.
    pub model: String,
    /// That model's revision: changes whenever its vectors change.
    pub revision: String,
    /// Length of a vector.
    pub dimension: usize,
}

impl IndexSpec {
    /// The index for this revision of this model.
    #[must_use]
    pub fn of(model: &str, revision: &str, dimension: usize) -> Self {
        let name = IndexName::of(model, revision);
        Self { name, model: model.to_owned(), revision: revision.to_owned(), dimension }
    }
}

/// What an index is for now. Documents are written to every index there is, whatever its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// Being filled; not yet searched.
    Building,
    /// What searches use; there is at most one.
    Serving,
    /// Served before, and kept so that it can serve again.
    Standby,
}

impl IndexState {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Serving => "serving",
            Self::Standby => "standby",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Building, Self::Serving, Self::Standby].into_iter().find(|state| state.as_str() == name)
    }
}

/// An index as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// What it holds.
    pub spec: IndexSpec,
    /// What it is for.
    pub state: IndexState,
    /// When it was begun.
    pub created_at: SystemTime,
}

/// Where documents are placed within an index, and where they are going.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Names of the shards that documents are placed on.
    pub shards: Vec<String>,
    /// While documents move: the shards they are placed on afterwards. Searches ask all shards of both lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<Vec<String>>,
}

impl Topology {
    /// Every shard a chunk may be on, in order of name.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        let moving = self.moving_to.iter().flatten();
        let mut all: Vec<&str> = self.shards.iter().chain(moving).map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The shard new chunks of this document are written to.
    #[must_use]
    pub fn place(&self, tenant: &str, document: &str) -> Option<&str> {
        crate::place(self.moving_to.as_ref().unwrap_or(&self.shards), tenant, document)
    }

    /// The shard this document's chunks may still be on and have to leave; `None` when it stays.
    #[must_use]
    pub fn leaves(&self, tenant: &str, document: &str) -> Option<&str> {
        self.moving_to.as_ref()?;
        let old = crate::place(&self.shards, tenant, document)?;
        (self.place(tenant, document) != Some(old)).then_some(old)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_made_of_model_and_revision() {
        let name = IndexName::of("intfloat/Multilingual-E5-small", "53aa51172d142c89d9012cce15ae4d6c");
        assert_eq!(name.as_str(), "intfloat-multilingual-e5-small-8ecac9f7acaa");
        assert_ne!(IndexName::of("m", "2026-11-25-a"), IndexName::of("m", "2026-11-25-b"));
        for model in ["", "---", &"x".repeat(300), "Ärger"] {
            let name = IndexName::of(model, "Abc/1");
            assert_eq!(IndexName::new(name.as_str()).unwrap(), name);
        }
        for bad in ["", "-a", "A", "a/b", "ä"] {
            assert!(IndexName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_documents_whose_place_changes_leave() {
        let shards = |n: usize| (0..n).map(|i| format!("s{i}")).collect::<Vec<_>>();
        let still = Topology { shards: shards(4), moving_to: None };
        let moving = Topology { shards: shards(4), moving_to: Some(shards(5)) };
        assert_eq!(moving.all(), ["s0", "s1", "s2", "s3", "s4"]);
        let mut leaving = 0;
        for n in 0..1000 {
            let document = format!("d{n}");
            assert_eq!(still.leaves("t", &document), None);
            if let Some(old) = moving.leaves("t", &document) {
                assert_eq!(still.place("t", &document), Some(old));
                assert_eq!(moving.place("t", &document), Some("s4"));
                leaving += 1;
            }
        }
        assert!((150..=250).contains(&leaving), "{leaving}");
    }
}
