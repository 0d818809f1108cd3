//! The edge against attackers, from outside: every surface of a live gateway, with and without credentials.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod audit;
mod credentials;
mod groups;
mod hostile;
mod idempotency;
mod limits;
mod naughty;
mod routes;
mod scopes;
mod slow;
mod tenants;
mod world;
