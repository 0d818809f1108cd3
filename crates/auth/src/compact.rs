//! A signed token taken apart, strictly: three parts of canonical base64url, a header without surprises.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::algorithm::JwtAlgorithm;
use crate::failure::Reason;
use crate::json;

/// The largest token, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest key id, in bytes.
const MAX_KID_BYTES: usize = 256;
/// The types of an access token (RFC 9068); a logout or an event token must not pass for one.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token in its parts; nothing in it is to be believed before the signature has been checked.
#[derive(Debug)]
pub(crate) struct Compact<'a> {
    /// What the signature is of.
    pub(crate) signed: &'a str,
    /// The signature in base64url.
    pub(crate) signature: &'a str,
    /// The payload's bytes.
    pub(crate) payload: Vec<u8>,
    /// The header.
    pub(crate) header: Header,
}

/// What of a header is used. Keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are never looked at: the keys to
/// check with come from the configuration alone.
#[derive(Debug)]
pub(crate) struct Header {
    /// The algorithm it claims.
    pub(crate) algorithm: Claimed,
    /// The id of the key it claims.
    pub(crate) kid: Option<String>,
}

/// An algorithm as a header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// HMAC with the configured secret.
    Hs256,
    /// With a published key.
    Public(JwtAlgorithm),
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed`, or `Algorithm` for one that is never accepted.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        // A fourth part would be within the payload, where a dot is no base64.
        let [header, payload, bytes] = [header, payload, signature].map(decode);
        if bytes?.is_empty() {
            return Err(Reason::Malformed);
        }
        let header = json::object(&header?).ok_or(Reason::Malformed)?;
        Ok(Self { signed, signature, payload: payload?, header: Header::parse(&header)? })
    }
}

/// Canonical base64url: no padding, no white space, no stray bits at the end.
fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::Malformed)
}

impl Header {
    fn parse(header: &Map<String, Value>) -> Result<Self, Reason> {
        // Extensions that must be understood (RFC 7515): none is, so any is refused.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Reason::Malformed);
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(kind)) if TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known)) => {}
            Some(_) => return Err(Reason::Malformed),
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Some(kid.clone()),
            Some(_) => return Err(Reason::Malformed),
        };
        let Some(Value::String(algorithm)) = header.get("alg") else { return Err(Reason::Malformed) };
        Ok(Self { algorithm: Claimed::parse(algorithm).ok_or(Reason::Algorithm)?, kid })
    }
}

impl Claimed {
    fn parse(name: &str) -> Option<Self> {
        if name == "HS256" { Some(Self::Hs256) } else { JwtAlgorithm::parse(name).map(Self::Public) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<Header, Reason> {
        Header::parse(&json::object(json.as_bytes()).ok_or(Reason::Malformed)?)
    }

    #[test]
    fn headers_are_read_strictly() {
        let good = header(r#"{"alg":"RS256","typ":"AT+JWT","kid":"a","jku":"https://evil.example","x5t":"x"}"#);
        assert!(good.is_ok_and(|header| header.kid.as_deref() == Some("a")));
        assert!(header(r#"{"alg":"HS256"}"#).is_ok_and(|header| header.algorithm == Claimed::Hs256));
        for (bad, reason) in [
            (r#"{}"#, Reason::Malformed),
            (r#"{"alg":["RS256"]}"#, Reason::Malformed),
            (r#"{"alg":"RS256","crit":[]}"#, Reason::Malformed),
            (r#"{"alg":"RS256","b64":false}"#, Reason::Malformed),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, Reason::Malformed),
            (r#"{"alg":"RS256","typ":1}"#, Reason::Malformed),
            (r#"{"alg":"RS256","kid":1}"#, Reason::Malformed),
            (r#"{"alg":"RS256","kid":""}"#, Reason::Malformed),
            (r#"{"alg":"none"}"#, Reason::Algorithm),
            (r#"{"alg":"rs256"}"#, Reason::Algorithm),
            (r#"{"alg":"HS384"}"#, Reason::Algorithm),
            (r#"{"alg":""}"#, Reason::Algorithm),
        ] {
            assert_eq!(header(bad).err(), Some(reason), "{bad}");
        }
    }

    #[test]
    fn parts_are_three_and_canonical() {
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let token = format!("{head}.e30.AQ");
        assert!(Compact::parse(&token).is_ok_and(|token| token.payload == b"{}" && token.signature == "AQ"));
        for bad in [
            "",
            "..",
            &format!("{head}.e30"),
            &format!("{head}.e30."),
            &format!("{head}.e30.AQ.AQ"),
            &format!("{head}.e30.AQ=="),
            &format!("{head}.e30.AR"),
            &format!("{head}.e3 0.AQ"),
            &format!(" {token}"),
            &format!("{head}.e30.A+"),
        ] {
            assert_eq!(Compact::parse(bad).err(), Some(Reason::Malformed), "{bad}");
        }
        let long = format!("{head}.{}.AQ", "A".repeat(MAX_TOKEN_BYTES));
        assert_eq!(Compact::parse(&long).err(), Some(Reason::TooLarge));
    }
}
