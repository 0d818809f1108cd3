//! Checked identifiers: what passed validation once needs none later.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result};

/// The longest tenant or document id, in bytes.
const MAX_ID_BYTES: usize = 512;

fn check(kind: &str, id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::invalid(format!("{kind} must not be empty")));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(Error::invalid(format!("{kind} is {} bytes long; the limit is {MAX_ID_BYTES}", id.len())));
    }
    if id.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{kind} must not contain control characters")));
    }
    if id.trim() != id {
        return Err(Error::invalid(format!("{kind} must not begin or end with white space")));
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps `id`.
            ///
            /// # Errors
            /// `InvalidArgument` when it is empty, over 512 bytes, has control characters or outer white space.
            pub fn new(id: impl Into<String>) -> Result<Self> {
                let id = id.into();
                check($kind, &id)?;
                Ok(Self(id))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(id: String) -> Result<Self> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// Whose documents these are; nothing is ever shared between tenants.
    TenantId,
    "tenant"
);
id!(
    /// A document's name within its tenant, chosen by the caller or made from the content's hash.
    DocumentId,
    "document id"
);

/// A job's id: a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub Uuid);

impl JobId {
    /// A fresh, time-ordered id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the usual hyphenated form.
    ///
    /// # Errors
    /// `InvalidArgument` when it is not a UUID.
    pub fn parse(text: &str) -> Result<Self> {
        Uuid::parse_str(text).map(Self).map_err(|_| Error::invalid(format!("'{text}' is not a job id")))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_any_script_and_refuse_the_unusable() {
        assert!(DocumentId::new("handbuch/Größe (2).md").is_ok());
        for bad in ["", " a", "a\n", "a\u{0}b", &"x".repeat(513)] {
            assert!(DocumentId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn job_ids_parse_back() {
        let id = JobId::generate();
        assert_eq!(JobId::parse(&id.to_string()).ok(), Some(id));
        assert!(JobId::parse("7").is_err());
    }
}
