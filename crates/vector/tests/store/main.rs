//! The embedded store as its users see it. One binary, as each links the whole engine.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../contract/mod.rs"]
mod contract;
mod embedded;
mod latency;
mod moves;
mod quality;
mod recovery;
mod upgrade;

/// What every implementation must do.
mod edge {
    use crate::contract::contract;
    use crate::embedded::Embedded;

    contract!(Embedded);
}
