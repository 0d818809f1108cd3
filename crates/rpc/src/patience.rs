//! Waiting at the start for a server that does not answer yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ragstone_core::{Error, ErrorCode, Result};

use crate::Runtime;

/// How long between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens what is kept on a server: tries again while that does not answer, until the service is told to stop. Readiness
/// shows why it waits, as the dependency `name`.
///
/// # Errors
/// What `open` says and waiting cannot mend; `Cancelled` when the service is told to stop.
pub async fn patiently<T, F>(runtime: &Runtime, name: &str, open: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let trouble = Arc::new(Mutex::new(None::<String>));
    let shown = trouble.clone();
    runtime.health.register(name, true, move || {
        let trouble = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        std::future::ready(trouble.map_or(Ok(()), Err))
    });
    loop {
        let opened = tokio::select! {
            opened = open() => opened,
            () = runtime.shutdown.cancelled() => return Err(stopped()),
        };
        let error = match opened {
            Err(error) if error.code == ErrorCode::Unavailable => error,
            outcome => {
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return outcome;
            }
        };
        tracing::warn!(dependency = name, error = error.chain(), "waiting for a server that does not answer");
        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.chain());
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = runtime.shutdown.cancelled() => return Err(stopped()),
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorCode::Cancelled, "told to stop before everything was there")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Health, ServerConfig, bind};

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
        let opened = tokio::join!(patiently(&runtime, "store", open), async {
            tokio::time::sleep(PAUSE / 2).await;
            runtime.health.report().await.checks[0].detail.clone()
        });
        assert_eq!(opened.0.unwrap(), 7);
        assert_eq!(opened.1.as_deref(), Some("nobody is there"));
        assert_eq!(runtime.health.report().await.checks[0].state, "up");
        let refused = patiently(&runtime, "other", || async { Err::<(), _>(Error::invalid("wrong password")) }).await;
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
        let never = patiently(&runtime, "store", || async { Err::<(), _>(Error::unavailable("gone")) }).await;
        assert_eq!(never.unwrap_err().code, ErrorCode::Cancelled);
    }
}
