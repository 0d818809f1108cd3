//! Credential → principal. Today there is one mode: no credential, on loopback only.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, header};
use ragstone_core::{Access, Error, ErrorCode, GroupAccess, Principal, Result, Scope, TenantId};
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
    /// `PermissionDenied` when a browser sent it for a page of another machine: where no credential is asked for, any
    /// web page could otherwise write to, or by rebinding a name read from, a gateway on the reader's own loopback.
    #[expect(clippy::unused_async, reason = "credentials that have to be looked up are next")]
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        for name in [header::HOST, header::ORIGIN] {
            let Some(value) = headers.get(&name) else { continue };
            if !value.to_str().is_ok_and(is_loopback) {
                let message = format!("without authentication the {name} header must name this machine's loopback");
                return Err(Error::new(ErrorCode::PermissionDenied, message));
            }
        }
        Ok(self.anonymous.clone())
    }
}

/// Whether a `Host` (`name:port`) or `Origin` (`scheme://name:port`) names the loopback.
fn is_loopback(value: &str) -> bool {
    let authority = value.split_once("://").map_or(value, |(_, authority)| authority);
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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

    #[tokio::test]
    async fn pages_of_other_machines_are_refused() {
        let authenticator = Authenticator::new(&AuthConfig::default()).unwrap();
        let with = async |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            authenticator.authenticate(&headers).await
        };
        for own in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"] {
            assert!(with(header::HOST, own).await.is_ok(), "{own}");
            assert!(with(header::ORIGIN, &format!("http://{own}")).await.is_ok(), "{own}");
        }
        for foreign in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1:8080", "null", ""] {
            assert_eq!(with(header::HOST, foreign).await.unwrap_err().code, ErrorCode::PermissionDenied, "{foreign}");
            assert!(with(header::ORIGIN, &format!("http://{foreign}")).await.is_err(), "{foreign}");
        }
        assert!(with(header::ORIGIN, "null").await.is_err());
    }

    #[test]
    fn the_anonymous_tenant_is_checked() {
        let config = AuthConfig { anonymous_tenant: " ".to_owned(), ..AuthConfig::default() };
        assert!(Authenticator::new(&config).is_err());
    }
}
