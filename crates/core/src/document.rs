//! Documents and their versions, as the catalog knows them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DocumentId, Error, Result, TenantId};

/// The caller's own fields of a document: a JSON object of scalars, arrays of scalars, and objects of these.
pub type Metadata = serde_json::Map<String, Value>;

/// The largest metadata, serialised, in bytes.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The largest integer that survives every transport (JSON numbers are doubles in many clients): 2^53 - 1.
const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// Checks size and number range of `metadata`.
///
/// # Errors
/// `InvalidArgument`, naming what is wrong.
pub fn validate_metadata(metadata: &Metadata) -> Result<()> {
    fn check(key: &str, value: &Value, depth: usize) -> Result<()> {
        if depth > 4 {
            return Err(Error::invalid(format!("metadata '{key}' is nested deeper than 4 levels")));
        }
        match value {
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&i) => Ok(()),
                (None, None) => Ok(()),
                _ => Err(Error::invalid(format!("metadata '{key}': integers must lie within ±(2^53 - 1)"))),
            },
            Value::Array(items) => items.iter().try_for_each(|item| check(key, item, depth + 1)),
            Value::Object(fields) => fields.iter().try_for_each(|(k, v)| check(k, v, depth + 1)),
            Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        }
    }
    if let Some(key) = metadata.keys().find(|key| key.is_empty() || key.contains(['.', '[', ']', '"'])) {
        return Err(Error::invalid(format!("metadata key '{key}' must not be empty or contain . [ ] \"")));
    }
    metadata.iter().try_for_each(|(key, value)| check(key, value, 1))?;
    let bytes = serde_json::to_vec(metadata).map_err(|e| Error::invalid("unusable metadata").with_source(e))?.len();
    if bytes > MAX_METADATA_BYTES {
        return Err(Error::invalid(format!("metadata is {bytes} bytes; the limit is {MAX_METADATA_BYTES}")));
    }
    Ok(())
}

/// Where a document stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatus {
    /// Its newest version is still being worked on (an older one may be searchable meanwhile).
    Processing,
    /// Its newest version is searchable.
    Ready,
    /// Its newest version could not be processed; the error says why (an older one may still be searchable).
    Failed,
    /// It was deleted.
    Deleted,
}

impl DocumentStatus {
    /// The stable name, for example `ready`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Processing, Self::Ready, Self::Failed, Self::Deleted].into_iter().find(|s| s.as_str() == name)
    }
}

/// A document with the state of its newest version.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id within the tenant.
    pub id: DocumentId,
    /// The newest accepted version, from 1; never taken from a clock.
    pub version: u64,
    /// The version that searches see, if any.
    pub live_version: Option<u64>,
    /// State of the newest version.
    pub status: DocumentStatus,
    /// Title, given by the caller or found in the text.
    pub title: String,
    /// Content type without parameters, for example `text/markdown`.
    pub media_type: String,
    /// Size of the raw body.
    pub bytes: u64,
    /// Number of chunks of the newest processed version.
    pub chunks: u32,
    /// The caller's fields.
    pub metadata: Metadata,
    /// Who may read it; empty: everyone in the tenant.
    pub groups: Vec<String>,
    /// Why the newest version failed.
    pub error: Option<String>,
    /// When the document was first accepted.
    pub created_at: SystemTime,
    /// When its row last changed.
    pub updated_at: SystemTime,
}

/// One entry of a document's history.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentVersion {
    /// The version, from 1.
    pub version: u64,
    /// How it ended or stands.
    pub status: DocumentStatus,
    /// Size of its raw body; 0 for a tombstone.
    pub bytes: u64,
    /// Number of its chunks.
    pub chunks: u32,
    /// Lower-case hexadecimal BLAKE3 hash of its raw body; empty for a tombstone.
    pub content_hash: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was accepted.
    pub created_at: SystemTime,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn metadata(json: &str) -> Metadata {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn ordinary_metadata_is_fine() {
        assert!(validate_metadata(&metadata(r#"{"lang":"de","year":2020,"tags":["a","b"],"x":{"y":1.5}}"#)).is_ok());
    }

    #[test]
    fn what_would_be_mangled_is_refused() {
        for bad in [r#"{"n":9007199254740993}"#, r#"{"":1}"#, r#"{"a.b":1}"#, r#"{"a":[[[[[1]]]]]}"#] {
            assert!(validate_metadata(&metadata(bad)).is_err(), "{bad}");
        }
        let huge = metadata(&format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000)));
        assert!(validate_metadata(&huge).unwrap_err().message.contains("16384"));
    }
}
