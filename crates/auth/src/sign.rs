//! Development tokens, signed with the configured secret: for trying out, where there is no issuer yet.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use ragstone_config::Secret;
use ragstone_core::{Error, Result, Scope, TenantId};
use serde_json::{Map, Value, json};

use crate::config::JwtConfig;

/// Whom a development token is for and what it allows.
#[derive(Debug, Clone)]
pub struct DevelopmentToken {
    /// Its subject.
    pub subject: String,
    /// Its tenant.
    pub tenant: TenantId,
    /// What its bearer may do.
    pub scopes: BTreeSet<Scope>,
    /// Groups of its bearer.
    pub groups: Vec<String>,
    /// How long it holds.
    pub ttl: Duration,
}

impl DevelopmentToken {
    /// The token, for the configured issuer and the first configured audience.
    ///
    /// # Errors
    /// `InvalidArgument` when no secret for HS256 is configured.
    pub fn sign(&self, config: &JwtConfig) -> Result<Secret> {
        if !config.has_secret() {
            return Err(Error::invalid("no secret to sign with: set gateway.auth.jwt.hs256_secret"));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let audience = config.audience.first().map(String::as_str).unwrap_or_default();
        let claims: Map<String, Value> = [
            ("iss", json!(config.issuer)),
            ("aud", json!(audience)),
            ("sub", json!(self.subject)),
            ("iat", json!(now)),
            ("exp", json!(now.saturating_add(self.ttl.as_secs()))),
            (&config.tenant_claim, json!(self.tenant.as_str())),
            (&config.scope_claim, json!(scopes.join(" "))),
            (&config.groups_claim, json!(self.groups)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let key = EncodingKey::from_secret(config.hs256_secret.expose().as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key);
        token.map(Secret::from).map_err(|error| Error::internal("the token cannot be signed").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use http::{HeaderMap, header};
    use ragstone_core::{ErrorCode, Principal};

    use super::*;
    use crate::clock::Clock;
    use crate::{AuthConfig, AuthMode, Authenticator};

    fn config(change: impl FnOnce(&mut JwtConfig)) -> AuthConfig {
        let mut jwt = JwtConfig { hs256_secret: "0123456789abcdef0123456789abcdef".into(), ..JwtConfig::default() };
        change(&mut jwt);
        AuthConfig { mode: AuthMode::Required, jwt, ..AuthConfig::default() }
    }

    fn token() -> DevelopmentToken {
        DevelopmentToken {
            subject: "ada".into(),
            tenant: TenantId::new("Käse & Co").unwrap(),
            scopes: BTreeSet::from([Scope::Query, Scope::Admin]),
            groups: vec!["a".into()],
            ttl: Duration::from_secs(60),
        }
    }

    async fn check(config: &AuthConfig, token: &Secret, clock: &Clock) -> Result<Principal> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let value = format!("Bearer {}", token.expose()).parse().unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        Authenticator::with_clock(config, clock.clone())?.authenticate(&headers).await
    }

    #[tokio::test]
    async fn tokens_hold_as_long_as_they_say_with_any_names_of_claims() {
        let names = |jwt: &mut JwtConfig| {
            jwt.tenant_claim = "https://x.example/tenant".into();
            jwt.scope_claim = "permissions".into();
            jwt.groups_claim = "roles".into();
            jwt.issuer = "me".into();
        };
        for config in [config(|_| ()), config(names)] {
            let (token, clock) = (token().sign(&config.jwt).unwrap(), Clock::default());
            let principal = check(&config, &token, &clock).await.unwrap();
            assert_eq!((principal.subject.as_str(), principal.access.tenant.as_str()), ("ada", "Käse & Co"));
            assert_eq!(principal.scopes, BTreeSet::from([Scope::Query, Scope::Admin]));
            clock.advance(Duration::from_secs(88));
            assert!(check(&config, &token, &clock).await.is_ok(), "the leeway is 30 seconds");
            clock.advance(Duration::from_secs(3));
            let error = check(&config, &token, &clock).await.unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (ErrorCode::Unauthenticated, "the token has expired"));
        }
        let token = token().sign(&config(|_| ()).jwt).unwrap();
        assert!(check(&config(names), &token, &Clock::default()).await.is_err());
    }

    #[test]
    fn without_a_secret_nothing_is_signed() {
        let none = JwtConfig::default();
        assert!(token().sign(&none).unwrap_err().message.contains("hs256_secret"));
    }
}
