//! Readiness: false until started, false while draining, false while a critical dependency is down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, select_ok};
use serde::Serialize;
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A dependency that does not answer within this time is down.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Draining,
}

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

#[derive(Clone)]
struct Check {
    name: String,
    critical: bool,
    probe: Probe,
}

/// A service's readiness; clones share one state.
#[derive(Clone)]
pub struct Health {
    phase: Arc<watch::Sender<Phase>>,
    checks: Arc<Mutex<Vec<Check>>>,
}

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Its name.
    pub name: String,
    /// Whether the service is useless without it.
    pub critical: bool,
    /// `up` or `down`.
    pub state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A service's readiness with that of its dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it should get traffic.
    pub ready: bool,
    /// Every dependency.
    pub checks: Vec<CheckReport>,
}

impl Default for Health {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Starting)), checks: Arc::default() }
    }
}

impl Health {
    /// Adds a dependency. `probe` says why it is down; taking over a second counts as down.
    pub fn register<F>(&self, name: &str, critical: bool, probe: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let probe: Probe = Arc::new(move || Box::pin(probe()));
        self.lock().push(Check { name: name.to_owned(), critical, probe });
    }

    /// Takes a dependency out that is of no concern any more.
    pub(crate) fn unregister(&self, name: &str) {
        self.lock().retain(|check| check.name != name);
    }

    /// Adds another service, asked by the gRPC health protocol.
    pub fn register_peer(&self, name: &str, critical: bool, channel: Channel) {
        self.register(name, critical, move || ask_peer(channel.clone()));
    }

    /// Adds a pair of services of which one is enough, as a critical dependency.
    pub fn register_either(&self, name: &str, first: Channel, second: Channel) {
        self.register(name, true, move || {
            // Not both: one that hangs must not hide that the other answers.
            let asked = select_ok([ask_peer(first.clone()).boxed(), ask_peer(second.clone()).boxed()]);
            async move { asked.await.map(|_| ()) }
        });
    }

    /// Everything is built: from now on dependencies decide.
    pub fn started(&self) {
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Serving;
            }
            starting
        });
    }

    /// The service is stopping: not ready any more.
    pub fn draining(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Asks every dependency, all at once.
    pub async fn report(&self) -> Report {
        let checks = self.lock().clone();
        let checks = join_all(checks.into_iter().map(|check| async move {
            let outcome = match tokio::time::timeout(PROBE_TIMEOUT, (check.probe)()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} ms", PROBE_TIMEOUT.as_millis())),
            };
            let state = if outcome.is_ok() { "up" } else { "down" };
            CheckReport { name: check.name, critical: check.critical, state, detail: outcome.err() }
        }))
        .await;
        let up = checks.iter().all(|check| !check.critical || check.state == "up");
        Report { ready: up && *self.phase.borrow() == Phase::Serving, checks }
    }

    /// Returns once the phase is another one.
    pub(crate) async fn phase_changed(&self) {
        // The sender lives in self: this ends only with a change.
        let _ = self.phase.subscribe().changed().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a dependency is down, as its user found out; clones share one state.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Sets or clears it.
    pub fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What a probe answers: `Err` while there is one.
    ///
    /// # Errors
    /// The trouble.
    pub fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

async fn ask_peer(channel: Channel) -> Result<(), String> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    match answer.map_err(|status| why(&status))?.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("answers {}", other.as_str_name())),
    }
}

/// The message with the last of its causes: "transport error" alone does not say that it is the certificate.
fn why(status: &Status) -> String {
    let causes = std::iter::successors(std::error::Error::source(status), |error| error.source());
    let message = status.message();
    match causes.last().map(ToString::to_string) {
        Some(root) if !message.contains(&root) => format!("{message}: {root}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test(start_paused = true)]
    async fn only_critical_dependencies_and_the_phase_decide() {
        let health = Health::default();
        let critical = Arc::new(AtomicBool::new(true));
        let state = critical.clone();
        health.register("store", true, move || {
            let up = state.load(Ordering::SeqCst);
            async move { if up { Ok(()) } else { Err("gone".to_owned()) } }
        });
        health.register("nicety", false, std::future::pending);
        assert!(!health.report().await.ready, "not before it has started");
        health.started();
        let report = health.report().await;
        assert!(report.ready);
        assert_eq!(report.checks[1].detail.as_deref(), Some("no answer within 1000 ms"));
        critical.store(false, Ordering::SeqCst);
        let report = health.report().await;
        assert!(!report.ready);
        assert_eq!((report.checks[0].state, report.checks[0].detail.as_deref()), ("down", Some("gone")));
        critical.store(true, Ordering::SeqCst);
        health.draining();
        health.started();
        assert!(!health.report().await.ready, "draining is final");
    }
}
