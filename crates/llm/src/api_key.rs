//! A credential that shows itself to nobody but the HTTP client.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// What stands in for a key wherever it is printed.
const REDACTED: &str = "***";

/// An API key; printed and serialised as `***`, wiped from memory when dropped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// The key itself.
    pub(crate) fn secret(&self) -> &SecretString {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }
}

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl Serialize for ApiKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { REDACTED })
    }
}

impl JsonSchema for ApiKey {
    fn schema_name() -> Cow<'static, str> {
        "ApiKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_key_never_prints_itself() {
        let key = ApiKey::from("sk-hush".to_owned());
        assert!(!format!("{key:?}").contains("hush"));
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"***\"");
        assert_eq!(serde_json::to_string(&ApiKey::default()).unwrap(), "\"\"");
        assert_eq!(serde_json::from_str::<ApiKey>("\"sk-hush\"").unwrap().secret().expose_secret(), "sk-hush");
    }
}
