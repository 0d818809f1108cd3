//! What keeps a request within bounds when something is slow or gone.

mod deadline;
mod hedge;

pub use deadline::Deadline;
pub use hedge::Hedge;
