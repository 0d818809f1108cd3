//! The catalog (documents, versions, chunk texts, jobs) in SQLite, and raw bodies in a local directory: the truth that
//! everything else is derived from.

mod blobs;
mod clock;
mod durable;
mod sqlite;

pub use blobs::LocalBlobs;
pub use clock::{Clock, system_clock};
pub use sqlite::SqliteCatalog;
