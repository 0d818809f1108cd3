//! A token → principal: its form, its signature by the one key and algorithm it may have, then its claims.

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, DecodingKey};
use ragstone_core::{Principal, Result};

use crate::claims::Rules;
use crate::clock::Clock;
use crate::compact::{Claimed, Compact};
use crate::config::JwtConfig;
use crate::failure::Reason;
use crate::json;
use crate::jwks::Jwks;
use crate::keyset::Wanted;

/// Checks tokens as configured.
pub(crate) struct Verifier {
    secret: Option<DecodingKey>,
    published: Option<Arc<Jwks>>,
    rules: Rules,
    clock: Clock,
}

impl Verifier {
    /// A verifier; nothing is fetched yet.
    ///
    /// # Errors
    /// `InvalidArgument` for an address of keys that cannot be used.
    pub(crate) fn new(config: &JwtConfig, clock: Clock) -> Result<Self> {
        let secret = config.has_secret().then(|| DecodingKey::from_secret(config.hs256_secret.expose().as_bytes()));
        let published = config.has_key_set().then(|| Jwks::new(config, clock.clone())).transpose()?.map(Arc::new);
        Ok(Self { secret, published, rules: Rules::new(config), clock })
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn principal(&self, token: &str) -> Result<Principal, Reason> {
        let payload = self.payload(token).await?;
        let claims = json::object(&payload).ok_or(Reason::Malformed)?;
        let now = self.clock.system().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.rules.principal(&claims, now)
    }

    /// What was signed, when the signature is genuine.
    pub(crate) async fn payload(&self, token: &str) -> Result<Vec<u8>, Reason> {
        let token = Compact::parse(token)?;
        match token.header.algorithm {
            Claimed::Hs256 => {
                let secret = self.secret.as_ref().ok_or(Reason::Algorithm)?;
                let signed = token.signed.as_bytes();
                let genuine = jsonwebtoken::crypto::verify(token.signature, signed, secret, Algorithm::HS256);
                if !genuine.unwrap_or(false) {
                    return Err(Reason::Signature);
                }
            }
            Claimed::Public(algorithm) => {
                let published = self.published.as_ref().ok_or(Reason::Algorithm)?;
                let wanted = Wanted { kid: token.header.kid.as_deref(), algorithm };
                published.verify(wanted, token.signed, token.signature).await?;
            }
        }
        Ok(token.payload)
    }
}

#[cfg(test)]
mod wycheproof;
