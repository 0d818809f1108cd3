//! The embedded store as its users see it. One binary, as each links the whole engine.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod common;
mod filters;
mod keywords;
mod latency;
mod quality;
mod recovery;
mod replace;
mod validation;
