//! Credential → principal: signed tokens (JWT), API keys, or, on loopback only, none.

mod algorithm;
#[cfg(any(test, feature = "attacks"))]
pub mod attacks;
mod authenticator;
mod claims;
mod clock;
mod compact;
mod config;
mod credential;
mod failure;
mod json;
mod jwks;
mod jwt;
mod keys;
mod keyset;
mod sign;
mod store;

pub use algorithm::JwtAlgorithm;
pub use authenticator::Authenticator;
pub use config::{ApiKeyConfig, AuthConfig, AuthMode, JwtConfig};
pub use keys::GeneratedKey;
pub use sign::DevelopmentToken;
pub use store::KeyStore;
