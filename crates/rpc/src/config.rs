//! What every service's configuration has in common.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ClientTlsConfig, TlsConfig};

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

/// How servers treat connections, how they stop, and TLS between the services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// After a stop signal: how long to go on accepting while load balancers take notice, in milliseconds.
    pub drain_delay_ms: u64,
    /// After that: how long requests under way may take to end, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Connections are closed gracefully after this many seconds, so that clients spread over new replicas.
    pub max_connection_age_seconds: u64,
    /// The most open connections of a port; more are closed at once. Each needs a file descriptor.
    pub max_connections: usize,
    /// Time for a TLS handshake, and for the head of an HTTP/1 request from its first byte, in milliseconds.
    pub header_timeout_ms: u64,
    /// A request whose body is waited for and stops coming for this long fails, in milliseconds.
    pub body_timeout_ms: u64,
    /// A client that takes nothing of its answer for this long loses it, in milliseconds.
    pub write_timeout_ms: u64,
    /// Connections without a request are closed after this long, in seconds: longer than a proxy in front keeps them.
    pub idle_timeout_seconds: u64,
    /// The certificate of the inner services' ports; without it they serve in the clear. The gateway has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// What a service trusts and shows when it calls another one at an `https://` URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tls: Option<ClientTlsConfig>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            drain_delay_ms: 0,
            drain_timeout_ms: 25_000,
            max_connection_age_seconds: 300,
            max_connections: 10_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            write_timeout_ms: 60_000,
            idle_timeout_seconds: 120,
            tls: None,
            client_tls: None,
        }
    }
}

impl ServerConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("max_connection_age_seconds", self.max_connection_age_seconds),
            ("max_connections", self.max_connections as u64),
            ("header_timeout_ms", self.header_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("idle_timeout_seconds", self.idle_timeout_seconds),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{key} must be at least 1"));
        }
        self.client_tls.as_ref().map_or(Ok(()), ClientTlsConfig::check)
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

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named() {
        assert_eq!(ServerConfig::default().check(), Ok(()));
        let none = ServerConfig { max_connections: 0, ..ServerConfig::default() };
        assert!(none.check().is_err_and(|problem| problem.contains("max_connections")));
        let half = ClientTlsConfig {
            ca_file: "ca.pem".into(),
            certificate_file: Some("client.pem".into()),
            key_file: None,
            server_name: None,
        };
        let half = ServerConfig { client_tls: Some(half), ..ServerConfig::default() };
        assert!(half.check().is_err_and(|problem| problem.contains("client_tls.key_file")));
    }
}
