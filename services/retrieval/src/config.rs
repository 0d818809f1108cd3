//! The `[retrieval]` section of the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use ragstone_rpc::ServiceConfig;
use ragstone_vector::{EdgeConfig, QdrantConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The retrieval service. It keeps the vectors in Qdrant where `qdrant.urls` names one, else in an embedded store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// The embedded vector store.
    pub edge: EdgeConfig,
    /// Qdrant, instead of the embedded store.
    pub qdrant: QdrantConfig,
    /// The longest a request may take, in milliseconds, where its caller sets no sooner deadline.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7102)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9102)),
            edge: EdgeConfig::default(),
            qdrant: QdrantConfig::default(),
            request_timeout_ms: 60_000,
        }
    }
}

impl Config {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Whether vectors are kept in Qdrant.
    pub(crate) fn uses_qdrant(&self) -> bool {
        !self.qdrant.urls.is_empty()
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn admin_listen(&self) -> SocketAddr {
        self.admin_listen
    }

    fn check(&self) -> Result<(), String> {
        if self.request_timeout_ms == 0 {
            return Err("request_timeout_ms must be at least 1".to_owned());
        }
        if self.uses_qdrant() {
            return self.qdrant.validate().map_err(|error| format!("qdrant.{}", error.message));
        }
        self.edge.validate().map_err(|error| format!("edge.{}", error.message))
    }
}
