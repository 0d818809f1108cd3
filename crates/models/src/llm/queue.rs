//! The bounded queue between callers and the one thread that answers.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use llama_cpp_2::token::LlamaToken;
use ragstone_core::{ChatEvent, Error, ErrorCode, Result};
use tokio::sync::mpsc::UnboundedSender;

/// One request.
pub(super) struct Job {
    /// The prompt.
    pub(super) tokens: Vec<LlamaToken>,
    /// The most tokens to write.
    pub(super) max_tokens: usize,
    /// 0: always the likeliest token.
    pub(super) temperature: f32,
    /// When its time is over.
    pub(super) until: Instant,
    /// Where the answer goes: closed when the caller has left. It needs no bound: an answer has one, and a slow reader
    /// must not hold up the thread.
    pub(super) events: UnboundedSender<Result<ChatEvent>>,
    pub(super) span: tracing::Span,
}

/// Requests that wait for their turn, first come, first served.
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    capacity: usize,
    /// The same as `State::closed`, for a look without the lock.
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    closed: bool,
    /// Moving average of the time an answer takes.
    pace: Duration,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), capacity, stop: AtomicBool::new(false) }
    }

    /// # Errors
    /// `RateLimited` when it is full, with the time that those who wait will take; `Unavailable` when it is closed.
    pub(super) fn push(&self, job: Job) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(stopped());
        }
        state.waiting.retain(|job| !job.events.is_closed());
        let waiting = state.waiting.len();
        if waiting >= self.capacity {
            let wait = state.pace * u32::try_from(waiting + 1).unwrap_or(u32::MAX);
            let full = format!("the local model's queue is full: {waiting} requests wait");
            return Err(Error::new(ErrorCode::RateLimited, full).with_retry_after(wait));
        }
        state.waiting.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Blocks until there is a request; `None` when the queue is closed.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One answer has taken this long.
    pub(super) fn finished(&self, took: Duration) {
        let mut state = self.lock();
        state.pace = if state.pace.is_zero() { took } else { (state.pace * 3 + took) / 4 };
    }

    /// Whether the thread is to stop at once.
    pub(super) fn is_closed(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Ends the thread and everything that waits.
    pub(super) fn close(&self) {
        self.stop.store(true, Relaxed);
        let mut state = self.lock();
        state.closed = true;
        for job in state.waiting.drain(..) {
            // A caller that has left does not mind.
            let _ = job.events.send(Err(stopped()));
        }
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller hears when nobody answers any more.
pub(super) fn stopped() -> Error {
    Error::unavailable("the local model has stopped")
}
