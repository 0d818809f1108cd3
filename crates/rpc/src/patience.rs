//! Waiting at the start for a server that does not answer yet.

use std::time::Duration;

use ragstone_core::{Error, ErrorCode, Result};
use tokio_util::sync::CancellationToken;

use crate::{Health, Runtime, Trouble};

/// How long between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest one try may take. Bringing a large database's schema up to date is part of it.
const LONGEST: Duration = Duration::from_secs(300);

/// Opens what is kept on servers, waiting for those that do not answer.
#[derive(Clone)]
pub struct Patience {
    health: Health,
    shutdown: CancellationToken,
}

impl Patience {
    /// For a service as it starts.
    #[must_use]
    pub fn of(runtime: &Runtime) -> Self {
        Self { health: runtime.health.clone(), shutdown: runtime.shutdown.clone() }
    }

    /// Tries to `open` until that works, cannot be mended by waiting, or the service is told to stop. Readiness shows why
    /// it waits, as the dependency `name`.
    ///
    /// # Errors
    /// What `open` says and waiting cannot mend; `Cancelled` when the service is told to stop.
    pub async fn open<T, F>(&self, name: &str, open: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let trouble = Trouble::default();
        trouble.set(Some("not connected yet".to_owned()));
        let shown = trouble.clone();
        self.health.register(name, true, move || std::future::ready(shown.check()));
        loop {
            let opened = tokio::select! {
                opened = tokio::time::timeout(LONGEST, open()) => opened.unwrap_or_else(|_| Err(late())),
                () = self.shutdown.cancelled() => return Err(stopped()),
            };
            let error = match opened {
                Err(error) if error.code == ErrorCode::Unavailable => error,
                outcome => {
                    // From now on the service's own checks tell.
                    self.health.unregister(name);
                    return outcome;
                }
            };
            tracing::warn!(dependency = name, error = error.chain(), "waiting for a server that does not answer");
            trouble.set(Some(error.chain()));
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.shutdown.cancelled() => return Err(stopped()),
            }
        }
    }
}

fn late() -> Error {
    Error::unavailable(format!("no answer within {LONGEST:?}"))
}

fn stopped() -> Error {
    Error::new(ErrorCode::Cancelled, "told to stop before everything was there")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{ServerConfig, bind};

    async fn runtime() -> Runtime {
        Runtime {
            name: "test",
            listener: bind(([127, 0, 0, 1], 0).into()).await.unwrap(),
            shutdown: CancellationToken::new(),
            health: Health::default(),
            server: ServerConfig::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_absent_only() {
        let runtime = runtime().await;
        let tries = AtomicUsize::new(0);
        let open = || async {
            match tries.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::unavailable("nobody is there")),
                _ => Ok(7),
            }
        };
        let patience = Patience::of(&runtime);
        let opened = tokio::join!(patience.open("store", open), async {
            tokio::time::sleep(PAUSE / 2).await;
            runtime.health.report().await.checks[0].detail.clone()
        });
        assert_eq!(opened.0.unwrap(), 7);
        assert_eq!(opened.1.as_deref(), Some("nobody is there"));
        assert!(runtime.health.report().await.checks.is_empty(), "it is of no concern any more");
        let refused = patience.open("other", || async { Err::<(), _>(Error::invalid("wrong password")) }).await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_when_told_to() {
        let runtime = runtime().await;
        let stop = runtime.shutdown.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE * 3).await;
            stop.cancel();
        });
        let never = Patience::of(&runtime).open("store", || async { Err::<(), _>(Error::unavailable("gone")) }).await;
        assert_eq!(never.unwrap_err().code, ErrorCode::Cancelled);
    }
}
