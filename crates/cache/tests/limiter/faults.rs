//! Redis killed, stalled, full, without its scripts, with a wrong password.

use std::time::{Duration, Instant};

use ragstone_cache::{LimiterConfig, SharedLimiter, open_limiter};
use ragstone_core::ErrorCode;
use ragstone_core::ports::{Limit, RateLimiter, Settlement};
use ragstone_testkit::redis::{RedisCluster, RedisOptions, RedisServer};

use super::{HOUR, charge, config, connect, decide, patient, say, tenant};

/// How soon Redis must decide again once it is back.
const BACK_WITHIN: Duration = Duration::from_secs(3);

async fn one_server() -> (RedisServer, String) {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port);
    (server, url)
}

/// Waits until Redis decides.
async fn decided_by_redis(limiter: &SharedLimiter) -> Duration {
    let started = Instant::now();
    let limit = Limit::new(1_000_000, HOUR, 1_000_000).unwrap();
    while decide(limiter, &[charge("probe", limit, 1)]).await.local {
        assert!(started.elapsed() < BACK_WITHIN, "Redis is back, but not used");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

/// How many of `calls` are let in, and whether all were decided locally.
async fn count(limiters: &[SharedLimiter], limit: Limit, calls: usize) -> (usize, bool) {
    let (mut allowed, mut local) = (0, 0);
    for n in 0..calls {
        let decision = decide(&limiters[n % limiters.len()], &[charge("x", limit, 1)]).await;
        allowed += usize::from(decision.allowed);
        local += usize::from(decision.local);
    }
    assert!(local == 0 || local == calls, "{local} of {calls} decided locally");
    (allowed, local > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_killed_each_lets_in_its_share_and_afterwards_all_are_exact_again() {
    let (mut server, url) = one_server().await;
    let mut limiters = Vec::new();
    for _ in 0..3 {
        limiters.push(connect(&patient(&url), 3).await);
    }
    let limit = Limit::new(30, HOUR, 30).unwrap();
    assert_eq!(count(&limiters, limit, 90).await, (30, false));
    for _ in 0..2 {
        server.kill().await.unwrap();
        while !decide(&limiters[0], &[charge("y", limit, 0)]).await.local {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(limiters[0].check().await.unwrap_err().code, ErrorCode::Unavailable);
        let quick = Instant::now();
        let (allowed, local) = count(&limiters, limit, 900).await;
        let each = quick.elapsed() / 900;
        assert!(local && allowed <= 30, "{allowed}");
        assert!(each < Duration::from_millis(5), "a decision without Redis takes {each:?}");
        server.start_again().unwrap();
        let mut back = Duration::ZERO;
        for limiter in &limiters {
            back = back.max(decided_by_redis(limiter).await);
        }
        // Started empty: the whole burst is there again, for all together.
        assert_eq!(count(&limiters, limit, 90).await, (30, false));
        say(format!("killed: {allowed} of 30 let in by shares, {each:?} each; back {back:?} after the restart"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_share_is_let_in_in_full() {
    let (mut server, url) = one_server().await;
    let limiters = [connect(&config(&url), 3).await, connect(&config(&url), 3).await];
    server.kill().await.unwrap();
    let limit = Limit::new(31, HOUR, 31).unwrap();
    for limiter in limiters {
        while limiter.check().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(count(&[limiter], limit, 50).await, (10, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_stalled_a_decision_waits_no_longer_than_the_limit() {
    let (server, url) = one_server().await;
    let limiter = connect(&config(&url), 2).await;
    decided_by_redis(&limiter).await;
    server.stall().await.unwrap();
    let limit = Limit::new(10, HOUR, 10).unwrap();
    let (stalled, mut times, mut allowed) = (Instant::now(), Vec::new(), 0);
    while stalled.elapsed() < Duration::from_millis(900) {
        let started = Instant::now();
        let decision = decide(&limiter, &[charge("x", limit, 1)]).await;
        assert!(decision.local);
        allowed += usize::from(decision.allowed);
        times.push(started.elapsed());
    }
    assert_eq!(allowed, 5);
    times.sort_unstable();
    let usual = times[times.len() * 19 / 20];
    assert!(usual < Duration::from_millis(20 + 50), "decisions took {usual:?}");
    server.resume().await.unwrap();
    let back = decided_by_redis(&limiter).await;
    say(format!("stalled: 95 % of the decisions within {usual:?}; back {back:?} after it went on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_its_scripts_is_told_again() {
    let (server, url) = one_server().await;
    let limiter = connect(&patient(&url), 1).await;
    let limit = Limit::new(5, HOUR, 5).unwrap();
    for n in 0..8 {
        server.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
        let decision = decide(&limiter, &[charge("x", limit, 1)]).await;
        assert_eq!((decision.allowed, decision.local), (n < 5, false), "{n}");
    }
    // Also on a server of a cluster that has not seen it yet.
    let cluster = RedisCluster::start(None).await.unwrap();
    let limiter = connect(&patient(format!("redis-cluster://127.0.0.1:{}", cluster.servers[0].port)), 1).await;
    for n in 0..20 {
        let tenant = ragstone_core::TenantId::new(format!("t{n}")).unwrap();
        assert!(!limiter.charge(&tenant, &[charge("x", limit, 1)]).await.unwrap().local, "{n}");
        for server in &cluster.servers {
            server.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_and_a_strange_value_stop_nobody() {
    let args = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"].map(str::to_owned).to_vec();
    let full = RedisServer::start(RedisOptions { args, ..RedisOptions::default() }).await.unwrap();
    let limiter = connect(&patient(format!("redis://127.0.0.1:{}", full.port)), 1).await;
    let limit = Limit::new(2, HOUR, 2).unwrap();
    for n in 0..4 {
        let decision = decide(&limiter, &[charge("x", limit, 1)]).await;
        assert_eq!((decision.allowed, decision.local), (n < 2, true));
    }

    let (server, url) = one_server().await;
    let limiter = connect(&patient(&url), 1).await;
    assert!(decide(&limiter, &[charge("x", limit, 1)]).await.allowed);
    let key = server.cli(&["KEYS", "*"]).await.unwrap();
    for command in [["SET", key.as_str(), "-1 junk"], ["LPUSH", key.as_str(), "1"]] {
        server.cli(&["DEL", &key]).await.unwrap();
        server.cli(&command).await.unwrap();
        let decision = decide(&limiter, &[charge("x", limit, 1)]).await;
        assert_eq!((decision.standings[0].remaining, decision.local), (1, false), "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_settled_without_redis_too() {
    let (mut server, url) = one_server().await;
    let limiter = connect(&config(&url), 2).await;
    server.kill().await.unwrap();
    while limiter.check().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let limit = Limit::new(1_000, HOUR, 1_000).unwrap();
    // More than the share of the burst, when nothing else was used.
    let estimate = charge("tokens", limit, 800);
    assert!(decide(&limiter, std::slice::from_ref(&estimate)).await.allowed);
    assert!(!decide(&limiter, &[charge("tokens", limit, 1)]).await.allowed);
    limiter.settle(&tenant(), &[Settlement { charge: estimate, used: 100 }]).await.unwrap();
    assert_eq!(decide(&limiter, &[charge("tokens", limit, 0)]).await.standings[0].remaining, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named() {
    let options = RedisOptions { password: Some("right".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start(options).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port);
    let wrong = LimiterConfig { password: "hush".to_owned().into(), ..patient(&url) };
    for (config, key) in [(wrong, "limits.redis.password"), (patient(&url), "limits.redis.password")] {
        let error = open_limiter(&config, 1).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains(key) && !error.chain().contains("hush"), "{}", error.chain());
    }
}
