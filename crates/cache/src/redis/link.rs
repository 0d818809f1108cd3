//! One connection to Redis (in a cluster: one to each server), made again whenever it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::{Error as FredError, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use fred::types::config::Options;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::problem::Problem;
use super::settings::Settings;

/// How long after a failed try the next one follows.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// A connection on which nothing has been answered for so long, although calls were made, is given up.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum State {
    Connecting,
    Up(Client),
    Down(Problem),
}

/// What calls see of the connection. Its supervisor does the connecting.
pub(super) struct Link {
    state: watch::Receiver<State>,
    pulse: Arc<Pulse>,
}

impl Link {
    /// A link with its supervisor, which runs for as long as `supervisors` lives.
    pub(super) fn start(settings: Settings, supervisors: &mut JoinSet<()>) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        let pulse = Arc::new(Pulse::default());
        supervisors.spawn(supervise(settings, sender, pulse.clone()));
        Self { state, pulse }
    }

    /// Waits for the outcome of the first try: what went wrong, if anything did.
    pub(super) async fn first_try(&self) -> Option<Problem> {
        let mut state = self.state.clone();
        let outcome = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match outcome.as_deref() {
            Ok(State::Down(problem)) => Some(problem.clone()),
            _ => None,
        }
    }

    /// The connected client, or why there is none.
    pub(super) fn client(&self) -> Result<Client, Problem> {
        match &*self.state.borrow() {
            State::Up(client) => Ok(client.clone()),
            State::Down(problem) => Err(problem.clone()),
            State::Connecting => Err(Problem::not_yet_connected()),
        }
    }

    /// Ends, with the reason, once the connection is lost: the client leaves some of the calls that were on their way
    /// waiting until they time out.
    pub(super) async fn lost(&self) -> Problem {
        let mut state = self.state.clone();
        match state.wait_for(|state| !matches!(state, State::Up(_))).await.as_deref() {
            Ok(State::Down(problem)) => problem.clone(),
            _ => Problem::not_yet_connected(),
        }
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.pulse.answered();
    }

    /// A call was not answered in time.
    pub(super) fn timed_out(&self) {
        self.pulse.timed_out();
    }
}

/// Notices a connection that is open but dead: the client itself would wait for its answers for ever.
struct Pulse {
    epoch: Instant,
    /// Milliseconds from `epoch` to the first call without an answer since the last one with; 0: there is none.
    silent_since: AtomicU64,
    dead: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { epoch: Instant::now(), silent_since: AtomicU64::new(0), dead: Notify::new() }
    }
}

impl Pulse {
    fn answered(&self) {
        self.silent_since.store(0, Ordering::Relaxed);
    }

    fn timed_out(&self) {
        let elapsed = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let since = self.silent_since.compare_exchange(0, elapsed, Ordering::Relaxed, Ordering::Relaxed);
        if since.is_err_and(|since| Duration::from_millis(elapsed.saturating_sub(since)) >= SILENCE) {
            self.dead.notify_one();
        }
    }
}

/// Keeps the link connected for ever. Every try has a client of its own, so that nothing of a lost connection is left.
async fn supervise(settings: Settings, state: watch::Sender<State>, pulse: Arc<Pulse>) {
    let mut last = String::new();
    loop {
        let problem = session(&settings, &state, &pulse, &mut last).await;
        // Hours without Redis are one line in the log.
        if problem.message != last {
            tracing::warn!(problem = problem.message, detail = problem.detail, "no connection to Redis");
            last.clone_from(&problem.message);
        }
        state.send_replace(State::Down(problem));
        sleep(RECONNECT_DELAY).await;
    }
}

/// One connection from its making to its end, and why it ended.
async fn session(settings: &Settings, state: &watch::Sender<State>, pulse: &Pulse, last: &mut String) -> Problem {
    let client = settings.client();
    let mut task = AbortOnDropHandle::new(client.connect());
    let attempt = async {
        tokio::select! {
            biased;
            connected = client.wait_for_connect() => connected?,
            ended = &mut task => return Err(ended.map_or_else(FredError::from, end_of)),
        }
        verify(&client, settings).await
    };
    match timeout(settings.attempt_timeout(), attempt).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Problem::of_connecting(&error, settings),
        Err(_) => return Problem::of_connecting(&FredError::new(ErrorKind::Timeout, "connecting"), settings),
    }
    tracing::info!("connected to Redis");
    last.clear();
    pulse.answered();
    state.send_replace(State::Up(client));
    tokio::select! {
        ended = &mut task => Problem::of(&ended.map_or_else(FredError::from, end_of), settings),
        () = pulse.dead.notified() => Problem::silent(),
    }
}

fn end_of(outcome: Result<(), FredError>) -> FredError {
    outcome.err().unwrap_or_else(|| FredError::new(ErrorKind::IO, "the connection was closed"))
}

/// The client takes a connection that is closed at once for a good one; an answer proves that it is.
async fn verify(client: &Client, settings: &Settings) -> Result<(), FredError> {
    let patient = client.with_options(&Options { timeout: Some(settings.connect_timeout), ..Options::default() });
    patient.ping::<String>(None).await?;
    if settings.is_cluster() {
        return Ok(());
    }
    // Who may not ask for it finds out when a key lies on another server.
    let info = patient.info::<String>(Some(InfoKind::Cluster)).await.unwrap_or_default();
    if info.contains("cluster_enabled:1") {
        return Err(FredError::new(ErrorKind::Config, "MOVED"));
    }
    Ok(())
}
