//! What an error means for a job: the one place that decides between failing, trying again and waiting.

use std::time::Duration;

use ragstone_core::{Error, ErrorCode};

/// A dependency that was away is asked again after this long, unless it named a time itself.
const WAIT: Duration = Duration::from_secs(5);
/// No error makes a job wait longer than this.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// The wait after the first failed try; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What becomes of a job after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The document is unusable: no further try.
    Fail,
    /// That was the last try.
    Bury,
    /// The next try comes after this long.
    Retry(Duration),
    /// Not the document's fault: the job goes back without having used up a try, for this long.
    Wait(Duration),
}

/// Judges `error`, which ended try number `attempt` of at most `attempts`.
pub(crate) fn judge(error: &Error, attempt: u32, attempts: u32) -> Verdict {
    match error.code {
        ErrorCode::InvalidArgument
        | ErrorCode::TooLarge
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::Unprocessable => Verdict::Fail,
        ErrorCode::Unavailable
        | ErrorCode::RateLimited
        | ErrorCode::DeadlineExceeded
        | ErrorCode::Cancelled
        | ErrorCode::StorageFull => Verdict::Wait(error.retry_after.unwrap_or(WAIT).min(MAX_WAIT)),
        ErrorCode::Internal
        | ErrorCode::NotFound
        | ErrorCode::Conflict
        | ErrorCode::Unauthenticated
        | ErrorCode::PermissionDenied => {
            if attempt >= attempts {
                Verdict::Bury
            } else {
                Verdict::Retry((FIRST_RETRY * 2_u32.saturating_pow(attempt.saturating_sub(1))).min(MAX_WAIT))
            }
        }
    }
}

/// An error of the embedding or retrieval service, as it concerns a document. What they refuse is no fault of the
/// document, which has passed its own checks, but of how the services fit together: worth another try, and an operator's look.
pub(crate) fn of_peer(status: tonic::Status) -> Error {
    let mut error = ragstone_rpc::error_from(status);
    if matches!(
        error.code,
        ErrorCode::InvalidArgument | ErrorCode::TooLarge | ErrorCode::UnsupportedMediaType | ErrorCode::Unprocessable
    ) {
        error.code = ErrorCode::Internal;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_the_dependency_and_the_bug_are_told_apart() {
        let judge = |code, attempt| judge(&Error::new(code, "x"), attempt, 3);
        assert_eq!(judge(ErrorCode::Unprocessable, 1), Verdict::Fail);
        assert_eq!(judge(ErrorCode::Unavailable, 99), Verdict::Wait(WAIT));
        assert_eq!(judge(ErrorCode::Internal, 1), Verdict::Retry(Duration::from_secs(1)));
        assert_eq!(judge(ErrorCode::Internal, 2), Verdict::Retry(Duration::from_secs(2)));
        assert_eq!(judge(ErrorCode::Internal, 3), Verdict::Bury);
        assert_eq!(judge(ErrorCode::NotFound, 4), Verdict::Bury);
    }

    #[test]
    fn a_named_time_is_honoured_within_reason() {
        let error = |seconds| Error::unavailable("x").with_retry_after(Duration::from_secs(seconds));
        assert_eq!(judge(&error(9), 1, 3), Verdict::Wait(Duration::from_secs(9)));
        assert_eq!(judge(&error(86_400), 1, 3), Verdict::Wait(MAX_WAIT));
    }
}
