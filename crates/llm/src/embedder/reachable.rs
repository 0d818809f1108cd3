//! Whether the server answers, as the calls that are made anyway have shown.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ragstone_core::{Error, ErrorCode, Result};
use tokio::time::Instant;

/// For so long a call that went well says that the next one will.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// For so long one that did not is not repeated just to know.
const BAD_FOR: Duration = Duration::from_secs(1);

const BESIDE_THE_POINT: [ErrorCode; 3] =
    [ErrorCode::InvalidArgument, ErrorCode::RateLimited, ErrorCode::DeadlineExceeded];

/// The outcome of the last call.
#[derive(Default)]
pub(super) struct Reachable(Mutex<Option<Last>>);

struct Last {
    at: Instant,
    problem: Option<(ErrorCode, String)>,
}

impl Reachable {
    /// Notes how a call ended. A wrong text, our own limit and the caller's haste say nothing about the server.
    pub(super) fn note<T>(&self, outcome: &Result<T>) {
        let problem = match outcome {
            Ok(_) => None,
            Err(error) if BESIDE_THE_POINT.contains(&error.code) => return,
            Err(error) => Some((error.code, error.message.clone())),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Last { at: Instant::now(), problem });
    }

    /// What the last call says, if it was not long ago.
    pub(super) fn known(&self) -> Option<Result<()>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Last { at, problem } = last.as_ref()?;
        let fresh = at.elapsed() < if problem.is_none() { GOOD_FOR } else { BAD_FOR };
        let outcome = || problem.as_ref().map_or(Ok(()), |(code, told)| Err(Error::new(*code, told.clone())));
        fresh.then(outcome)
    }
}
