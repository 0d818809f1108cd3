//! The script's arithmetic against the reference, on a real Redis whose clock is a key.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use fred::interfaces::KeysInterface as _;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ragstone_core::ports::Limit;
use ragstone_testkit::redis::{RedisOptions, RedisServer};

use super::super::bucket_ids;
use super::super::reference::{Action, Reference, charge, charges, history, settlement};
use super::*;

/// Keys that nobody reads on Redis' own clock must not expire on it.
const TEST_CLOCK: &str = "
    local now, real = tonumber(redis.call('GET', 'now')), redis
    local redis = { call = function(name, ...)
        local key, value = ...
        if name == 'SET' then return real.call(name, key, value) end
        return real.call(name, ...)
    end }
";
/// Today: the size of numbers matters.
const START: u64 = 1_795_000_000_000_000;
const HISTORIES: usize = 300;

async fn connect(server: &RedisServer, clock: &str) -> RedisBuckets {
    let config = LimiterConfig {
        url: Some(format!("redis://127.0.0.1:{}", server.port).into()),
        command_timeout_ms: 5_000,
        ..LimiterConfig::default()
    };
    RedisBuckets::with_clock(&config, clock).await.unwrap()
}

async fn set_clock(buckets: &RedisBuckets, now: u64) {
    let now = now.to_string();
    buckets
        .pool
        .call(|client| async move { client.set::<(), _, _>("now", now, None, None, false).await })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_decides_as_the_reference_does() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let buckets = connect(&server, TEST_CLOCK).await;
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (mut allowed, mut refused) = (0, 0);
    for n in 0..HISTORIES {
        let (limits, steps) = history(40).new_tree(&mut runner).unwrap().current();
        let tenant = TenantId::new(format!("t{n}")).unwrap();
        let (mut reference, mut now) = (Reference::new(&limits, MAX_LEVEL), START);
        for step in &steps {
            now += step.after;
            set_clock(&buckets, now).await;
            let context = || format!("seed {seed}, {limits:?}, {steps:?}, at {step:?}");
            match &step.action {
                Action::Charge(costs) => {
                    let charges = charges(&limits, costs);
                    let ids = bucket_ids(&tenant, charges.iter()).unwrap();
                    let decision = buckets.charge(&tenant, &charges, &ids).await.unwrap();
                    *(if decision.allowed { &mut allowed } else { &mut refused }) += 1;
                    assert_eq!(decision, reference.charge(&charges, now), "{}", context());
                }
                Action::Settle(bucket, cost, used) => {
                    let settlement = settlement(&limits, *bucket, *cost, *used);
                    let ids = bucket_ids(&tenant, std::iter::once(&settlement.charge)).unwrap();
                    buckets.settle(&tenant, std::slice::from_ref(&settlement), &ids).await.unwrap();
                    reference.settle(&settlement, now);
                }
            }
        }
    }
    assert!(allowed > 500 && refused > 500, "{allowed} allowed, {refused} refused: one side is hardly tested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_locks_nobody_out() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let buckets = connect(&server, TEST_CLOCK).await;
    let tenant = TenantId::new("t").unwrap();
    let charges = [charge(&[Limit::new(1, Duration::from_secs(1), 1).unwrap()], 0, 1)];
    let ids = bucket_ids(&tenant, charges.iter()).unwrap();
    for (now, allowed) in [
        (START, true),
        (START - 3_600_000_000, false),
        (START - 3_600_000_000 + 999_999, false),
        (START - 3_600_000_000 + 1_000_000, true),
    ] {
        set_clock(&buckets, now).await;
        assert_eq!(buckets.charge(&tenant, &charges, &ids).await.unwrap().allowed, allowed, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_clock_is_that_of_redis() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let buckets = connect(&server, CLOCK).await;
    let tenant = TenantId::new("t").unwrap();
    let charges = [charge(&[Limit::new(1, Duration::from_secs(3600), 1).unwrap()], 0, 1)];
    let ids = bucket_ids(&tenant, charges.iter()).unwrap();
    assert!(buckets.charge(&tenant, &charges, &ids).await.unwrap().allowed);
    let key = server.cli(&["KEYS", "*"]).await.unwrap();
    let stored = server.cli(&["GET", &key]).await.unwrap();
    let (level, at) = stored.split_once(' ').unwrap();
    assert_eq!(level, "3600000000");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(now.abs_diff(at.parse().unwrap()) < 60_000_000, "{at} is not now, {now}");
}
