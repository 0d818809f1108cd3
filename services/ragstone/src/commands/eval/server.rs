//! The server an evaluation runs against: one that was named, or one of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ragstone_config::{ConfigError, Sources};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::{Client, Connection, parse_url};
use crate::failure::{Exit, Failure};
use crate::stack::{Config, Stack, stored_in};

/// How long the services of the evaluation's own server may take to become ready.
const STARTUP: Duration = Duration::from_secs(60);

/// A server, and what keeps it running.
pub(super) struct Server {
    pub(super) client: Client,
    own: Option<Own>,
}

struct Own {
    stack: Stack,
    /// Removed when it is dropped.
    folder: TempDir,
}

impl Server {
    /// The server that `connection` names; without an address all services start here, in a temporary directory,
    /// configured by `config` and the environment.
    pub(super) async fn new(connection: &Connection, config: Option<&Path>) -> Result<Self, Failure> {
        if connection.url.is_some() {
            return Ok(Self { client: Client::new(connection)?, own: None });
        }
        let broken = |e: anyhow::Error| Failure::failed(format!("cannot start the services: {e:#}"));
        let folder = tempfile::tempdir().map_err(|e| broken(e.into()))?;
        let unusable = |e: ConfigError| Failure::new(Exit::Configuration, e.to_string());
        let (file, overrides) = (config.map(Path::to_owned), stored_in(folder.path()));
        let sources = Sources { file, env: ragstone_config::environment(), overrides };
        let config = Config::load(sources, &|key| std::env::var(key).ok()).map_err(unusable)?;
        let listener = ragstone_rpc::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(broken)?;
        let mut stack = Stack::start(config, listener).await.map_err(broken)?;
        let base = parse_url(&format!("http://{}", stack.address)).map_err(Failure::failed)?;
        match timeout(STARTUP, stack.ready()).await {
            Ok(ready) => ready.map_err(broken)?,
            Err(_) => return Err(Failure::failed("the services do not become ready").advise("See `ragstone doctor`.")),
        }
        Ok(Self { client: Client::with_base(base, None)?, own: Some(Own { stack, folder }) })
    }

    /// Whether it ends with the evaluation, documents and all.
    pub(super) fn is_temporary(&self) -> bool {
        self.own.is_some()
    }

    /// Stops it, if it is the evaluation's own.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let Some(Own { stack, folder }) = self.own else { return Ok(()) };
        stack.stop().await.map_err(|e| Failure::failed(format!("the services did not stop cleanly: {e:#}")))?;
        folder.close().map_err(|e| Failure::failed(format!("cannot remove the temporary directory: {e}")))
    }
}
