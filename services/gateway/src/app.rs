//! What every request handler shares.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ragstone_auth::Authenticator;
use ragstone_core::{Error, ErrorCode, Principal, Result, Scope};
use ragstone_resilience::Deadline;
use ragstone_rpc::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::backends::Backends;
use crate::body::UploadMemory;
use crate::serving::Serving;

/// The longest an administrator's call may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(600);

/// The gateway's state.
pub(crate) struct App {
    /// Limits and addresses.
    pub config: Config,
    /// The services behind it.
    pub backends: Backends,
    /// The model that questions are embedded with.
    pub serving: Serving,
    /// Requests that may still start.
    pub slots: Arc<Semaphore>,
    /// Memory for uploads.
    pub uploads: UploadMemory,
    /// Fires when the gateway is to stop.
    pub shutdown: CancellationToken,
    /// How long streams may go on after that before they are ended.
    farewell: Duration,
    authenticator: Authenticator,
}

impl App {
    /// Builds everything; nothing is connected yet.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL or tenant that is none.
    pub(crate) fn new(config: Config, runtime: &Runtime) -> Result<Self> {
        Ok(Self {
            backends: Backends::connect(&config, runtime)?,
            serving: Serving::default(),
            slots: Arc::new(Semaphore::new(config.max_concurrency.min(Semaphore::MAX_PERMITS))),
            uploads: UploadMemory::new(config.upload_memory_bytes),
            shutdown: runtime.shutdown.clone(),
            // Early enough to say so before the server cuts the connection off.
            farewell: Duration::from_millis(runtime.server.drain_delay_ms + runtime.server.drain_timeout_ms / 5 * 4),
            authenticator: Authenticator::new(&config.auth)?,
            config,
        })
    }

    /// Step 1 of every call: who sent these headers, and whether they may do this.
    ///
    /// # Errors
    /// `Unauthenticated` or `PermissionDenied`.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap, scope: Scope) -> Result<Principal> {
        let principal = self.authenticator.authenticate(headers).await?;
        if principal.scopes.contains(&scope) {
            return Ok(principal);
        }
        Err(Error::new(ErrorCode::PermissionDenied, format!("this needs the scope {scope:?}").to_lowercase()))
    }

    /// Returns when the gateway has been stopping for so long that what still runs must end.
    pub(crate) async fn drained(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(self.farewell).await;
    }

    /// The deadline of an administrator's call that begins now: changing an index waits for every reader to know.
    pub(crate) fn admin_deadline(&self) -> Deadline {
        Deadline::after(ADMIN_TIMEOUT)
    }

    /// The deadline of a call that begins now and is no upload.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.config.query_timeout())
    }
}
