//! The time, which tests may move on.

use std::time::{Instant, SystemTime};
#[cfg(test)]
use std::{
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

/// A clock; clones of one tell the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    #[cfg(test)]
    ahead_ms: Arc<AtomicU64>,
}

#[cfg(not(test))]
impl Clock {
    /// The time that never goes back.
    #[expect(clippy::unused_self, reason = "in tests it counts")]
    pub(crate) fn instant(&self) -> Instant {
        Instant::now()
    }

    /// The time of day.
    #[expect(clippy::unused_self, reason = "in tests it counts")]
    pub(crate) fn system(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
impl Clock {
    pub(crate) fn instant(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    pub(crate) fn system(&self) -> SystemTime {
        SystemTime::now() + self.ahead()
    }

    /// Moves it on.
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}
