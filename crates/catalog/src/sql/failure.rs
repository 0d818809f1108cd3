//! What can go wrong inside, and how it looks outside.

use ragstone_core::Error;

use super::dialect::sql_error;

/// A failure inside a catalog.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The database said no.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A rule of the catalog said no.
    #[error(transparent)]
    Rule(#[from] Error),
    /// A stored JSON column cannot be read or written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rule(error) => error,
            Failure::Sql(error) => sql_error(error),
            Failure::Json(error) => Self::internal("the catalog holds unreadable data").with_source(error),
        }
    }
}
