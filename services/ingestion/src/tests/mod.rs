//! The worker and its pipeline on a real catalog and real bodies, with an embedder and an index that obey the tests.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accepting;
mod auditing;
mod crashes;
mod fakes;
mod fixture;
mod following;
mod moving;
mod outcomes;
