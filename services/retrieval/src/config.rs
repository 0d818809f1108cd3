//! The `[retrieval]` section of the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use ragstone_rpc::ServiceConfig;
use ragstone_vector::EdgeConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The retrieval service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// The embedding model whose vectors the index holds; an index of another model is refused.
    pub model: String,
    /// Length of that model's vectors.
    pub dimension: usize,
    /// The embedded vector store.
    pub edge: EdgeConfig,
    /// The longest a request may take, in milliseconds, where its caller sets no sooner deadline.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7102)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9102)),
            model: "all-MiniLM-L6-v2".to_owned(),
            dimension: 384,
            edge: EdgeConfig::default(),
            request_timeout_ms: 60_000,
        }
    }
}

impl Config {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
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
        if self.dimension == 0 {
            return Err("dimension must be at least 1".to_owned());
        }
        if self.request_timeout_ms == 0 {
            return Err("request_timeout_ms must be at least 1".to_owned());
        }
        self.edge.validate().map_err(|error| format!("edge.{}", error.message))
    }
}
