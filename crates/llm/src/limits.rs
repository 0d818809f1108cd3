//! What a provider allows in a minute, kept on this side, so that it need not refuse.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_resilience::Deadline;

/// A rough number of bytes in a token, where nobody has counted.
const TOKEN_BYTES: usize = 4;
/// What is told when a limit cannot be asked in smaller amounts; it cannot happen, as amounts are capped.
const MINUTE: Duration = Duration::from_secs(60);

/// How many tokens so many bytes of text may be, roughly.
pub(crate) fn estimate(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX)
}

/// Tokio's clock, which tests can stop.
#[derive(Debug, Clone, Default)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// Holds a minute's worth and fills up evenly, as the providers' own counters do.
type Bucket = RateLimiter<NotKeyed, InMemoryState, TokioClock>;

fn bucket(per_minute: u32) -> Option<Bucket> {
    NonZeroU32::new(per_minute).map(|n| Bucket::direct_with_clock(Quota::per_minute(n), TokioClock))
}

/// Limits of one provider.
pub(crate) struct Limits {
    requests: Option<Bucket>,
    tokens: Option<Tokens>,
}

struct Tokens {
    bucket: Bucket,
    per_minute: u32,
    /// What calls took beyond their estimates, less what they left of them. The next call settles it.
    owed: Mutex<i64>,
}

impl Limits {
    /// Limits in a minute; 0: none.
    pub(crate) fn new(requests_per_minute: u32, tokens_per_minute: u32) -> Arc<Self> {
        let tokens = bucket(tokens_per_minute).map(|bucket| Tokens {
            bucket,
            per_minute: tokens_per_minute,
            owed: Mutex::default(),
        });
        Arc::new(Self { requests: bucket(requests_per_minute), tokens })
    }

    /// Takes one request of about `tokens` tokens, or says how long to wait for it.
    pub(crate) fn reserve(self: &Arc<Self>, tokens: u32) -> Result<Reservation, Duration> {
        if let Some(limit) = &self.tokens {
            limit.take(tokens)?;
        }
        let reservation = Reservation { limits: Arc::clone(self), tokens };
        if let Some(Err(refused)) = self.requests.as_ref().map(Bucket::check) {
            reservation.settle(0);
            return Err(refused.wait_time_from(TokioClock.now()));
        }
        Ok(reservation)
    }

    /// The same, waiting for it where that ends before the deadline.
    ///
    /// # Errors
    /// `RateLimited` with the time to wait.
    pub(crate) async fn admit(self: &Arc<Self>, tokens: u32, deadline: Deadline) -> Result<Reservation> {
        loop {
            match self.reserve(tokens) {
                Ok(reservation) => return Ok(reservation),
                Err(wait) if wait < deadline.remaining() => tokio::time::sleep(wait).await,
                Err(wait) => return Err(exceeded(wait)),
            }
        }
    }
}

/// The error of a call that a limit keeps back for so long.
pub(crate) fn exceeded(wait: Duration) -> Error {
    let told = "the limit of requests or tokens in a minute is reached";
    Error::new(ErrorCode::RateLimited, told).with_retry_after(wait)
}

impl Tokens {
    fn take(&self, tokens: u32) -> Result<(), Duration> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        // A call larger than a minute's worth takes all of it, and what is beyond stays owed.
        let due = (i64::from(tokens) + *owed).clamp(0, i64::from(self.per_minute));
        if let Some(amount) = u32::try_from(due).ok().and_then(NonZeroU32::new) {
            match self.bucket.check_n(amount) {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Err(refused.wait_time_from(TokioClock.now())),
                Err(_) => return Err(MINUTE),
            }
        }
        *owed += i64::from(tokens) - due;
        Ok(())
    }

    fn correct(&self, difference: i64) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        // The bucket holds no more than a minute's worth, whatever is given back.
        *owed = (*owed + difference).max(-i64::from(self.per_minute));
    }
}

/// Leave for one request. Dropped unsettled, it took what was estimated.
pub(crate) struct Reservation {
    limits: Arc<Limits>,
    tokens: u32,
}

impl Reservation {
    /// Corrects the estimate by what the request took.
    pub(crate) fn settle(self, used: u32) {
        if let Some(tokens) = &self.limits.tokens {
            tokens.correct(i64::from(used) - i64::from(self.tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(outcome: Result<Reservation, Duration>) -> Duration {
        outcome.err().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_the_minute() {
        let limits = Limits::new(2, 0);
        assert!(limits.reserve(1_000_000).is_ok() && limits.reserve(1).is_ok());
        let wait = refused(limits.reserve(1));
        assert!(wait > 29 * SECOND && wait <= 30 * SECOND, "{wait:?}");
        tokio::time::advance(30 * SECOND).await;
        assert!(limits.reserve(1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_estimated_too_high_is_given_back_and_too_low_is_owed() {
        let limits = Limits::new(0, 600);
        limits.reserve(500).unwrap().settle(100);
        // 100 are gone: 500 are left.
        limits.reserve(500).unwrap().settle(560);
        // 60 more than there were: six seconds' worth, and ten for what comes now.
        let wait = refused(limits.reserve(100));
        assert!(wait > 15 * SECOND && wait <= 16 * SECOND, "{wait:?}");
        tokio::time::advance(16 * SECOND).await;
        assert!(limits.reserve(100).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_takes_no_tokens() {
        let limits = Limits::new(60, 600);
        for _ in 0..60 {
            limits.reserve(1).unwrap();
        }
        for _ in 0..5 {
            assert!(limits.reserve(100).is_err());
        }
        tokio::time::advance(SECOND).await;
        assert!(limits.reserve(540).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_larger_than_a_minute_is_made_and_paid_later() {
        let limits = Limits::new(0, 600);
        assert!(limits.reserve(900).is_ok());
        let wait = refused(limits.reserve(100));
        assert!(wait > 39 * SECOND && wait <= 40 * SECOND, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_turn_or_at_once() {
        let limits = Limits::new(60, 0);
        for _ in 0..60 {
            assert!(limits.reserve(1).is_ok());
        }
        let start = tokio::time::Instant::now();
        assert!(limits.admit(1, Deadline::after(5 * SECOND)).await.is_ok());
        assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
        let error = limits.admit(1, Deadline::after(SECOND / 2)).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::RateLimited);
        assert!(error.retry_after.unwrap() > SECOND / 2);
        assert!(start.elapsed() <= 2 * SECOND, "it waited in vain");
    }
}
