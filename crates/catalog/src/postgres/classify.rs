//! What a failure of the database means to the caller.

use ragstone_core::{Error, ErrorCode};
use sqlx::migrate::MigrateError;

use super::config::SECTION;

/// The SQLSTATE of an error that the server sent.
fn state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// A database error with the code that tells the caller what to do.
pub(super) fn sql_error(error: sqlx::Error) -> Error {
    let state = state(&error).unwrap_or_default();
    let (code, message) = match (&error, state.as_str()) {
        (_, "53100") => (ErrorCode::StorageFull, "the PostgreSQL server's disk is full: the catalog cannot be written"),
        (_, "25006") => {
            (ErrorCode::Unavailable, "the PostgreSQL server takes no writes: it is a replica or in recovery")
        }
        (_, "57014") => (ErrorCode::Unavailable, "the PostgreSQL server took longer than a statement may"),
        // A circle of locks, or a replica that had to cancel the read: the same call may succeed now.
        (_, "40001" | "40P01") => {
            (ErrorCode::Unavailable, "the PostgreSQL server gave up the call in favour of another")
        }
        (_, "57P01" | "57P02" | "57P03" | "53300") => {
            (ErrorCode::Unavailable, "the PostgreSQL server takes no connections now")
        }
        (_, state) if state.starts_with("08") || state.starts_with("28") => {
            (ErrorCode::Unavailable, "the PostgreSQL server does not let this program in")
        }
        (sqlx::Error::PoolTimedOut, _) => {
            (ErrorCode::Unavailable, "the PostgreSQL server does not answer, or all connections to it are in use")
        }
        (sqlx::Error::PoolClosed, _) => (ErrorCode::Unavailable, "the catalog is closed"),
        (sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed, _) => {
            (ErrorCode::Unavailable, "the PostgreSQL server does not answer")
        }
        _ => (ErrorCode::Internal, "the catalog failed"),
    };
    Error::new(code, message).with_source(error)
}

/// Why no connection can be made with the URL of this key. `at` is the server without any credential.
pub(super) fn connect_error(key: &str, at: &Target, error: sqlx::Error) -> Error {
    let Target { server, user, database } = at;
    let setting = format!("{SECTION}.{key}");
    let fault = |problem: String| (ErrorCode::InvalidArgument, format!("{setting}: {problem}"));
    if matches!(error, sqlx::Error::Configuration(_)) {
        // Without its cause, which repeats what is in the URL.
        let modes = "disable, allow, prefer, require, verify-ca or verify-full";
        return Error::invalid(format!(
            "{setting}: a value in it cannot be used (sslmode is {modes}; port is a number)"
        ));
    }
    let (code, message) = match (&error, state(&error).unwrap_or_default().as_str()) {
        (_, "28P01") => fault(format!("the server {server} refuses the password of user '{user}'")),
        (_, "28000") => fault(format!("the server {server} does not let user '{user}' in from here")),
        (_, "3D000") => fault(format!("the server {server} has no database '{database}'")),
        (sqlx::Error::Tls(cause), _) if cause.to_string().contains("does not support TLS") => {
            fault(format!("sslmode demands TLS, but the server {server} does not offer it"))
        }
        (sqlx::Error::Tls(_), _) => {
            fault(format!("the TLS certificate of the server {server} is not acceptable (sslmode, sslrootcert)"))
        }
        (sqlx::Error::Io(cause), _) if is_about_certificates(cause) => {
            fault(format!("the TLS certificate of the server {server} is not acceptable (sslmode, sslrootcert)"))
        }
        (sqlx::Error::Io(cause), _) if cause.kind() == std::io::ErrorKind::NotFound => {
            fault(format!("a file that it names, or the socket of {server}, is not there"))
        }
        _ => (ErrorCode::Unavailable, format!("{setting}: the server {server} does not answer")),
    };
    Error::new(code, message).with_source(error)
}

/// rustls reports a certificate it refuses through the socket.
fn is_about_certificates(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && error.to_string().contains("certificate")
}

/// Where a URL leads, for messages: nothing secret.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) server: String,
    pub(super) user: String,
    pub(super) database: String,
}

/// Why the schema cannot be used.
pub(super) fn migration_error(at: &Target, error: MigrateError) -> Error {
    let Target { server, user, database } = at;
    let place = format!("{SECTION}.url: the database '{database}' on {server}");
    let (code, message) = match &error {
        MigrateError::VersionMissing(step) => (
            ErrorCode::InvalidArgument,
            format!("{place} was written by a newer Ragstone (its schema has step {step}): use that one"),
        ),
        MigrateError::VersionMismatch(step) => (
            ErrorCode::InvalidArgument,
            format!("{place} has another schema than this Ragstone knows (step {step} differs)"),
        ),
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => match state(cause) {
            Some(state) if state == "42501" => (
                ErrorCode::InvalidArgument,
                format!("{place} does not let user '{user}' make tables: grant CREATE on its schema"),
            ),
            Some(state) if state == "25006" => (
                ErrorCode::InvalidArgument,
                format!("{place} takes no writes: is it a read replica? That belongs into {SECTION}.read_url"),
            ),
            // Its own objects are in the way, or it lacks something: an operator has to look.
            Some(state) if state.starts_with("42") => (
                ErrorCode::InvalidArgument,
                format!("{place} holds something else than a catalog, which is in the way"),
            ),
            Some(_) => (ErrorCode::Internal, format!("{place} cannot be brought up to date")),
            None => (ErrorCode::Unavailable, format!("{place} did not answer while it was brought up to date")),
        },
        _ => (ErrorCode::Internal, format!("{place} cannot be brought up to date")),
    };
    Error::new(code, message).with_source(error)
}
