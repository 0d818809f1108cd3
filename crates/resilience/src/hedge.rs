//! Hedging: when a second call for the same answer is worth making, and how many of them are allowed.
//!
//! Only for calls that change nothing. The caller asks [`Hedge::begin`] how long to wait for an answer, then
//! [`Hedge::allow`] whether it may ask somebody else too, takes the first answer and drops the other call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Recent latencies that are kept.
const WINDOW: usize = 500;
/// Fewer say nothing about a high quantile.
const MIN_SAMPLES: usize = 50;
/// The quantile is computed anew after this many samples.
const RECOMPUTE_AFTER: usize = 10;
/// Extra calls that may be saved up for a bad moment.
const MAX_SAVED: f64 = 10.0;
/// Extra calls that are kept for those that wait for long: by the nature of a quantile, calls that are a little late
/// would use up all there are.
const RESERVE: f64 = 3.0;

/// Decides about hedging the calls of one kind.
#[derive(Debug)]
pub struct Hedge {
    quantile: f64,
    max_extra: f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latencies: Vec<Duration>,
    /// Where the next latency goes once the window is full.
    next: usize,
    /// Samples since the delay was computed.
    fresh: usize,
    delay: Option<Duration>,
    /// Extra calls that may be made now.
    saved: f64,
}

impl Hedge {
    /// Hedges what takes longer than this `quantile` (0 to 1) of recent calls, with at most `max_extra` extra calls for
    /// each call that is begun (0.05: one in twenty).
    #[must_use]
    pub fn new(quantile: f64, max_extra: f64) -> Self {
        Self { quantile, max_extra, state: Mutex::default() }
    }

    /// Counts a call that is about to be made. After the time returned, a second one is worth making; `None` while
    /// too little is known.
    pub fn begin(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.saved = (state.saved + self.max_extra).min(MAX_SAVED);
        state.delay
    }

    /// Takes leave for one extra call; `false` when too many were made. A call that is only a little late gets none of the
    /// reserve; one that has waited several times as long is `urgent`.
    pub fn allow(&self, urgent: bool) -> bool {
        let mut state = self.lock();
        let needed = if urgent { 1.0 } else { 1.0 + RESERVE };
        // Sums of fractions fall short of whole numbers by a few ulps.
        let granted = state.saved > needed - 1e-9;
        if granted {
            state.saved -= 1.0;
        }
        granted
    }

    /// Notes how long an answer took.
    pub fn record(&self, latency: Duration) {
        let mut state = self.lock();
        if state.latencies.len() < WINDOW {
            state.latencies.push(latency);
        } else {
            let next = state.next;
            state.latencies[next] = latency;
            state.next = (next + 1) % WINDOW;
        }
        state.fresh += 1;
        let enough = state.latencies.len() >= MIN_SAMPLES;
        if enough && (state.delay.is_none() || state.fresh >= RECOMPUTE_AFTER) {
            state.fresh = 0;
            state.delay = Some(self.of(&state.latencies));
        }
    }

    fn of(&self, latencies: &[Duration]) -> Duration {
        let mut sorted = latencies.to_vec();
        let rank = (self.quantile * (sorted.len() - 1) as f64).ceil() as usize;
        *sorted.select_nth_unstable(rank).1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_delay_is_the_quantile_of_recent_calls_once_there_are_enough() {
        let hedge = Hedge::new(0.95, 0.05);
        for n in 1..MIN_SAMPLES as u32 {
            hedge.record(n * MS);
        }
        assert_eq!(hedge.begin(), None);
        for n in MIN_SAMPLES as u32..=100 {
            hedge.record(n * MS);
        }
        let delay = hedge.begin().unwrap_or_default();
        assert!((94 * MS..=97 * MS).contains(&delay), "{delay:?}");
        // Old calls are forgotten.
        for _ in 0..WINDOW {
            hedge.record(MS);
        }
        assert_eq!(hedge.begin(), Some(MS));
    }

    #[test]
    fn extra_calls_stay_within_their_share() {
        let hedge = Hedge::new(0.95, 0.05);
        let mut extra = 0;
        for _ in 0..1000 {
            hedge.begin();
            extra += u32::from(hedge.allow(true));
        }
        assert_eq!(extra, 50);
    }

    #[test]
    fn what_is_a_little_late_leaves_some_for_what_is_very_late() {
        let hedge = Hedge::new(0.95, 0.05);
        for _ in 0..200 {
            hedge.begin();
            hedge.allow(false);
        }
        assert!(!hedge.allow(false));
        assert_eq!((0..10).filter(|_| hedge.allow(true)).count(), 3);
    }

    #[test]
    fn a_quiet_time_saves_up_only_a_few() {
        let hedge = Hedge::new(0.95, 0.05);
        for _ in 0..100_000 {
            hedge.begin();
        }
        let burst = (0..100).filter(|_| hedge.allow(true)).count();
        assert_eq!(burst, MAX_SAVED as usize);
    }
}
