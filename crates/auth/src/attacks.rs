//! Requests that must be let in and a table of those that must not, for tests of whatever stands in front of an
//! `Authenticator`: the same table goes through the function, REST and gRPC.
#![expect(clippy::unwrap_used, reason = "test data: keys are made at start or the test ends")]

mod claims;
mod form;
mod signature;

use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::{ApiKeyConfig, AuthConfig, AuthMode, GeneratedKey, JwtConfig};

const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "ragstone-test";

/// A request's headers, and whether they may pass.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What it tries.
    pub name: String,
    /// The headers that carry the credential.
    pub headers: HeaderMap,
    /// The label of `rag_auth_failures_total` it must be refused with; `None`: it must be let in.
    pub refused: Option<&'static str>,
}

/// Keys of an issuer, and of somebody who would like to be it.
pub struct Fixture {
    secret: String,
    rsa: RsaKeyPair,
    ec: Ec,
    ed: Ed25519KeyPair,
    strange_rsa: RsaKeyPair,
    strange_ec: Ec,
    api_key: GeneratedKey,
}

/// An EC key in the form from which keys for several signature formats can be made.
struct Ec(Vec<u8>);

impl Fixture {
    /// Fresh keys.
    #[must_use]
    pub fn generate() -> Self {
        let ec = || EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self {
            secret: GeneratedKey::generate().unwrap().key.expose().to_owned(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: Ec(ec().as_ref().to_vec()),
            ed: Ed25519KeyPair::generate().unwrap(),
            strange_rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            strange_ec: Ec(ec().as_ref().to_vec()),
            api_key: GeneratedKey::generate().unwrap(),
        }
    }

    /// The `gateway.auth` that fits, with [`Self::jwks`] served at `jwks_url`. Everything is accepted that can be, so that
    /// each method is there to be confused with the others.
    #[must_use]
    pub fn config(&self, jwks_url: &str) -> AuthConfig {
        let jwt = JwtConfig {
            issuer: ISSUER.to_owned(),
            audience: vec!["another".to_owned(), AUDIENCE.to_owned()],
            hs256_secret: self.secret.as_str().into(),
            jwks_url: jwks_url.to_owned(),
            ..JwtConfig::default()
        };
        let key = ApiKeyConfig {
            id: self.api_key.id.clone(),
            hash: self.api_key.hash.clone(),
            tenant: "acme".to_owned(),
            subject: "machine".to_owned(),
            scopes: vec!["query".to_owned()],
            groups: Vec::new(),
            all_groups: false,
        };
        AuthConfig { mode: AuthMode::Required, jwt, api_keys: vec![key], ..AuthConfig::default() }
    }

    /// A key set with the RSA key alone, under another id; and a token signed with it.
    #[cfg(test)]
    pub(crate) fn rotated(&self, kid: &str) -> (String, String) {
        let token = self.signed_as_named(&json!({ "alg": "RS256", "kid": kid }), &claims());
        (json!({ "keys": [self.rsa_jwk(kid)] }).to_string(), token)
    }

    /// The issuer's key set. Beside the three keys for signatures it has one for encryption and a symmetric one, which nobody
    /// must ever verify with.
    #[must_use]
    pub fn jwks(&self) -> String {
        let mut encryption = self.rsa_jwk("rsa-enc");
        encryption["use"] = json!("enc");
        let point = self.ec.point();
        json!({ "keys": [
            encryption,
            { "kty": "oct", "kid": "oct-1", "alg": "HS256", "use": "sig", "k": b64(OCT) },
            self.rsa_jwk("rsa-1"),
            { "kty": "EC", "kid": "ec-1", "crv": "P-256", "use": "sig", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "kid": "ed-1", "crv": "Ed25519", "alg": "EdDSA", "x": b64(self.ed.public_key()) },
        ] })
        .to_string()
    }

    /// A token that is let in, with these scopes.
    #[must_use]
    pub fn token(&self, tenant: &str, scopes: &str) -> String {
        let mut claims = claims();
        claims["tenant"] = json!(tenant);
        claims["scope"] = json!(scopes);
        self.hs256(&json!({ "alg": "HS256", "typ": "JWT" }), &claims)
    }

    /// What must be let in: one for each way there is.
    #[must_use]
    pub fn welcome(&self) -> Vec<Attempt> {
        let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            self.hs256(&hs256, &claims)
        };
        let now = now();
        let by_key = |header: Value| self.signed_as_named(&header, &claims());
        let mut table = Table::default();
        for (name, token) in [
            ("HS256", self.hs256(&hs256, &claims())),
            ("HS256 with a key id", self.hs256(&json!({ "alg": "HS256", "kid": "rsa-1" }), &claims())),
            ("RS256", by_key(json!({ "alg": "RS256", "kid": "rsa-1", "typ": "at+jwt" }))),
            ("RS256 without a key id", by_key(json!({ "alg": "RS256" }))),
            (
                "RS256 with an address of keys, unread",
                by_key(json!({ "alg": "RS256", "kid": "rsa-1", "jku": "http://[" })),
            ),
            ("ES256", by_key(json!({ "alg": "ES256", "kid": "ec-1", "typ": "JWT" }))),
            ("EdDSA", by_key(json!({ "alg": "EdDSA", "kid": "ed-1", "typ": "jwt" }))),
            ("Ed25519", by_key(json!({ "alg": "Ed25519", "kid": "ed-1" }))),
            ("several audiences", with("aud", json!(["x", AUDIENCE]))),
            ("a list of scopes", with("scope", json!(["query", "unheard-of"]))),
            ("no groups", with("groups", json!([]))),
            ("ended within the leeway", with("exp", json!(now - 5))),
            ("begins within the leeway", with("nbf", json!(now + 20))),
            ("another script", with("sub", json!("Žofie \u{1F600}"))),
            ("claims of others", with("\u{0}odd", json!({ "a": [1.5, null, true] }))),
        ] {
            table.token(name, None, &token);
        }
        let key = self.api_key.key.expose();
        table.header(
            "any case of the word",
            None,
            &[("authorization", &format!("bEaReR {}", with("sub", json!("s"))))],
        );
        table.header("an API key as a bearer", None, &[("authorization", &format!("Bearer {key}"))]);
        table.header("an API key", None, &[("x-api-key", key)]);
        table.header("an API key twice", None, &[("x-api-key", key), ("authorization", &format!("Bearer {key}"))]);
        table.0
    }

