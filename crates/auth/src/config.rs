//! The `[gateway.auth]` section of the configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ragstone_config::Secret;
use ragstone_core::Scope;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use url::{Host, Url};

use crate::algorithm::JwtAlgorithm;
use crate::keys;

/// The shortest secret for HS256, in bytes: as long as the hash (RFC 7518).
const MIN_SECRET_BYTES: usize = 32;
/// Claims with a meaning of their own.
const RESERVED: [&str; 6] = ["", "iss", "aud", "exp", "nbf", "iat"];
/// The most that clocks may differ, in seconds.
const MAX_LEEWAY: u64 = 60;

/// Who may call the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// `none`: everyone who reaches the port may do everything, as the tenant below; only on loopback.
    /// `required`: every call needs a token (`jwt`) or an API key.
    pub mode: AuthMode,
    /// The tenant of callers without a credential, with `none`.
    pub anonymous_tenant: String,
    /// Which tokens are accepted.
    pub jwt: JwtConfig,
    /// API keys that are known without a store; `ragstone token --api-key` makes one.
    pub api_keys: Vec<ApiKeyConfig>,
    /// How long what is known of a stored API key is used, in seconds: a revoked key works that much longer at most.
    pub api_key_ttl_seconds: u64,
    /// How long known API keys go on working while their store does not answer, in seconds.
    pub api_key_stale_seconds: u64,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They don't; refused on any address but loopback.
    None,
    /// With a token or an API key.
    Required,
}

/// Which tokens (JWT) are accepted and what is read from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// What a token's `iss` must be.
    pub issuer: String,
    /// One of these must be in a token's `aud`.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub audience: Vec<String>,
    /// How far the issuer's clock may differ, 0 to 60 seconds.
    pub leeway_seconds: u64,
    /// The secret of tokens signed with HS256, at least 32 bytes; empty: there are none.
    pub hs256_secret: Secret,
    /// Where the issuer publishes its keys (JWKS): https, or http on loopback; empty: it has none.
    pub jwks_url: String,
    /// Which algorithms the published keys may be used with. A published key without an algorithm of its own is used with the
    /// first of these that fits its type.
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// How long published keys are used before they are fetched again, in seconds, where the issuer says nothing else.
    pub jwks_refresh_seconds: u64,
    /// How long published keys are used past that while they cannot be fetched, in seconds.
    pub jwks_stale_seconds: u64,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim with the scopes (`query`, `ingest`, `admin`): words in a string, or a list.
    pub scope_claim: String,
    /// The claim with the groups: a list.
    pub groups_claim: String,
}

/// An API key that the configuration knows, by a hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The part of the key between `rsk_` and the secret.
    pub id: String,
    /// `sha256:` and the SHA-256 of the secret in hexadecimal digits.
    pub hash: String,
    /// The tenant of its bearer.
    pub tenant: String,
    /// Whom its bearer counts as.
    pub subject: String,
    /// What its bearer may do: `query`, `ingest`, `admin`.
    pub scopes: Vec<String>,
    /// Groups of its bearer, who may read their documents beside those for everyone.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether its bearer may read every document of the tenant, whatever its groups.
    #[serde(default)]
    pub all_groups: bool,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: AuthMode::None,
            anonymous_tenant: "default".to_owned(),
            jwt: JwtConfig::default(),
            api_keys: Vec::new(),
            api_key_ttl_seconds: 5,
            api_key_stale_seconds: 300,
        }
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            issuer: "ragstone".to_owned(),
            audience: vec!["ragstone".to_owned()],
            leeway_seconds: 30,
            hs256_secret: Secret::default(),
            jwks_url: String::new(),
            algorithms: vec![JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa],
            jwks_refresh_seconds: 300,
            jwks_stale_seconds: 3600,
            tenant_claim: "tenant".to_owned(),
            scope_claim: "scope".to_owned(),
            groups_claim: "groups".to_owned(),
        }
    }
}

