//! Rate limits counted by several limiters in one Redis: exact while it is there, shared out while it is not. Real servers.
#![expect(clippy::unwrap_used, reason = "tests")]

mod faults;
mod together;

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use ragstone_cache::{LimiterConfig, SharedLimiter};
use ragstone_core::TenantId;
use ragstone_core::ports::{Charge, Decision, Limit, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn config(url: impl Display) -> LimiterConfig {
    LimiterConfig { url: Some(url.to_string().into()), ..LimiterConfig::default() }
}

/// For tests of what is decided, not of how fast: the machine may be busy.
fn patient(url: impl Display) -> LimiterConfig {
    LimiterConfig { command_timeout_ms: 5_000, connect_timeout_ms: 5_000, ..config(url) }
}

async fn connect(config: &LimiterConfig, replicas: u32) -> SharedLimiter {
    SharedLimiter::connect(config, replicas).await.unwrap()
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn charge(key: &str, limit: Limit, cost: u64) -> Charge {
    Charge { policy: "queries", key: key.to_owned(), limit, cost }
}

async fn decide(limiter: &dyn RateLimiter, charges: &[Charge]) -> Decision {
    limiter.charge(&tenant(), charges).await.unwrap()
}

/// Said past the test harness, which shows a passing test's output to nobody.
fn say(what: impl Display) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "limiter: {what}").unwrap();
}
