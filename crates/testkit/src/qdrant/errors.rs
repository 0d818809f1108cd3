//! The server's errors as gRPC statuses, and the engine's errors sorted as the server sorts them.

use std::fmt::Display;

use qdrant_edge::OperationError;
use tonic::Status;

pub(super) fn bad_input(text: impl Display) -> Status {
    Status::invalid_argument(format!("Wrong input: {text}"))
}

pub(super) fn bad_request(text: impl Display) -> Status {
    Status::invalid_argument(format!("Bad request: {text}"))
}

/// A value out of its range, found before anything is looked up.
pub(super) fn invalid(field: &str, text: impl Display) -> Status {
    Status::invalid_argument(format!("Validation error in body: [{field}: {text}]"))
}

pub(super) fn not_found(text: impl Display) -> Status {
    Status::not_found(format!("Not found: {text}"))
}

pub(super) fn already_exists(text: impl Display) -> Status {
    Status::already_exists(format!("Wrong input: {text}"))
}

/// The server's own trouble: also what it says about peers it does not reach.
pub(super) fn service(text: impl Display) -> Status {
    Status::internal(format!("Service internal error: {text}"))
}

pub(super) fn timeout(text: impl Display) -> Status {
    Status::deadline_exceeded(format!("Timeout: {text}"))
}

/// The real server can do it, this one cannot.
pub(super) fn unsupported(what: impl Display) -> Status {
    Status::unimplemented(format!("the test server does not support {what}"))
}

/// How the server reports what the engine says.
pub(super) fn from_engine(error: OperationError) -> Status {
    match error {
        OperationError::PointIdError { .. } => not_found(format!("{error} found")),
        OperationError::Timeout { description } => timeout(description),
        OperationError::ServiceError { description, .. } => service(description),
        OperationError::Cancelled { description } => service(format!("Operation cancelled: {description}")),
        OperationError::InconsistentStorage { .. } | OperationError::OutOfMemory { .. } => service(error),
        OperationError::WrongSparse => bad_input(WRONG_SPARSE),
        other => bad_input(other),
    }
}

/// A sparse vector where a dense one is expected, or the reverse.
pub(super) const WRONG_SPARSE: &str = "Conversion between sparse and regular vectors failed";
