//! The catalog's contract, against SQLite and a real PostgreSQL server, with a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accept;
mod complete;
mod durability;
mod model;
mod queue;
mod read;
mod server;
mod support;
