//! The SQLite catalog against real files, with a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accept;
mod complete;
mod durability;
mod model;
mod queue;
mod read;
mod support;