impl AuthConfig {
    /// Refuses to open an unauthenticated port to the world, and settings that cannot work.
    ///
    /// # Errors
    /// One sentence that names the address or the key.
    pub fn check_listen(&self, listen: SocketAddr) -> Result<(), String> {
        if self.mode == AuthMode::None && !listen.ip().is_loopback() {
            let only = "only loopback is private (auth.mode = \"required\" asks for credentials)";
            return Err(format!("listening on {listen} without authentication is refused: {only}"));
        }
        self.check()
    }

    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        self.jwt.check()?;
        let mut ids = BTreeSet::new();
        for key in &self.api_keys {
            keys::configured(key).map_err(|error| format!("auth.api_keys '{}': {}", key.id, error.message))?;
            if !ids.insert(&key.id) {
                return Err(format!("auth.api_keys has the id '{}' twice", key.id));
            }
        }
        if self.api_key_ttl_seconds == 0 || self.api_key_ttl_seconds > self.api_key_stale_seconds {
            return Err("auth.api_key_ttl_seconds must be 1 to auth.api_key_stale_seconds".to_owned());
        }
        let methods = self.jwt.has_secret() || self.jwt.has_key_set() || !self.api_keys.is_empty();
        if self.mode == AuthMode::Required && !methods {
            let one_of = "auth.jwt.hs256_secret, auth.jwt.jwks_url and auth.api_keys";
            return Err(format!("auth.mode is \"required\", but nobody could be let in: set one of {one_of}"));
        }
        Ok(())
    }
}

impl JwtConfig {
    pub(crate) fn has_secret(&self) -> bool {
        !self.hs256_secret.is_empty()
    }

    pub(crate) fn has_key_set(&self) -> bool {
        !self.jwks_url.is_empty()
    }

    fn check(&self) -> Result<(), String> {
        let secret = self.hs256_secret.expose().len();
        if self.has_secret() && secret < MIN_SECRET_BYTES {
            return Err(format!("auth.jwt.hs256_secret has {secret} bytes; at least {MIN_SECRET_BYTES} are needed"));
        }
        if self.leeway_seconds > MAX_LEEWAY {
            return Err(format!("auth.jwt.leeway_seconds must be at most {MAX_LEEWAY}"));
        }
        if self.issuer.is_empty() || self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Err("auth.jwt.issuer and auth.jwt.audience must not be empty".to_owned());
        }
        let names = [&self.tenant_claim, &self.scope_claim, &self.groups_claim];
        if names.iter().any(|name| RESERVED.contains(&name.as_str())) || BTreeSet::from(names).len() < names.len() {
            return Err(
                "auth.jwt.tenant_claim, scope_claim and groups_claim must be three names of claims of their own"
                    .to_owned(),
            );
        }
        if self.has_key_set() {
            self.check_key_set()?;
        }
        Ok(())
    }

    fn check_key_set(&self) -> Result<(), String> {
        jwks_url(&self.jwks_url)?;
        if self.algorithms.is_empty() {
            return Err("auth.jwt.algorithms must name one at least".to_owned());
        }
        if self.jwks_refresh_seconds < 10 {
            return Err("auth.jwt.jwks_refresh_seconds must be at least 10".to_owned());
        }
        Ok(())
    }
}

