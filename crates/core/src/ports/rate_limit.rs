//! Rate limits: how much of something one key may use in a time, the same for all processes that share the limiter.
//!
//! The algorithm is GCRA (ITU-T I.371, annex A) in its form as a leaky bucket: what is used raises the bucket's level, time
//! lowers it evenly, and nothing is let in that would raise it above its brim. Levels are integers of a scale that each
//! limit chooses for itself, so that nothing is ever rounded.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, Result, TenantId};

/// The highest level of a shared bucket, the deepest debt included. What is added to it at once is no more than this
/// either: sums stay exact in the doubles of Redis' Lua.
pub const MAX_LEVEL: u64 = 1 << 52;
/// The highest brim.
const MAX_BRIM: u64 = 1 << 51;
const MAX_COUNT: u64 = 1 << 40;
const WINDOWS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(31 * 24 * 3600)];
/// The most shares a limit is cut into. So many of the longest window still keep within [`MAX_LEVEL`].
const MAX_SHARES: u32 = 512;

/// So many in such a time, evenly, and so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    count: u64,
    window: Duration,
    burst: u64,
    unit: u64,
    leak: u64,
}

impl Limit {
    /// `count` per `window`, after a rest up to `burst` at once. In any time of one window at most `count + burst` are
    /// let in.
    ///
    /// # Errors
    /// `InvalidArgument` for a count or burst of 0, a window not between a millisecond and 31 days, or numbers so large
    /// that they could not be counted exactly: a burst of 600,000 per hour or 37 million per minute always can, more where
    /// count and window are round numbers.
    pub fn new(count: u64, window: Duration, burst: u64) -> Result<Self> {
        if !(1..=MAX_COUNT).contains(&count) || burst == 0 {
            return Err(Error::invalid("a rate limit needs a count between 1 and 2^40 and a burst of at least 1"));
        }
        if !(WINDOWS[0]..=WINDOWS[1]).contains(&window) {
            return Err(Error::invalid("the window of a rate limit must lie between a millisecond and 31 days"));
        }
        let limit = Self::scaled(count, window, burst);
        if burst.checked_mul(limit.unit).is_none_or(|brim| brim > MAX_BRIM) {
            let text = format!("a rate limit of {count} in {window:?} cannot let {burst} in at once and count exactly");
            return Err(Error::invalid(text));
        }
        Ok(limit)
    }

    fn scaled(count: u64, window: Duration, burst: u64) -> Self {
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let common = common_divisor(count, micros);
        Self { count, window, burst, unit: micros / common, leak: count / common }
    }

    /// How many in a window.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time in which `count` flow off.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.window
    }

    /// How many at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// By how much one raises the level of the bucket.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// By how much a microsecond lowers it.
    #[must_use]
    pub fn leak(&self) -> u64 {
        self.leak
    }

    /// The level that must not be exceeded: `burst` at once.
    #[must_use]
    pub fn brim(&self) -> u64 {
        self.burst.saturating_mul(self.unit)
    }

    /// What each of `shares` (1 to 512) may let in when they do not know of each other.
    #[must_use]
    pub fn share(&self, shares: u32) -> Self {
        let shares = shares.clamp(1, MAX_SHARES);
        // The same count in a longer time: a part of the count would have to be rounded.
        Self::scaled(self.count, self.window * shares, (self.burst / u64::from(shares)).max(1))
    }

    /// By how much a use of `cost` raises the level.
    #[must_use]
    pub fn amount(&self, cost: u64) -> u64 {
        cost.saturating_mul(self.unit)
    }

    /// Whether `cost` may come on top of `level`. More than the burst (of a share) must wait until the bucket is empty.
    #[must_use]
    pub fn admits(&self, level: u64, cost: u64) -> bool {
        level.saturating_add(self.amount(cost)) <= self.brim().max(self.amount(cost))
    }

    /// What a bucket of this level means for the caller, who wants `cost` (more).
    #[must_use]
    pub fn standing(&self, level: u64, cost: u64) -> Standing {
        let brim = self.brim().max(self.amount(cost));
        let over = level.saturating_add(self.amount(cost)).saturating_sub(brim);
        Standing {
            remaining: self.brim().saturating_sub(level) / self.unit,
            reset_after: Duration::from_micros(level.div_ceil(self.leak)),
            retry_after: Duration::from_micros(over.div_ceil(self.leak)),
        }
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// One bucket that a call draws on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// What the limit is called in headers and in Redis, for example `queries`.
    pub policy: &'static str,
    /// Whose bucket it is, within the tenant: a subject, or nothing for the tenant's own.
    pub key: String,
    /// Its limit. A bucket whose limit has been changed starts anew.
    pub limit: Limit,
    /// How much the call uses; 0 only asks whether the bucket is in debt.
    pub cost: u64,
}