    /// What must not be let in.
    #[must_use]
    pub fn attacks(&self) -> Vec<Attempt> {
        let mut table = Table::default();
        form::attack(self, &mut table);
        signature::attack(self, &mut table);
        claims::attack(self, &mut table);
        table.0
    }

    fn rsa_jwk(&self, kid: &str) -> Value {
        let public = aws_lc_rs::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        json!({ "kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": b64(public.n), "e": b64(public.e) })
    }

    fn hs256(&self, header: &Value, claims: &Value) -> String {
        signed(&header.to_string(), &claims.to_string(), |message| hmac_with(self.secret.as_bytes(), message))
    }

    /// Signed with the issuer's own key for the algorithm that the header names.
    fn signed_as_named(&self, header: &Value, claims: &Value) -> String {
        signed(&header.to_string(), &claims.to_string(), |message| match header["alg"].as_str() {
            Some("RS256") => rsa_sign(&self.rsa, &RSA_PKCS1_SHA256, message),
            Some("ES256") => self.ec.sign(message),
            Some("EdDSA" | "Ed25519") => self.ed.sign(message).as_ref().to_vec(),
            _ => hmac_with(self.secret.as_bytes(), message),
        })
    }
}

impl Ec {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0).unwrap();
        key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// 4, then 32 bytes of x and of y.
    fn point(&self) -> Vec<u8> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0).unwrap();
        key.public_key().as_ref().to_vec()
    }
}

/// The symmetric key that the issuer should not have published.
const OCT: &[u8; 32] = b"a symmetric key that is public!!";

/// The attempts so far.
#[derive(Default)]
struct Table(Vec<Attempt>);

impl Table {
    fn token(&mut self, name: impl Into<String>, refused: Option<&'static str>, token: &str) {
        self.header(name, refused, &[("authorization", &format!("Bearer {token}"))]);
    }

    fn header(&mut self, name: impl Into<String>, refused: Option<&'static str>, headers: &[(&'static str, &str)]) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        self.0.push(Attempt { name: name.into(), headers: map, refused });
    }
}

/// Claims that are accepted.
fn claims() -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user", "iat": now, "nbf": now, "exp": now + 3600,
        "tenant": "acme", "scope": "query ingest", "groups": ["staff"],
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    format!("{message}.{}", b64(sign(message.as_bytes())))
}

fn hmac_with(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn rsa_sign(key: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// The public key as certificates have it.
fn spki(key: &RsaKeyPair) -> Vec<u8> {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    der.as_ref().to_vec()
}
