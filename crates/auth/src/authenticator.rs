//! A request's credential → principal.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, header};
use ragstone_core::{Access, Error, GroupAccess, Principal, Result, Scope, StoredKey, TenantId};

use crate::clock::Clock;
use crate::config::{AuthConfig, AuthMode};
use crate::credential::Credential;
use crate::failure::Reason;
use crate::jwt::Verifier;
use crate::keys::{Presented, configured};
use crate::store::{Ages, KeyStore, Remembered};

/// Turns a request's credential into a principal.
pub struct Authenticator {
    mode: Mode,
    ages: Ages,
    clock: Clock,
}

enum Mode {
    Open(Principal),
    Closed(Box<Credentials>),
}

/// What credentials are checked against.
struct Credentials {
    tokens: Verifier,
    configured: HashMap<String, StoredKey>,
    stored: Option<Remembered>,
}

impl Authenticator {
    /// An authenticator as configured. API keys are those of the configuration until a store is given.
    ///
    /// # Errors
    /// `InvalidArgument` for settings that cannot work.
    pub fn new(config: &AuthConfig) -> Result<Self> {
        Self::with_clock(config, Clock::default())
    }

    pub(crate) fn with_clock(config: &AuthConfig, clock: Clock) -> Result<Self> {
        config.check().map_err(Error::invalid)?;
        let mode = match config.mode {
            AuthMode::None => Mode::Open(anonymous(&config.anonymous_tenant)?),
            AuthMode::Required => {
                let keys = config.api_keys.iter().map(|key| Ok((key.id.clone(), configured(key)?)));
                let configured = keys.collect::<Result<_>>()?;
                let tokens = Verifier::new(&config.jwt, clock.clone())?;
                Mode::Closed(Box::new(Credentials { tokens, configured, stored: None }))
            }
        };
        Ok(Self { mode, ages: Ages::new(config), clock })
    }

    /// The same, which also accepts the API keys of a store. What the store says is remembered for
    /// `auth.api_key_ttl_seconds`, and while it does not answer for `auth.api_key_stale_seconds`.
    #[must_use]
    pub fn with_key_store(mut self, store: Arc<dyn KeyStore>) -> Self {
        if let Mode::Closed(credentials) = &mut self.mode {
            credentials.stored = Some(Remembered::new(store, self.ages, self.clock.clone()));
        }
        self
    }

    /// Whether a credential is needed.
    #[must_use]
    pub fn is_required(&self) -> bool {
        matches!(self.mode, Mode::Closed(_))
    }

    /// Who sent these headers (gRPC metadata are headers too). Failures are counted in `rag_auth_failures_total`.
    ///
    /// # Errors
    /// `Unauthenticated`; `Unavailable` when what the credential is checked against cannot be reached; `PermissionDenied` when
    /// a browser sent it for a page of another machine: where no credential is asked for, any web page could otherwise write
    /// to, or by rebinding a name read from, a gateway on the reader's own loopback.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        let principal = match &self.mode {
            Mode::Open(anonymous) => own_page(headers).map(|()| anonymous.clone()),
            Mode::Closed(credentials) => credentials.principal(headers, &self.clock).await,
        };
        principal.map_err(|reason| {
            metrics::counter!("rag_auth_failures_total", "reason" => reason.as_str()).increment(1);
            reason.into()
        })
    }
}

impl Credentials {
    async fn principal(&self, headers: &HeaderMap, clock: &Clock) -> Result<Principal, Reason> {
        match Credential::read(headers)? {
            Credential::Token(token) => self.tokens.principal(token).await,
            Credential::Key(key) => self.of_key(key, clock).await,
        }
    }

    async fn of_key(&self, key: Presented<'_>, clock: &Clock) -> Result<Principal, Reason> {
        if let Some(known) = self.configured.get(key.id) {
            return key.principal(known, clock.system());
        }
        let stored = self.stored.as_ref().ok_or(Reason::ApiKey)?;
        let found = stored.find(key.id).await?.ok_or(Reason::ApiKey)?;
        key.principal(&found, clock.system())
    }
}

fn anonymous(tenant: &str) -> Result<Principal> {
    Ok(Principal {
        subject: "anonymous".to_owned(),
        access: Access { tenant: TenantId::new(tenant)?, groups: GroupAccess::All },
        scopes: BTreeSet::from(Scope::ALL),
    })
}

fn own_page(headers: &HeaderMap) -> Result<(), Reason> {
    for name in [header::HOST, header::ORIGIN] {
        let Some(value) = headers.get(&name) else { continue };
        if !value.to_str().is_ok_and(is_loopback) {
            return Err(Reason::ForeignPage);
        }
    }
    Ok(())
}

/// Whether a `Host` (`name:port`) or `Origin` (`scheme://name:port`) names the loopback.
fn is_loopback(value: &str) -> bool {
    let authority = value.split_once("://").map_or(value, |(_, authority)| authority);
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
