//! Where a request carries its credential. One, in one place, in one form: anything else is refused, never guessed at.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::failure::Reason;
use crate::keys::{PREFIX, Presented};

/// The other place for API keys.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request carries.
pub(crate) enum Credential<'a> {
    /// A signed token.
    Token(&'a str),
    /// An API key.
    Key(Presented<'a>),
}

impl<'a> Credential<'a> {
    /// Reads it from the headers.
    ///
    /// # Errors
    /// `Missing`, `Malformed` or `Ambiguous`.
    pub(crate) fn read(headers: &'a HeaderMap) -> Result<Self, Reason> {
        let bearer = only(headers, &header::AUTHORIZATION)?.map(bearer).transpose()?;
        let key = only(headers, &API_KEY)?.map(text).transpose()?;
        match (bearer, key) {
            (Some(bearer), Some(key)) if bearer != key => Err(Reason::Ambiguous),
            (_, Some(key)) => Presented::parse(key).map(Self::Key).ok_or(Reason::Malformed),
            (Some(bearer), None) if bearer.starts_with(PREFIX) => {
                Presented::parse(bearer).map(Self::Key).ok_or(Reason::Malformed)
            }
            (Some(bearer), None) => Ok(Self::Token(bearer)),
            (None, None) => Err(Reason::Missing),
        }
    }
}

/// The header's value; the same header twice is refused, as the next one to read it might take the other.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Reason> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Reason::Ambiguous) } else { Ok(first) }
}

fn text(value: &HeaderValue) -> Result<&str, Reason> {
    value.to_str().map_err(|_| Reason::Malformed)
}

/// What stands after `Bearer` and one space (RFC 6750); the word itself may be written in any case.
fn bearer(value: &HeaderValue) -> Result<&str, Reason> {
    let (scheme, credential) = text(value)?.split_once(' ').ok_or(Reason::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::Malformed);
    }
    let plain = credential.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if credential.is_empty() || !plain { Err(Reason::Malformed) } else { Ok(credential) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<String, Reason> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Credential::read(&map).map(|credential| match credential {
            Credential::Token(token) => token.to_owned(),
            Credential::Key(key) => format!("key {}", key.id),
        })
    }

    #[test]
    fn a_credential_is_one_in_one_place() {
        let key = &format!("rsk_a_{}", "x".repeat(43));
        let bearer = &format!("Bearer {key}");
        for (headers, found) in [
            (vec![("authorization", "Bearer a.b.c")], "a.b.c"),
            (vec![("authorization", "bEARER a.b.c")], "a.b.c"),
            (vec![("authorization", bearer)], "key a"),
            (vec![("x-api-key", key)], "key a"),
            (vec![("x-api-key", key), ("authorization", bearer)], "key a"),
        ] {
            assert_eq!(read(&headers).unwrap(), found, "{headers:?}");
        }
        for (headers, reason) in [
            (vec![], Reason::Missing),
            (vec![("authorization", "")], Reason::Malformed),
            (vec![("authorization", "Bearer")], Reason::Malformed),
            (vec![("authorization", "Bearer ")], Reason::Malformed),
            (vec![("authorization", "Bearer  a.b.c")], Reason::Malformed),
            (vec![("authorization", "Bearer\ta.b.c")], Reason::Malformed),
            (vec![("authorization", "Bearer a.b.c x")], Reason::Malformed),
            (vec![("authorization", "Basic dTpw")], Reason::Malformed),
            (vec![("authorization", "a.b.c")], Reason::Malformed),
            (vec![("authorization", "Bearer rsk_a_short")], Reason::Malformed),
            (vec![("x-api-key", "a.b.c")], Reason::Malformed),
            (vec![("x-api-key", "")], Reason::Malformed),
            (vec![("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")], Reason::Ambiguous),
            (vec![("x-api-key", key), ("x-api-key", key)], Reason::Ambiguous),
            (vec![("x-api-key", key), ("authorization", "Bearer a.b.c")], Reason::Ambiguous),
            (vec![("x-api-key", key), ("authorization", "Basic dTpw")], Reason::Malformed),
        ] {
            assert_eq!(read(&headers), Err(reason), "{headers:?}");
        }
    }
}
