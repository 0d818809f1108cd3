//! The gateway as its clients see it: a real server on loopback, before hand-written backends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod backends;
mod documents;
mod fetch;
mod grpc;
mod ingestion;
mod jobs;
mod overload;
mod problems;
mod query;
mod rerank;
mod search;
mod stack;
mod stream;
