//! The catalog (documents, versions, chunk texts, jobs) in SQLite or PostgreSQL, and raw bodies in a local directory or an
//! S3-compatible store: the truth that everything else is derived from.

mod blobs;
mod chain;
mod clock;
mod cursor;
mod durable;
mod postgres;
mod sqlite;
mod tables;
mod words;

pub use blobs::{BlobsConfig, LocalBlobs, S3Blobs, S3Config, open_blobs};
pub use clock::{Clock, system_clock};
pub use postgres::{PostgresCatalog, PostgresConfig};
pub use sqlite::SqliteCatalog;
