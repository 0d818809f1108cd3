//! `If-Match` and `If-None-Match` on writes.

use http::{HeaderMap, HeaderName, header};
use ragstone_core::ports::Idempotency;
use ragstone_core::{DocumentId, Error, ErrorCode, Principal, Result};
use ragstone_resilience::Deadline;

use crate::app::App;

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing.
    None,
    /// This is the newest version.
    Version(u64),
    /// There is such a document.
    Exists,
    /// There is none.
    Absent,
}

impl Precondition {
    /// Reads both headers.
    ///
    /// # Errors
    /// `InvalidArgument` for weak tags, lists, both headers at once, or anything that is no version.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self> {
        match (single(headers, header::IF_MATCH)?, single(headers, header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::None),
            (Some("*"), None) => Ok(Self::Exists),
            (Some(tag), None) => match version(tag) {
                Some(version) => Ok(Self::Version(version)),
                None => Err(Error::invalid("If-Match must be * or one version in quotes, for example \"3\"")),
            },
            (None, Some("*")) => Ok(Self::Absent),
            (None, Some(_)) => Err(Error::invalid("If-None-Match must be * on a write")),
            (Some(_), Some(_)) => Err(Error::invalid("If-Match and If-None-Match exclude each other")),
        }
    }

    /// As the ingestion service takes it: the version that must be the newest, 0 for "there is none".
    ///
    /// # Errors
    /// `Conflict` when the document must exist and does not.
    pub(crate) async fn if_version(
        self,
        app: &App,
        caller: &Principal,
        id: &DocumentId,
        deadline: Deadline,
    ) -> Result<Option<u64>> {
        match self {
            Self::None => Ok(None),
            Self::Version(version) => Ok(Some(version)),
            Self::Absent => Ok(Some(0)),
            Self::Exists => match super::get(app, caller, id, deadline).await {
                Ok(document) => Ok(Some(document.version)),
                Err(error) if error.code == ErrorCode::NotFound => {
                    Err(Error::conflict(format!("there is no document '{id}'")))
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// The `Idempotency-Key` of a write; empty: none.
///
/// # Errors
/// `InvalidArgument` for two of them, or what is no key.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<String> {
    let key = single(headers, HeaderName::from_static("idempotency-key"))?;
    key.map(|key| Idempotency::check_key(key).map(|()| key.to_owned())).transpose().map(Option::unwrap_or_default)
}

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>> {
    let mut values = headers.get_all(&name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("{name} appears twice")));
    }
    let text = first.to_str().map_err(|e| Error::invalid(format!("{name} is not text")).with_source(e))?;
    Ok(Some(text.trim()))
}

/// The version in an entity tag. Versions begin at 1.
fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(pairs: &[(HeaderName, &str)]) -> Result<Precondition> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        Precondition::from_headers(&headers)
    }

    #[test]
    fn the_documented_forms() {
        use header::{IF_MATCH, IF_NONE_MATCH};
        assert_eq!(read(&[]).unwrap(), Precondition::None);
        assert_eq!(read(&[(IF_MATCH, "\"12\"")]).unwrap(), Precondition::Version(12));
        assert_eq!(read(&[(IF_MATCH, " * ")]).unwrap(), Precondition::Exists);
        assert_eq!(read(&[(IF_NONE_MATCH, "*")]).unwrap(), Precondition::Absent);
    }

    #[test]
    fn odd_forms_are_refused() {
        use header::{IF_MATCH, IF_NONE_MATCH};
        for odd in ["W/\"3\"", "3", "\"\"", "\"0\"", "\"03\"", "\"+3\"", "\"x\"", "\"1\", \"2\"", "\"", ""] {
            assert_eq!(read(&[(IF_MATCH, odd)]).unwrap_err().code, ErrorCode::InvalidArgument, "{odd}");
        }
        assert!(read(&[(IF_MATCH, "\"99999999999999999999\"")]).is_err());
        assert!(read(&[(IF_NONE_MATCH, "\"3\"")]).is_err());
        assert!(read(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
        assert!(read(&[(IF_MATCH, "\"1\""), (IF_MATCH, "\"2\"")]).is_err());
    }

    #[test]
    fn a_key_is_visible_ascii_and_given_once() {
        let key = HeaderName::from_static("idempotency-key");
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&key, value.parse().unwrap());
            }
            idempotency_key(&headers)
        };
        assert_eq!(read(&[]).unwrap(), "");
        assert_eq!(read(&["7f-!~"]).unwrap(), "7f-!~");
        for bad in [&[""][..], &["a b"], &["a", "a"], &[&"x".repeat(256)]] {
            assert_eq!(read(bad).unwrap_err().code, ErrorCode::InvalidArgument, "{bad:?}");
        }
    }
}
