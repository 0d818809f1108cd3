//! Credential → principal. Today there is one mode: no credential, on loopback only.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::HeaderMap;
use ragstone_core::{Access, GroupAccess, Principal, Result, Scope, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may call the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// `none`: everyone who reaches the port may do everything, as the tenant below.
    pub mode: AuthMode,
    /// The tenant of callers without a credential.
    pub anonymous_tenant: String,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They don't; refused on any address but loopback.
    None,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { mode: AuthMode::None, anonymous_tenant: "default".to_owned() }
    }
}

impl AuthConfig {
    /// Refuses to open an unauthenticated port to the world.
    ///
    /// # Errors
    /// One sentence that names the address.
    pub fn check_listen(&self, listen: SocketAddr) -> Result<(), String> {
        match self.mode {
            AuthMode::None if !listen.ip().is_loopback() => {
                Err(format!("listening on {listen} without authentication is refused: only loopback is private"))
            }
            AuthMode::None => Ok(()),
        }
    }
}

/// Turns a request's credential into a principal.
#[derive(Debug, Clone)]
pub struct Authenticator {
    anonymous: Principal,
}

impl Authenticator {
    /// An authenticator as configured.
    ///
    /// # Errors
    /// `InvalidArgument` when the tenant's name is unusable.
    pub fn new(config: &AuthConfig) -> Result<Self> {
        let AuthMode::None = config.mode;
        let tenant = TenantId::new(config.anonymous_tenant.as_str())?;
        let anonymous = Principal {
            subject: "anonymous".to_owned(),
            access: Access { tenant, groups: GroupAccess::All },
            scopes: BTreeSet::from([Scope::Query, Scope::Ingest, Scope::Admin]),
        };
        Ok(Self { anonymous })
    }

    /// Who sent these headers (gRPC metadata are headers too).
    ///
    /// # Errors
    /// `Unauthenticated` where a credential is needed and none, or a bad one, is there.
    pub fn authenticate(&self, _headers: &HeaderMap) -> Result<Principal> {
        Ok(self.anonymous.clone())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_loopback_is_open_without_a_credential() {
        let config = AuthConfig::default();
        for good in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            assert!(config.check_listen(good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(config.check_listen(bad.parse().unwrap()).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn the_anonymous_tenant_is_checked() {
        let config = AuthConfig { anonymous_tenant: " ".to_owned(), ..AuthConfig::default() };
        assert!(Authenticator::new(&config).is_err());
    }
}
