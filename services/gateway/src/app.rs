//! What every request handler shares.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ragstone_auth::Authenticator;
use ragstone_core::{Error, ErrorCode, Principal, Result, Scope};
use ragstone_resilience::Deadline;
use ragstone_rpc::{Health, Runtime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::access::keys::Stored;
use crate::access::recorder::Recorder;
use crate::backends::Backends;
use crate::body::UploadMemory;
use crate::context::with_answer_headers;
use crate::documents::Fetcher;
use crate::limits::{Admission, ClientAddress, Kind, Limits};
use crate::serving::Serving;
use crate::status::Reported;

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
    /// Fetches documents that are sent as an address.
    pub fetcher: Fetcher,
    /// Fires when the gateway is to stop.
    pub shutdown: CancellationToken,
    /// How long streams may go on after that before they are ended.
    farewell: Duration,
    /// Where callers are, as far as proxies are trusted.
    pub client_address: ClientAddress,
    /// Notes which documents answers have read.
    pub recorder: Recorder,
    /// The gateway's readiness, and that of what is behind it.
    pub health: Health,
    /// What was last reported of it.
    pub reported: Reported,
    authenticator: Authenticator,
    limits: Arc<Limits>,
}

impl App {
    /// Builds everything. Services behind the gateway need not answer yet.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, for what cannot be used.
    pub(crate) async fn new(config: Config, runtime: &Runtime) -> Result<Self> {
        let backends = Backends::connect(&config, runtime)?;
        let authenticator = Authenticator::new(&config.auth)?.with_key_store(Arc::new(Stored(backends.access.clone())));
        let limits = Arc::new(Limits::open(&config.limits, authenticator.is_required()).await?);
        if config.limits.redis.url.is_some() {
            let limits = Arc::clone(&limits);
            runtime.health.register("rate_limits", false, move || {
                let limits = Arc::clone(&limits);
                async move { limits.check().await.map_err(|error| error.chain()) }
            });
        }
        Ok(Self {
            recorder: Recorder::start(backends.access.clone()),
            backends,
            serving: Serving::default(),
            slots: Arc::new(Semaphore::new(config.max_concurrency.min(Semaphore::MAX_PERMITS))),
            uploads: UploadMemory::new(config.upload_memory_bytes),
            fetcher: Fetcher::new(&config.fetch, config.max_body_bytes)?,
            shutdown: runtime.shutdown.clone(),
            // Early enough to say so before the server cuts the connection off.
            farewell: Duration::from_millis(runtime.server.drain_delay_ms + runtime.server.drain_timeout_ms / 5 * 4),
            client_address: ClientAddress::new(&config.limits)?,
            health: runtime.health.clone(),
            reported: Reported::default(),
            authenticator,
            limits,
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

    /// Step 1 of calls that change the whole installation, other tenants' part of it too.
    ///
    /// # Errors
    /// As `authenticate`; `PermissionDenied` for administrators of tenants that do not run the installation.
    pub(crate) async fn authenticate_operator(&self, headers: &HeaderMap) -> Result<Principal> {
        let principal = self.authenticate(headers, Scope::Admin).await?;
        let operators = &self.config.operator_tenants;
        if operators.is_empty() || operators.iter().any(|tenant| *tenant == principal.access.tenant.as_str()) {
            return Ok(principal);
        }
        Err(Error::new(ErrorCode::PermissionDenied, "this is for the tenants that run the installation"))
    }

    /// Whether callers need a credential.
    pub(crate) fn requires_authentication(&self) -> bool {
        self.authenticator.is_required()
    }

    /// Step 2 of calls that are limited: whether their subject and tenant may still make them. The answer's headers tell how
    /// much is left.
    ///
    /// # Errors
    /// `RateLimited` with the time to wait.
    pub(crate) async fn admit(&self, caller: &Principal, kind: Kind) -> Result<Admission> {
        let admission = self.limits.admit(caller, kind).await?;
        with_answer_headers(|headers| admission.write(headers));
        match admission.refusal() {
            Some(error) => Err(error),
            None => Ok(admission),
        }
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
