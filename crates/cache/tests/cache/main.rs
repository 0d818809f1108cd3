//! One contract that every cache keeps, and what each does when Redis fails. Real servers, started here.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod contract;
mod faults;
mod mistakes;
mod tiers;

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

use ragstone_cache::{CacheConfig, RedisCache, RedisUrl};
use ragstone_core::ports::Cache;
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_testkit::redis::{RedisOptions, RedisSentinels, RedisServer};

/// How soon a cache must serve again once Redis is back.
const BACK_WITHIN: Duration = Duration::from_secs(3);
/// What a call may take beyond its timeout.
const SLACK: Duration = Duration::from_millis(50);
/// What no call may take, however busy the machine is with other tests.
const HUNG: Duration = Duration::from_secs(1);

fn config(url: impl Display) -> CacheConfig {
    CacheConfig { redis_url: Some(RedisUrl::from(url.to_string())), ..CacheConfig::default() }
}

/// For tests of what is stored, not of how fast: the machine may be busy.
fn patient(url: impl Display) -> CacheConfig {
    CacheConfig { command_timeout_ms: 5_000, connect_timeout_ms: 5_000, ..config(url) }
}

fn with_password(password: &str) -> RedisOptions {
    RedisOptions { password: Some(password.to_owned()), ..RedisOptions::default() }
}

fn sentinel_url(servers: &RedisSentinels, service: &str) -> String {
    let [first, others @ ..] = servers.ports.as_slice() else { panic!("no Sentinel") };
    let nodes: String = others.iter().map(|port| format!("&node=127.0.0.1:{port}")).collect();
    format!("redis-sentinel://127.0.0.1:{first}?sentinelServiceName={service}{nodes}")
}

/// Said past the test harness, which shows a passing test's output to nobody.
fn say(what: impl Display) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "cache: {what}").unwrap();
}

async fn version(server: &RedisServer) -> String {
    let info = server.cli(&["INFO", "server"]).await.unwrap();
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    format!("Redis {}", version.trim())
}

/// How long until the cache stores and returns a new value.
async fn serves(cache: &dyn Cache, limit: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let key = format!("served-{:?}", started.elapsed()).into_bytes();
        let stored = cache.set(&key, "1".into(), None).await;
        if stored.is_ok() && cache.get(&key).await.is_ok_and(|value| value.as_deref() == Some(b"1")) {
            return started.elapsed();
        }
        assert!(started.elapsed() < limit, "not served within {limit:?}: {stored:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The error of a call that fails, and how long it took.
async fn fails<T: std::fmt::Debug>(call: impl Future<Output = Result<T>>) -> (Error, Duration) {
    let started = Instant::now();
    let error = call.await.expect_err("the call must fail");
    assert_eq!(error.code, ErrorCode::Unavailable, "{error:?}");
    (error, started.elapsed())
}

/// The time that nineteen of twenty calls kept; the machine's own stalls do not count against the cache.
fn usual(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let slowest = *times.last().unwrap();
    assert!(slowest < HUNG, "a call took {slowest:?}");
    times[times.len() * 19 / 20]
}

async fn connect(config: &CacheConfig) -> RedisCache {
    RedisCache::connect(config).await.unwrap()
}
