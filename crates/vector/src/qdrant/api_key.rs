//! Qdrant's API key, which shows itself to nobody but Qdrant.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// What stands in for a key wherever it is printed.
const REDACTED: &str = "***";

/// An API key; printed and serialised as `***`, wiped from memory when dropped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct QdrantApiKey(SecretString);

impl QdrantApiKey {
    /// The key itself; `None` when there is none.
    pub(crate) fn reveal(&self) -> Option<&str> {
        Some(self.0.expose_secret()).filter(|key| !key.is_empty())
    }
}

impl From<String> for QdrantApiKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl Serialize for QdrantApiKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal().map_or("", |_| REDACTED))
    }
}

impl JsonSchema for QdrantApiKey {
    fn schema_name() -> Cow<'static, str> {
        "QdrantApiKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