/// A correction of a charge whose cost is known only afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// As it was charged.
    pub charge: Charge,
    /// What it really cost; more than was charged may bring the bucket into debt.
    pub used: u64,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much is left to use at once.
    pub remaining: u64,
    /// When all of the burst is there again, if nothing more is used.
    pub reset_after: Duration,
    /// When this bucket would let the refused charge in; zero: it would have now.
    pub retry_after: Duration,
}

/// The answer to a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// All were taken; otherwise none was.
    pub allowed: bool,
    /// How each bucket stands now, in the order of the charges.
    pub standings: Vec<Standing>,
    /// The shared limiter did not answer: this process decided alone, by its share of the limits (`ratelimit.local`).
    pub local: bool,
}

impl Decision {
    /// When the same charge can succeed, after a refusal: not before every bucket lets it in.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.standings.iter().map(|standing| standing.retry_after).max().unwrap_or_default()
    }
}

/// Buckets that are shared, as far as the backing part allows.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Decides on all charges together: all are taken, or none is. A backing part that does not answer is no error: then
    /// this process decides by itself.
    ///
    /// # Errors
    /// `InvalidArgument` for a cost above its limit's burst, which could never be let in, and for a bucket named twice.
    async fn charge(&self, tenant: &TenantId, charges: &[Charge]) -> Result<Decision>;

    /// Takes or gives back the difference between what was charged and what was used; refuses nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for a bucket named twice.
    async fn settle(&self, tenant: &TenantId, settlements: &[Settlement]) -> Result<()>;

    /// Whether the shared part answers: `Err` says what is wrong and, where a setting is to blame, names it.
    async fn check(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_hourly_limit_is_counted_in_whole_microseconds() {
        let limit = Limit::new(100, HOUR, 10).unwrap();
        assert_eq!((limit.unit(), limit.leak(), limit.brim()), (36_000_000, 1, 360_000_000));
        let fresh = limit.standing(0, 1);
        assert_eq!(fresh, Standing { remaining: 10, reset_after: Duration::ZERO, retry_after: Duration::ZERO });
        let full = limit.standing(limit.brim(), 1);
        assert_eq!((full.remaining, full.reset_after.as_secs(), full.retry_after.as_secs()), (0, 360, 36));
        assert!(limit.admits(limit.amount(9), 1) && !limit.admits(limit.amount(9) + 1, 1));
        // In debt, even nothing is too much.
        assert!(limit.admits(limit.brim(), 0) && !limit.admits(limit.brim() + 1, 0));
    }

    #[test]
    fn a_limit_that_does_not_divide_its_window_is_exact_too() {
        let limit = Limit::new(7, Duration::from_secs(1), 7).unwrap();
        assert_eq!((limit.unit(), limit.leak()), (1_000_000, 7));
        assert!(limit.admits(limit.amount(6), 1) && !limit.admits(limit.amount(6) + 1, 1));
        assert_eq!(limit.standing(limit.brim(), 1).retry_after, Duration::from_micros(142_858));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for (count, window, burst) in [
            (0, HOUR, 1),
            (1, HOUR, 0),
            (1, Duration::from_micros(999), 1),
            (1, HOUR * 24 * 32, 1),
            (MAX_COUNT + 1, HOUR, 1),
            (3_599_999_999, HOUR, 1 << 20),
            (1, HOUR, u64::MAX),
        ] {
            assert!(Limit::new(count, window, burst).is_err(), "{count} {window:?} {burst}");
        }
        Limit::new(900_000_000, HOUR / 60, 900_000_000).unwrap();
        Limit::new(600_001, HOUR, 600_001).unwrap();
    }

    #[test]
    fn a_share_is_never_more_than_its_part_and_never_nothing() {
        let limit = Limit::new(100, HOUR, 10).unwrap();
        let share = limit.share(3);
        assert_eq!((share.unit(), share.leak(), share.burst()), (108_000_000, 1, 3));
        assert_eq!(limit.share(1), limit);
        let tiny = limit.share(100);
        assert_eq!(tiny.burst(), 1);
        // What is larger than the share's burst waits for an empty bucket, not for ever.
        assert!(tiny.admits(0, 5) && !tiny.admits(1, 5));
        assert_eq!(tiny.standing(tiny.amount(5), 5).retry_after, Duration::from_secs(5 * 3600));
    }

    proptest! {
        #[test]
        fn no_level_leaves_what_a_double_counts_exactly(
            count in 1..=MAX_COUNT, micros in 1_000..=WINDOWS[1].as_micros() as u64, burst in 1_u64..1 << 45, shares in 1_u32..600,
        ) {
            if let Ok(limit) = Limit::new(count, Duration::from_micros(micros), burst) {
                for limit in [limit, limit.share(shares)] {
                    prop_assert!(limit.brim() <= MAX_BRIM);
                    prop_assert_eq!(u128::from(limit.unit()) * u128::from(count), u128::from(limit.leak()) * limit.window().as_micros());
                }
            }
        }
    }
}
