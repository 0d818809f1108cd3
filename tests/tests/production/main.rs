//! The five processes on real servers: PostgreSQL, Redis, S3 and Qdrant's API with four shards of two replicas each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod backup;
mod main_job;
mod moving;
mod replicas;
mod servers;
mod workers;
