//! The one deadline of a request, handed from step to step and over gRPC as `grpc-timeout`.

use std::future::Future;
use std::time::Duration;

use ragstone_core::{Error, Result};
use tokio::time::Instant;

/// A point in time after which no work for a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `wait` from now.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        // A wait beyond what the clock can express means "a year": far enough for any request.
        Self(now.checked_add(wait).unwrap_or(now + Duration::from_secs(365 * 86_400)))
    }

    /// The deadline in the value of a `grpc-timeout` header: up to 8 digits and a unit (H, M, S, m, u or n), as the
    /// gRPC over HTTP/2 specification has it. `None` when it is not one.
    #[must_use]
    pub fn from_grpc_timeout(value: &str) -> Option<Self> {
        let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let amount: u64 = digits.parse().ok()?;
        let wait = match unit {
            "H" => Duration::from_secs(amount * 3600),
            "M" => Duration::from_secs(amount * 60),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            "n" => Duration::from_nanos(amount),
            _ => return None,
        };
        Some(Self::after(wait))
    }

    /// The time that is left; zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The sooner of this deadline and `limit` from now: a step's share of a request's time.
    #[must_use]
    pub fn cap(&self, limit: Duration) -> Self {
        Self(self.0.min(Self::after(limit).0))
    }

    /// Runs `work` until it ends or the deadline passes; then `work` is dropped, which cancels it.
    ///
    /// # Errors
    /// What `work` returns, or `DeadlineExceeded`.
    pub async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout_at(self.0, work).await.unwrap_or_else(|_| Err(Error::deadline()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use ragstone_core::ErrorCode;

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_the_time_is_over() {
        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _alive = alive;
            std::future::pending::<Result<()>>().await
        };
        let error = Deadline::after(Duration::from_secs(1)).run(work).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeadlineExceeded);
        assert!(dropped.await.is_err(), "the work was not dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_only_ever_shortens() {
        let deadline = Deadline::after(Duration::from_secs(5));
        assert_eq!(deadline.cap(Duration::from_secs(1)).remaining(), Duration::from_secs(1));
        assert_eq!(deadline.cap(Duration::MAX).remaining(), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_header_is_read_as_the_specification_has_it() {
        for (value, expected) in [("1S", 1_000), ("250m", 250), ("2M", 120_000), ("1H", 3_600_000), ("5000u", 5)] {
            let deadline = Deadline::from_grpc_timeout(value).unwrap();
            assert_eq!(deadline.remaining(), Duration::from_millis(expected), "{value}");
        }
        for bad in ["", "S", "5", "1.5S", "-1S", "123456789S", "1s", "1é"] {
            assert!(Deadline::from_grpc_timeout(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in ".*") {
            let _ = Deadline::from_grpc_timeout(&value);
        }
    }
}
