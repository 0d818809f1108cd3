//! The `[embedding]` section of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ragstone_models::{DEFAULT_EMBEDDER, EmbedderConfig};
use ragstone_rpc::ServiceConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The embedding service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// Which model of the manifest to load.
    pub model: String,
    /// Where models are stored; without it `RAGSTONE_MODELS`, else the user's cache directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models_dir: Option<PathBuf>,
    /// The model's threads and queue.
    pub local: EmbedderConfig,
    /// How much memory vectors of texts seen before may take, in bytes.
    pub cache_bytes: u64,
    /// The longest a request may take, in milliseconds, where its caller sets no sooner deadline.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7101)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9101)),
            model: DEFAULT_EMBEDDER.to_owned(),
            models_dir: None,
            local: EmbedderConfig::default(),
            cache_bytes: 64 << 20,
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
        if self.request_timeout_ms == 0 {
            return Err("request_timeout_ms must be at least 1".to_owned());
        }
        Ok(())
    }
}
