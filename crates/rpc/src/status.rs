//! The one mapping between domain errors and gRPC statuses.

use std::collections::HashMap;

use ragstone_core::{Error, ErrorCode};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Messages travel in a header: longer ones are cut.
const MAX_MESSAGE_CHARS: usize = 1_000;
/// Who defines the reasons in our `google.rpc.ErrorInfo`.
const DOMAIN: &str = "ragstone";

/// The status that tells `error`: a canonical code, with `google.rpc.ErrorInfo` carrying our own one as `code` and
/// `google.rpc.RetryInfo` where a time to wait is known. Causes stay here, in the log.
#[must_use]
pub fn status(error: Error) -> Status {
    if error.code == ErrorCode::Internal {
        tracing::error!(error = error.chain(), "internal error");
    } else {
        tracing::debug!(error = error.chain(), code = error.code.as_str(), "request failed");
    }
    let code = error.code.as_str();
    let metadata = HashMap::from([("code".to_owned(), code.to_owned())]);
    let mut details = ErrorDetails::with_error_info(code.to_uppercase(), DOMAIN, metadata);
    if let Some(wait) = error.retry_after {
        details.set_retry_info(Some(wait));
    }
    let message: String = error.message.chars().take(MAX_MESSAGE_CHARS).collect();
    Status::with_error_details(canonical(error.code), message, details)
}

/// The error a status tells. Statuses of other servers, and of the transport, are read by their canonical code.
#[must_use]
pub fn error_from(status: Status) -> Error {
    let details = status.get_error_details();
    let own = details.error_info().filter(|info| info.domain == DOMAIN).and_then(|info| info.metadata.get("code"));
    let code = match own.and_then(|name| ErrorCode::parse(name)) {
        Some(code) => code,
        None => foreign(&status),
    };
    let mut error = Error::new(code, status.message());
    error.retry_after = details.retry_info().and_then(|info| info.retry_delay);
    error.with_source(status)
}

fn canonical(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument | ErrorCode::UnsupportedMediaType => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::TooLarge => Code::OutOfRange,
        ErrorCode::Unprocessable => Code::FailedPrecondition,
        ErrorCode::RateLimited | ErrorCode::StorageFull => Code::ResourceExhausted,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Cancelled => Code::Cancelled,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Internal => Code::Internal,
    }
}

fn foreign(status: &Status) -> ErrorCode {
    match status.code() {
        Code::InvalidArgument => ErrorCode::InvalidArgument,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists | Code::Aborted => ErrorCode::Conflict,
        Code::OutOfRange => ErrorCode::TooLarge,
        Code::FailedPrecondition => ErrorCode::Unprocessable,
        Code::ResourceExhausted => ErrorCode::RateLimited,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        // tonic's own client-side timeout calls itself "cancelled".
        Code::Cancelled if status.message() == "Timeout expired" => ErrorCode::DeadlineExceeded,
        Code::Cancelled => ErrorCode::Cancelled,
        // A connection that breaks off shows as Unknown with the transport's error as source.
        Code::Unavailable => ErrorCode::Unavailable,
        Code::Unknown if std::error::Error::source(status).is_some() => ErrorCode::Unavailable,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_code_survives_the_wire_with_its_retry_time() {
        for code in ErrorCode::ALL {
            let error = Error::new(code, "why").with_retry_after(Duration::from_secs(3));
            let back = error_from(status(error));
            assert_eq!((back.code, back.message.as_str()), (code, "why"));
            assert_eq!(back.retry_after, Some(Duration::from_secs(3)));
        }
    }

    #[test]
    fn foreign_statuses_are_read_by_their_code() {
        assert_eq!(error_from(Status::cancelled("Timeout expired")).code, ErrorCode::DeadlineExceeded);
        assert_eq!(error_from(Status::cancelled("x")).code, ErrorCode::Cancelled);
        assert_eq!(error_from(Status::unavailable("x")).code, ErrorCode::Unavailable);
        assert_eq!(error_from(Status::unknown("x")).code, ErrorCode::Internal);
    }
}
