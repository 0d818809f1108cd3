//! Leaving a failing peer alone for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::EjectionConfig;

/// An ejection lasts at most this many times the base.
const MOST_TIMES: u32 = 10;

/// Which peers are out, and for how long. Time is passed in, so that tests need no clock.
#[derive(Debug)]
pub(crate) struct Ejection {
    limit: u32,
    base: Duration,
    peers: Mutex<Vec<Peer>>,
}

#[derive(Debug, Default, Clone)]
struct Peer {
    /// In a row.
    failures: u32,
    /// How often it was ejected of late.
    times: u32,
    /// Out until a call succeeds after this time.
    until: Option<Instant>,
    /// When it came back last.
    back: Option<Instant>,
}

impl Ejection {
    pub(crate) fn new(config: EjectionConfig, peers: usize) -> Self {
        Self {
            limit: config.consecutive_failures,
            base: Duration::from_secs(config.base_seconds),
            peers: Mutex::new(vec![Peer::default(); peers]),
        }
    }

    /// Notes a failure; `true` when it put the peer out (again). The last one that is in stays in.
    pub(crate) fn failure(&self, peer: usize, now: Instant) -> bool {
        let mut peers = self.lock();
        let others = peers.iter().enumerate().any(|(n, other)| n != peer && other.until.is_none());
        let Some(state) = peers.get_mut(peer) else {
            return false;
        };
        state.failures = state.failures.saturating_add(1);
        match state.until {
            // The call that was to show that it is well again.
            Some(until) if now >= until => {}
            Some(_) => return false,
            None if state.failures < self.limit || !others => return false,
            None => {
                let long_well = state.back.is_some_and(|back| now.duration_since(back) > MOST_TIMES * self.base);
                if long_well {
                    state.times = 0;
                }
            }
        }
        state.times = (state.times + 1).min(MOST_TIMES);
        state.until = Some(now + self.base * state.times);
        true
    }

    /// Notes a success; `true` when it brought the peer back.
    pub(crate) fn success(&self, peer: usize, now: Instant) -> bool {
        let mut peers = self.lock();
        let Some(state) = peers.get_mut(peer) else {
            return false;
        };
        state.failures = 0;
        let returns = state.until.is_some_and(|until| now >= until);
        if returns {
            state.until = None;
            state.back = Some(now);
        }
        returns
    }

    /// Whether calls may go to the peer.
    pub(crate) fn is_in(&self, peer: usize) -> bool {
        self.lock().get(peer).is_some_and(|state| state.until.is_none())
    }

    /// Peers whose time is over and that one call should try.
    pub(crate) fn due(&self, now: Instant) -> Vec<usize> {
        let peers = self.lock();
        let due = |state: &Peer| state.until.is_some_and(|until| now >= until);
        peers.iter().enumerate().filter(|(_, state)| due(state)).map(|(n, _)| n).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(30);

    fn ejection(peers: usize) -> Ejection {
        Ejection::new(EjectionConfig { consecutive_failures: 5, base_seconds: 30 }, peers)
    }

    fn fail(ejection: &Ejection, peer: usize, times: u32, now: Instant) -> Vec<bool> {
        (0..times).map(|_| ejection.failure(peer, now)).collect()
    }

    #[test]
    fn only_failures_in_a_row_put_a_peer_out() {
        let (now, ejection) = (Instant::now(), ejection(2));
        assert_eq!(fail(&ejection, 0, 4, now), [false; 4]);
        assert!(!ejection.success(0, now));
        assert_eq!(fail(&ejection, 0, 5, now), [false, false, false, false, true]);
        assert!(!ejection.is_in(0) && ejection.is_in(1));
        // Calls that were under way fail later: they change nothing.
        assert_eq!(fail(&ejection, 0, 9, now), [false; 9]);
    }

    #[test]
    fn a_success_brings_it_back_only_after_its_time() {
        let (now, ejection) = (Instant::now(), ejection(2));
        fail(&ejection, 0, 5, now);
        assert!(!ejection.success(0, now + BASE / 2));
        assert!(ejection.due(now + BASE / 2).is_empty() && !ejection.is_in(0));
        assert_eq!(ejection.due(now + BASE), [0]);
        assert!(ejection.success(0, now + BASE));
        assert!(ejection.is_in(0) && ejection.due(now + BASE).is_empty());
    }

    #[test]
    fn each_time_is_longer_up_to_a_limit() {
        let (mut now, ejection) = (Instant::now(), ejection(2));
        fail(&ejection, 0, 5, now);
        for times in 2..15 {
            now += BASE * (times - 1).min(MOST_TIMES);
            assert_eq!(ejection.due(now), [0], "{times}");
            assert!(ejection.failure(0, now), "{times}");
        }
        now += BASE * MOST_TIMES;
        assert!(ejection.success(0, now));
        // Well for long: it begins anew.
        now += BASE * (MOST_TIMES + 1);
        fail(&ejection, 0, 5, now);
        assert_eq!(ejection.due(now + BASE), [0]);
    }

    #[test]
    fn the_last_one_stays() {
        let (now, ejection) = (Instant::now(), ejection(3));
        fail(&ejection, 0, 5, now);
        fail(&ejection, 1, 5, now);
        assert_eq!(fail(&ejection, 2, 50, now), [false; 50]);
        assert!(ejection.is_in(2));
    }
}