/// The address of the key set: nobody on the way may change what is fetched from there.
///
/// # Errors
/// A sentence that names the key.
pub(crate) fn jwks_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("auth.jwt.jwks_url is no URL: {error}"))?;
    let safe = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if !safe || !url.username().is_empty() || url.password().is_some() {
        return Err("auth.jwt.jwks_url must begin with https (http on loopback), without a user name".to_owned());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// Algorithms as a list, or as one text as environment variables have it.
fn algorithms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JwtAlgorithm>, D::Error> {
    let names = ragstone_config::list(deserializer)?;
    let known = JwtAlgorithm::ALL.map(JwtAlgorithm::as_str).join(", ");
    let algorithm = |name: &String| {
        JwtAlgorithm::parse(name)
            .ok_or_else(|| D::Error::custom(format!("unknown algorithm '{name}'; known are: {known}")))
    };
    names.iter().map(algorithm).collect()
}

/// The scopes with these names.
///
/// # Errors
/// The first name that is none.
pub(crate) fn scopes(names: &[String]) -> Result<BTreeSet<Scope>, &str> {
    names.iter().map(|name| Scope::parse(name).ok_or(name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn secret() -> AuthConfig {
        let jwt = JwtConfig { hs256_secret: "0123456789abcdef0123456789abcdef".into(), ..JwtConfig::default() };
        AuthConfig { mode: AuthMode::Required, jwt, ..AuthConfig::default() }
    }

    #[test]
    fn only_loopback_is_open_without_a_credential() {
        let open = AuthConfig::default();
        for good in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            assert!(open.check_listen(good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(open.check_listen(bad.parse().unwrap()).unwrap_err().contains(bad), "{bad}");
            assert_eq!(secret().check_listen(bad.parse().unwrap()), Ok(()), "{bad}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let with = |change: fn(&mut AuthConfig)| {
            let mut config = secret();
            change(&mut config);
            config.check().unwrap_err()
        };
        let key = || ApiKeyConfig {
            id: "a".into(),
            hash: format!("sha256:{}", "0".repeat(64)),
            tenant: "t".into(),
            subject: "s".into(),
            scopes: vec!["query".into()],
            groups: Vec::new(),
            all_groups: false,
        };
        let mut keys_only = AuthConfig { mode: AuthMode::Required, api_keys: vec![key()], ..AuthConfig::default() };
        assert_eq!(keys_only.check(), Ok(()));
        keys_only.api_keys.push(key());
        assert!(keys_only.check().unwrap_err().contains("twice"));
        keys_only.api_keys = vec![ApiKeyConfig { hash: "sha256:0".into(), ..key() }];
        assert!(keys_only.check().unwrap_err().contains("hash"));
        keys_only.api_keys = vec![ApiKeyConfig { scopes: vec!["root".into()], ..key() }];
        assert!(keys_only.check().unwrap_err().contains("root"));

        assert!(with(|config| config.jwt.hs256_secret = "".into()).contains("nobody could be let in"));
        assert!(with(|config| config.jwt.hs256_secret = "0123456789abcdef0123456789abcde".into()).contains("32"));
        assert!(with(|config| config.jwt.leeway_seconds = 61).contains("leeway_seconds"));
        assert!(with(|config| config.jwt.issuer.clear()).contains("issuer"));
        assert!(with(|config| config.jwt.audience.clear()).contains("audience"));
        assert!(with(|config| config.jwt.audience.push(String::new())).contains("audience"));
        assert!(with(|config| config.jwt.groups_claim = "tenant".into()).contains("groups_claim"));
        assert!(with(|config| config.jwt.scope_claim = "aud".into()).contains("scope_claim"));
        assert!(with(|config| config.api_key_ttl_seconds = 0).contains("api_key_ttl_seconds"));
        assert!(with(|config| config.jwt.jwks_url = "ftp://idp.example/keys".into()).contains("jwks_url"));
    }

    #[test]
    fn lists_may_be_one_text_and_unknown_names_are_refused() {
        let read = |json: &str| serde_json::from_str::<JwtConfig>(json);
        let text = read(r#"{"algorithms":"ES256, Ed25519","audience":"a,b"}"#).unwrap();
        assert_eq!(text.algorithms, [JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]);
        assert_eq!(text.audience, ["a", "b"]);
        assert_eq!(read(r#"{"algorithms":["RS256"]}"#).unwrap().algorithms, [JwtAlgorithm::Rs256]);
        for bad in ["HS256", "none", "rs256", "RS256 ES256"] {
            let error = read(&format!(r#"{{"algorithms":["{bad}"]}}"#)).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("PS512"), "{error}");
        }
        assert!(read(r#"{"algoritms":["RS256"]}"#).is_err());
        let shown = serde_json::to_string(&secret()).unwrap();
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }

    #[test]
    fn key_sets_come_over_a_safe_way_only() {
        for good in ["https://idp.example/keys", "http://127.0.0.1:9/k", "http://[::1]/k", "http://localhost:1/k"] {
            assert!(jwks_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://idp.example/keys",
            "http://10.0.0.1/k",
            "http://localhost.evil.example/k",
            "http://127.0.0.1.evil.example/k",
            "https://u:p@idp.example/k",
            "file:///etc/keys",
            "keys",
        ] {
            assert!(jwks_url(bad).unwrap_err().contains("jwks_url"), "{bad}");
        }
    }
}
