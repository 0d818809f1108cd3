//! Which replica a call goes to: power of two choices on load and latency, or one after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Balance;

/// A latency counts for 1/e of itself after this time: a peer that was slow is tried again.
const FORGET: Duration = Duration::from_secs(10);
/// The latency of a peer of which nothing is known, in seconds: it is soon tried.
const UNKNOWN: f64 = 0.0001;

/// How busy and how fast one peer is.
#[derive(Debug, Default)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    latency: Mutex<Option<(f64, Instant)>>,
}

impl Load {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes how long an answer took, or that it took longer than this. A slow one counts at once in full; fast ones
    /// bring the mean down slowly (peak EWMA).
    pub(crate) fn record(&self, latency: Duration, now: Instant) {
        let mut known = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = latency.as_secs_f64();
        let mean = match *known {
            Some((mean, at)) if sample < mean => {
                let kept = faded(now.saturating_duration_since(at));
                sample + (mean - sample) * kept
            }
            _ => sample,
        };
        *known = Some((mean, now));
    }

    /// What one more call costs here: its expected wait.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        let known = *self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = known.map_or(0.0, |(mean, at)| mean * faded(now.saturating_duration_since(at)));
        let waiting = self.in_flight.load(Ordering::Relaxed) + 1;
        latency.max(UNKNOWN) * waiting as f64
    }
}

fn faded(age: Duration) -> f64 {
    (-age.as_secs_f64() / FORGET.as_secs_f64()).exp()
}

/// Gives a number below its argument, which is at least 1.
pub(crate) type Chance = Box<dyn Fn(usize) -> usize + Send + Sync>;

/// Chooses among candidates.
pub(crate) struct Chooser {
    policy: Balance,
    turn: AtomicUsize,
    chance: Chance,
}

impl Chooser {
    pub(crate) fn new(policy: Balance, chance: Chance) -> Self {
        Self { policy, turn: AtomicUsize::new(0), chance }
    }

    /// One of `candidates`; `None` when there are none.
    pub(crate) fn choose(&self, candidates: &[usize], cost: impl Fn(usize) -> f64) -> Option<usize> {
        let n = candidates.len();
        if n < 2 {
            return candidates.first().copied();
        }
        if self.policy == Balance::RoundRobin {
            return Some(candidates[self.turn.fetch_add(1, Ordering::Relaxed) % n]);
        }
        let first = (self.chance)(n);
        let second = (first + 1 + (self.chance)(n - 1)) % n;
        let (a, b) = (candidates[first], candidates[second]);
        Some(if cost(b) < cost(a) { b } else { a })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn chooser(policy: Balance) -> Chooser {
        let random = Mutex::new(fastrand::Rng::with_seed(7));
        Chooser::new(policy, Box::new(move |n| random.lock().unwrap_or_else(PoisonError::into_inner).usize(..n)))
    }

    fn counts(chooser: &Chooser, loads: &[Load], now: Instant) -> Vec<usize> {
        let candidates: Vec<usize> = (0..loads.len()).collect();
        let mut counts = vec![0; loads.len()];
        for _ in 0..3000 {
            let chosen = chooser.choose(&candidates, |peer| loads[peer].cost(now)).unwrap_or_default();
            counts[chosen] += 1;
        }
        counts
    }

    #[test]
    fn the_better_of_two_is_chosen_and_the_worst_of_all_never() {
        let (now, chooser) = (Instant::now(), chooser(Balance::PowerOfTwo));
        let loads: Vec<Load> = [5, 10, 2000]
            .iter()
            .map(|ms| {
                let load = Load::default();
                load.record(*ms * MS, now);
                load
            })
            .collect();
        let counts = counts(&chooser, &loads, now);
        assert_eq!(counts[2], 0, "{counts:?}");
        // Of three pairs, two hold the best.
        assert!((1900..2100).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_busy_peer_is_avoided_as_much_as_a_slow_one() {
        let (now, chooser) = (Instant::now(), chooser(Balance::PowerOfTwo));
        let loads = [Load::default(), Load::default()];
        loads.iter().for_each(|load| load.record(5 * MS, now));
        loads[0].begin();
        assert_eq!(counts(&chooser, &loads, now), [0, 3000]);
        loads[0].end();
        loads[1].record(6 * MS, now);
        assert_eq!(counts(&chooser, &loads, now), [3000, 0]);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_in_time() {
        let (start, load) = (Instant::now(), Load::default());
        load.record(5 * MS, start);
        load.record(2000 * MS, start);
        assert!(load.cost(start) > 1.9);
        // One fast answer right afterwards changes little, half a minute of silence much.
        load.record(5 * MS, start + 10 * MS);
        assert!(load.cost(start + 10 * MS) > 1.9);
        assert!(load.cost(start + 3 * FORGET) < 0.11);
    }

    #[test]
    fn round_robin_takes_turns() {
        let (now, chooser) = (Instant::now(), chooser(Balance::RoundRobin));
        let loads = [Load::default(), Load::default(), Load::default()];
        loads[0].record(2000 * MS, now);
        assert_eq!(counts(&chooser, &loads, now), [1000, 1000, 1000]);
    }

    #[test]
    fn one_or_none_needs_no_choice() {
        let chooser = chooser(Balance::PowerOfTwo);
        assert_eq!(chooser.choose(&[], |_| 0.0), None);
        assert_eq!(chooser.choose(&[4], |_| 0.0), Some(4));
    }
}
