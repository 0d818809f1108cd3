//! What every service's configuration has in common.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A service's own section of the configuration.
pub trait ServiceConfig: Serialize + DeserializeOwned + Default + Send + 'static {
    /// Where it serves.
    fn listen(&self) -> SocketAddr;

    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    fn admin_listen(&self) -> SocketAddr;

    /// Takes over standard variables such as `OPENAI_BASE_URL` where the configuration is silent.
    fn apply_env(&mut self, _env: &dyn Fn(&str) -> Option<String>) {}

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    fn check(&self) -> Result<(), String>;
}

/// How servers treat connections and how they stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// After a stop signal: how long to go on accepting while load balancers take notice, in milliseconds.
    pub drain_delay_ms: u64,
    /// After that: how long requests under way may take to end, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Connections are closed gracefully after this many seconds, so that clients spread over new replicas.
    pub max_connection_age_seconds: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { drain_delay_ms: 0, drain_timeout_ms: 25_000, max_connection_age_seconds: 300 }
    }
}

impl ServerConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.max_connection_age_seconds == 0 {
            return Err("max_connection_age_seconds must be at least 1".to_owned());
        }
        Ok(())
    }

    pub(crate) fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    pub(crate) fn max_connection_age(&self) -> Duration {
        Duration::from_secs(self.max_connection_age_seconds)
    }
}
