//! A published key set (JWKS, RFC 7517): each key with the one algorithm it verifies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use crate::algorithm::JwtAlgorithm;
use crate::failure::Reason;

/// Keys read of a set at most.
const MAX_KEYS: usize = 100;

/// The keys of a set that can be used here.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Vec<Key>);

/// A public key, pinned to an algorithm.
#[derive(Debug)]
pub(crate) struct Key {
    kid: Option<String>,
    algorithm: JwtAlgorithm,
    key: DecodingKey,
}

/// Which key a token asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) kid: Option<&'a str>,
    pub(crate) algorithm: JwtAlgorithm,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The members of a key that matter. Certificates in it (`x5c`, `x5u`) are not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys for other purposes or of other kinds are left out, as sets of real issuers contain some.
    ///
    /// # Errors
    /// A sentence when it is no key set at all.
    pub(crate) fn parse(json: &[u8], allowed: &[JwtAlgorithm]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json).map_err(|error| format!("it is no key set: {error}"))?;
        let jwks = document.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(Self(jwks.filter_map(|jwk| jwk.key(allowed)).collect()))
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one key that fits; `None` when none does, or several do.
    pub(crate) fn find(&self, wanted: Wanted<'_>) -> Option<&Key> {
        let fits = |key: &&Key| {
            key.algorithm == wanted.algorithm && wanted.kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        };
        let mut fitting = self.0.iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

impl Key {
    /// Checks a signature, with the key's own algorithm whatever the token says.
    ///
    /// # Errors
    /// `Signature`.
    pub(crate) fn verify(&self, signed: &str, signature: &str) -> Result<(), Reason> {
        let genuine =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm.of_jsonwebtoken());
        if genuine.unwrap_or(false) { Ok(()) } else { Err(Reason::Signature) }
    }
}

impl Jwk {
    fn key(self, allowed: &[JwtAlgorithm]) -> Option<Key> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|one| one == "verify"));
        if !for_signatures {
            return None;
        }
        let algorithm = self.algorithm(allowed).filter(|algorithm| allowed.contains(algorithm))?;
        Some(Key { key: self.decoding_key()?, kid: self.kid, algorithm })
    }

    /// Its own algorithm where it names one that fits its type, else the first allowed one that does.
    fn algorithm(&self, allowed: &[JwtAlgorithm]) -> Option<JwtAlgorithm> {
        let fits = |algorithm: &JwtAlgorithm| match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => algorithm.is_rsa(),
            ("EC", Some("P-256")) => *algorithm == JwtAlgorithm::Es256,
            ("EC", Some("P-384")) => *algorithm == JwtAlgorithm::Es384,
            ("OKP", Some("Ed25519")) => *algorithm == JwtAlgorithm::EdDsa,
            _ => false,
        };
        match &self.alg {
            Some(own) => JwtAlgorithm::parse(own).filter(fits),
            None => allowed.iter().copied().find(fits),
        }
    }

    fn decoding_key(&self) -> Option<DecodingKey> {
        let bytes = |member: &Option<String>| member.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match self.kty.as_str() {
            "RSA" => Some(DecodingKey::from_rsa_raw_components(&bytes(&self.n)?, &bytes(&self.e)?)),
            // The sizes of its parts and whether it is on the curve are checked when it is used.
            "EC" => DecodingKey::from_ec_components(self.x.as_ref()?, self.y.as_ref()?).ok(),
            "OKP" => Some(DecodingKey::from_ed_der(&bytes(&self.x)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;
    use JwtAlgorithm::{EdDsa, Es256, Ps256, Rs256};

    fn set(keys: Value) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &[Rs256, Es256, EdDsa]).unwrap()
    }

    fn wanted(kid: Option<&str>, algorithm: JwtAlgorithm) -> Wanted<'_> {
        Wanted { kid, algorithm }
    }

    #[test]
    fn each_key_has_one_algorithm() {
        let keys = set(json!([
            { "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" },
            { "kty": "EC", "kid": "e", "crv": "P-256", "x": "AQ", "y": "AQ", "alg": "ES256", "use": "sig" },
            { "kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AQ", "key_ops": ["verify"], "alg": "Ed25519" },
        ]));
        assert_eq!(keys.len(), 3);
        for (kid, own) in [("r", Rs256), ("e", Es256), ("o", EdDsa)] {
            for algorithm in JwtAlgorithm::ALL {
                assert_eq!(keys.find(wanted(Some(kid), algorithm)).is_some(), algorithm == own, "{kid} {algorithm:?}");
            }
            assert!(keys.find(wanted(None, own)).is_some());
        }
        assert!(keys.find(wanted(Some("x"), Rs256)).is_none());
    }

    #[test]
    fn other_keys_are_left_out() {
        let rsa = |change: Value| {
            let mut key = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            set(json!([key])).len()
        };
        assert_eq!(rsa(json!({})), 1);
        for change in [
            json!({ "use": "enc" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "key_ops": [] }),
            json!({ "alg": "RSA-OAEP" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "PS256" }),
            json!({ "kty": "oct", "k": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-521", "x": "AQ", "y": "AQ" }),
            json!({ "n": "A=" }),
            json!({ "kty": 1 }),
        ] {
            assert_eq!(rsa(change.clone()), 0, "{change}");
        }
        assert_eq!(set(json!(["x", 1, null])).len(), 0);
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert!(KeySet::parse(bad.as_bytes(), &[Rs256]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ambiguous_key_is_none() {
        let key = |kid: &str| json!({ "kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB" });
        let two = set(json!([key("a"), key("b")]));
        assert!(two.find(wanted(None, Rs256)).is_none());
        assert!(two.find(wanted(Some("a"), Rs256)).is_some());
        assert!(set(json!([key("a"), key("a")])).find(wanted(Some("a"), Rs256)).is_none());
    }

    #[test]
    fn a_key_without_an_algorithm_takes_the_first_that_fits() {
        let json = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
        let keys = KeySet::parse(json.as_bytes(), &[Es256, Ps256, Rs256]).unwrap();
        assert!(keys.find(wanted(None, Ps256)).is_some());
        assert!(keys.find(wanted(None, Rs256)).is_none());
    }
}
