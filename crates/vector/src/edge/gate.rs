//! Lets one wait until all that is under way has ended, without keeping anything new waiting.

use std::sync::{Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What is under way now, and what was when somebody last waited.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    current: Mutex<TaskTracker>,
    /// Left over where waiting was broken off; whoever waits next waits for these too.
    before: tokio::sync::Mutex<Option<TaskTracker>>,
}

impl Gate {
    /// Something begins; it ends when the token is dropped.
    pub(crate) fn enter(&self) -> TaskTrackerToken {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).token()
    }

    /// Returns when everything has ended that began before this call.
    pub(crate) async fn drain(&self) {
        let mut before = self.before.lock().await;
        if let Some(older) = before.as_ref() {
            older.wait().await;
        }
        let now = std::mem::take(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner));
        now.close();
        before.insert(now).wait().await;
        *before = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_all_that_began_before_has_ended() {
        let gate = Gate::default();
        let (first, second) = (gate.enter(), gate.enter());
        let mut drain = Box::pin(gate.drain());
        assert!(drain.as_mut().now_or_never().is_none());
        let later = gate.enter();
        drop(first);
        assert!(drain.as_mut().now_or_never().is_none());
        drop(second);
        drain.await;
        drop(later);
    }

    #[tokio::test]
    async fn a_wait_that_was_broken_off_is_made_good_by_the_next() {
        let gate = Gate::default();
        let old = gate.enter();
        assert!(gate.drain().now_or_never().is_none());
        assert!(gate.drain().now_or_never().is_none());
        drop(old);
        gate.drain().await;
    }
}
