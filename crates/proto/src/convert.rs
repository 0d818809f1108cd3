//! Small checks that every conversion from the wire shares.

use ragstone_core::{Error, JobId, Result};

/// The message in a field that must be set.
///
/// # Errors
/// `InvalidArgument`, naming the field.
pub fn required<T>(field: Option<T>, name: &str) -> Result<T> {
    field.ok_or_else(|| Error::invalid(format!("field '{name}' is missing")))
}

/// The enum value of a field.
///
/// # Errors
/// `InvalidArgument` for a number this version does not know.
pub fn enum_value<E: TryFrom<i32>>(number: i32, name: &str) -> Result<E> {
    E::try_from(number).map_err(|_| Error::invalid(format!("field '{name}' has the unknown value {number}")))
}

/// A job id field.
///
/// # Errors
/// `NotFound`: what is not a UUID is not the id of any job.
pub fn uuid_job(text: &str) -> Result<JobId> {
    JobId::parse(text).map_err(|_| Error::not_found(format!("there is no job '{text}'")))
}
