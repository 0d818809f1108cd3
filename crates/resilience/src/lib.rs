//! What keeps a request within bounds when something is slow or gone.

mod deadline;

pub use deadline::Deadline;
