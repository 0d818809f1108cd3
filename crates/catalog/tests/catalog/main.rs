//! The catalog's contract, against SQLite and a real PostgreSQL server, with a clock that the tests move.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accept;
mod audit;
mod backup;
mod complete;
mod durability;
mod faults;
mod groups;
mod idempotency;
mod keyword;
mod ledger;
mod maintenance;
mod model;
mod postgres;
mod queue;
mod read;
mod server;
mod support;
