//! For tests: whole stacks of real processes, a REST client, a gate to hold calls between services.

pub mod client;
pub mod fake_openai;
pub mod gate;
pub mod model_server;
pub mod nginx;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod qdrant;
pub mod redis;
pub mod s3;
pub mod stack;
pub mod tls;
