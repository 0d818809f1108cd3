//! Retries of calls that change nothing: few, within the deadline, and never many at once.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use ragstone_core::Result;
use ragstone_resilience::Deadline;
use tower::retry::budget::{Budget as _, TpsBudget};

/// Retries may make a fifth of the calls ...
const SHARE: f32 = 0.2;
/// ... counted over this time ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... and one in a second is always allowed, or a service that is seldom called would have none.
const FLOOR: u32 = 1;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The retries of one dependency.
pub(crate) struct Retries {
    dependency: String,
    most: usize,
    budget: TpsBudget,
}

impl Retries {
    /// At most `most` retries of a call.
    pub(crate) fn new(dependency: &str, most: usize) -> Self {
        Self { dependency: dependency.to_owned(), most, budget: TpsBudget::new(WINDOW, FLOOR, SHARE) }
    }

    /// Makes a call, again where that may help: after the time the server asks for, if that lies before the deadline.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn run<T, F>(&self, deadline: Deadline, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.budget.deposit();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.most)
            .with_jitter();
        call.retry(backoff)
            .when(|error| error.code.is_retryable())
            .adjust(|error, wait| {
                let wait = error.retry_after.or(wait).filter(|_| wait.is_some())?;
                (wait < deadline.remaining() && self.budget.withdraw()).then_some(wait)
            })
            .notify(|error, wait| {
                let (dependency, wait_ms) = (self.dependency.clone(), wait.as_millis());
                tracing::debug!(dependency, error = error.chain(), wait_ms, "calling once more");
                metrics::counter!("rag_retries_total", "dependency" => dependency).increment(1);
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::cell::Cell;

    use ragstone_core::{Error, ErrorCode};
    use tokio::time::Instant;

    use super::*;

    async fn tries(retries: &Retries, deadline: Deadline, error: impl Fn() -> Error) -> usize {
        let calls = Cell::new(0);
        let outcome = retries.run(deadline, || {
            calls.set(calls.get() + 1);
            std::future::ready(Err::<(), _>(error()))
        });
        outcome.await.unwrap_err();
        calls.get()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_help_is_tried_again_within_the_deadline() {
        let retries = Retries::new("x", 2);
        let far = Deadline::after(Duration::from_secs(60));
        assert_eq!(tries(&retries, far, || Error::unavailable("gone")).await, 3);
        assert_eq!(tries(&retries, far, || Error::internal("never")).await, 1);
        let start = Instant::now();
        let wait = Duration::from_secs(7);
        let throttled = || Error::new(ErrorCode::RateLimited, "later").with_retry_after(wait);
        assert_eq!(tries(&retries, far, throttled).await, 3);
        assert_eq!(start.elapsed(), 2 * wait);
        let near = Deadline::after(Duration::from_secs(5));
        assert_eq!(tries(&retries, near, throttled).await, 1);
        assert_eq!(start.elapsed(), 2 * wait, "it waited in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dependency_that_is_gone_sees_little_more_than_the_calls_made() {
        let retries = Retries::new("x", 2);
        let far = Deadline::after(Duration::from_secs(600));
        let mut seen = 0;
        for _ in 0..500 {
            seen += tries(&retries, far, || Error::unavailable("gone").with_retry_after(Duration::ZERO)).await;
        }
        // A fifth more, and the floor of ten in ten seconds.
        assert!((500..=612).contains(&seen), "{seen}");
    }
}
