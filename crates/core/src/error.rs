//! The one error type that crosses crate borders, with a small closed set of codes.

use std::time::Duration;

/// What kind of failure this is; mapped once to gRPC (`ragstone-rpc`) and once to HTTP (`ragstone-gateway`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed: the caller must change it.
    InvalidArgument,
    /// No credential, or one that is not valid.
    Unauthenticated,
    /// A valid credential that does not allow this.
    PermissionDenied,
    /// It does not exist, or not for this tenant.
    NotFound,
    /// A version precondition failed or the same thing is already under way.
    Conflict,
    /// The body or a part of it is larger than a limit.
    TooLarge,
    /// The content type is not one that can be read.
    UnsupportedMediaType,
    /// Understood, but unusable: an unreadable PDF, a refused prompt.
    Unprocessable,
    /// A rate limit or a bounded queue is full.
    RateLimited,
    /// The request's time ran out.
    DeadlineExceeded,
    /// The caller left.
    Cancelled,
    /// A dependency does not answer; trying again later may help.
    Unavailable,
    /// The disk is full; nothing was stored.
    StorageFull,
    /// A bug or corrupted data.
    Internal,
}

impl ErrorCode {
    /// All codes, for tests and generated documentation.
    pub const ALL: [Self; 14] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Unprocessable,
        Self::RateLimited,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Unavailable,
        Self::StorageFull,
        Self::Internal,
    ];

    /// The stable name that clients see, for example `invalid_argument`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unprocessable => "unprocessable",
            Self::RateLimited => "rate_limited",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
            Self::Internal => "internal",
        }
    }

    /// The code with this stable name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimited | Self::StorageFull)
    }
}

/// The result of everything that crosses a crate border.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with its code, a sentence for the caller, and its cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub code: ErrorCode,
    /// One sentence that is safe to show to the caller.
    pub message: String,
    /// How long to wait before trying again, where that is known.
    pub retry_after: Option<Duration>,
    /// What lies underneath; logged, never shown to a client.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `code` with `message` and no cause.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, source: None }
    }

    /// The caller's request is malformed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// It does not exist for this caller.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// A precondition failed.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// A dependency does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// Understood but unusable.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unprocessable, message)
    }

    /// A bug or corrupted data.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The request's time ran out.
    #[must_use]
    pub fn deadline() -> Self {
        Self::new(ErrorCode::DeadlineExceeded, "the deadline of the request has passed")
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with a time to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The message with all its causes, for logs: `a: b: c`.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips_through_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::parse("nonsense"), None);
    }

    #[test]
    fn the_chain_names_every_cause() {
        let error = Error::unavailable("no store").with_source(Error::internal("disk gone"));
        assert_eq!(error.chain(), "no store: disk gone");
        assert_eq!(error.to_string(), "no store");
    }
}
