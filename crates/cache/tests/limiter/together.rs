//! What limiters decide together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use ragstone_cache::{LimiterConfig, RedisUrl, open_limiter};
use ragstone_core::ErrorCode;
use ragstone_core::ports::{Limit, RateLimiter, Settlement};
use ragstone_testkit::redis::{RedisCluster, RedisOptions, RedisServer};

use super::{HOUR, SECOND, charge, connect, decide, patient, say, tenant};

async fn one_server() -> (RedisServer, LimiterConfig) {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let config = patient(format!("redis://127.0.0.1:{}", server.port));
    (server, config)
}

/// Three limiters, each with several callers at once, against one bucket: what they let in together is the burst and the
/// rate, within 1 %.
async fn hammer(name: &str, config: LimiterConfig) {
    const FOR: Duration = Duration::from_secs(4);
    let limit = Limit::new(500, SECOND, 200).unwrap();
    let mut limiters: Vec<Arc<dyn RateLimiter>> = Vec::new();
    for _ in 0..3 {
        limiters.push(open_limiter(&config, 3).await.unwrap());
    }
    let started = Instant::now();
    let callers = limiters.iter().flat_map(|limiter| vec![limiter.clone(); 4]).map(|limiter| {
        tokio::spawn(async move {
            let (mut calls, mut allowed, mut last) = (0_u64, 0_u64, started);
            while started.elapsed() < FOR {
                let decision = decide(&*limiter, &[charge("subject", limit, 1), charge("", limit, 1)]).await;
                assert!(!decision.local);
                calls += 1;
                allowed += u64::from(decision.allowed);
                last = Instant::now();
            }
            (calls, allowed, last)
        })
    });
    let ended: Vec<_> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    let calls: u64 = ended.iter().map(|(calls, ..)| calls).sum();
    let allowed: u64 = ended.iter().map(|(_, allowed, _)| allowed).sum();
    let took = ended.iter().map(|(.., last)| last.duration_since(started)).max().unwrap();
    let expected = 200.0 + 500.0 * took.as_secs_f64();
    let off = (allowed as f64 - expected) / expected;
    say(format!(
        "{name}: {allowed} of {calls} calls let in during {took:?}, {expected:.1} expected: {:.3} % off",
        off * 100.0
    ));
    assert!(calls > 2 * allowed, "too few calls to prove anything: {calls}");
    assert!(off.abs() < 0.01, "{allowed} let in, {expected} expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_limiters_on_one_server_are_exact() {
    let (server, config) = one_server().await;
    hammer("one server", config).await;
    // One round trip for both buckets of a call, and the script was sent once for each connection at most.
    let stats = server.cli(&["INFO", "commandstats"]).await.unwrap();
    let calls = |name: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    assert!(calls("eval") <= 12 && calls("evalsha") > 1_000, "{stats}");
    assert_eq!(calls("mget"), calls("evalsha"), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_limiters_on_a_cluster_are_exact() {
    let cluster = RedisCluster::start(Some("hush")).await.unwrap();
    let config = LimiterConfig {
        password: "hush".to_owned().into(),
        ..patient(format!("redis-cluster://127.0.0.1:{}", cluster.servers[1].port))
    };
    hammer("cluster of three", config.clone()).await;
    // Many tenants, odd names too: each on some server, all of its buckets together.
    let limiter = connect(&config, 1).await;
    let limit = Limit::new(1, HOUR, 1).unwrap();
    for name in (0..60).map(|n| format!("tenant {n}")).chain(["}", "{}", "a}b{c", "{a}b", "\u{e9}{"].map(str::to_owned))
    {
        let tenant = ragstone_core::TenantId::new(name.as_str()).unwrap();
        let charges = ["", "a", "b", "{x}"].map(|key| charge(key, limit, 1));
        for allowed in [true, false] {
            let decision = limiter.charge(&tenant, &charges).await.unwrap();
            assert_eq!((decision.allowed, decision.local), (allowed, false), "{name}");
        }
    }
    for server in &cluster.servers {
        let keys: usize = server.cli(&["DBSIZE"]).await.unwrap().parse().unwrap();
        assert!(keys > 20, "a server of the cluster has only {keys} keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_charges_are_taken_or_none() {
    let (_server, config) = one_server().await;
    let (first, second) = (connect(&config, 2).await, connect(&config, 2).await);
    let (wide, narrow) = (Limit::new(10, HOUR, 10).unwrap(), Limit::new(2, HOUR, 2).unwrap());
    let both = [charge("wide", wide, 1), charge("narrow", narrow, 1)];
    for limiter in [&first, &second] {
        assert!(decide(limiter, &both).await.allowed);
    }
    for limiter in [&first, &second] {
        let refused = decide(limiter, &both).await;
        assert!(!refused.allowed);
        let [wide, narrow] = refused.standings[..] else { unreachable!() };
        assert_eq!((wide.remaining, wide.retry_after), (8, Duration::ZERO));
        assert_eq!(narrow.remaining, 0);
        assert!(narrow.retry_after > HOUR / 2 - Duration::from_secs(30) && narrow.retry_after <= HOUR / 2);
        assert_eq!(refused.retry_after(), narrow.retry_after);
    }
    // Refused calls took nothing from the other bucket.
    assert_eq!(decide(&first, &both[..1]).await.standings[0].remaining, 7);
    // Costs count as so many.
    assert_eq!(decide(&first, &[charge("wide", wide, 6)]).await.standings[0].remaining, 1);
    assert!(!decide(&second, &[charge("wide", wide, 2)]).await.allowed);
    assert!(decide(&second, &[charge("wide", wide, 1)]).await.allowed);
    for wrong in [vec![charge("new", wide, 11)], vec![both[0].clone(), both[0].clone()]] {
        let error = first.charge(&tenant(), &wrong).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_settled_afterwards() {
    let (server, config) = one_server().await;
    let limiter = connect(&config, 1).await;
    let limit = Limit::new(1_000, HOUR, 1_000).unwrap();
    let estimate = charge("tokens", limit, 400);
    let settle = async |used: u64| {
        limiter.settle(&tenant(), &[Settlement { charge: estimate.clone(), used }]).await.unwrap();
    };
    let remaining = async || decide(&limiter, &[charge("tokens", limit, 0)]).await.standings[0].remaining;
    assert!(decide(&limiter, std::slice::from_ref(&estimate)).await.allowed);
    settle(100).await;
    assert_eq!(remaining().await, 900);
    assert!(decide(&limiter, std::slice::from_ref(&estimate)).await.allowed);
    settle(400).await;
    assert_eq!(remaining().await, 500);
    // Far more than there was: into debt, which time pays off.
    assert!(decide(&limiter, std::slice::from_ref(&estimate)).await.allowed);
    settle(3_000).await;
    let refused = decide(&limiter, &[charge("tokens", limit, 0)]).await;
    assert_eq!((refused.allowed, refused.standings[0].remaining), (false, 0));
    let debt = refused.retry_after().as_secs_f64() / 3.6;
    assert!((debt - 2_500.0).abs() < 10.0, "{debt}");
    // Giving back more than was ever taken makes no credit, and leaves nothing behind.
    for _ in 0..9 {
        settle(0).await;
    }
    assert_eq!(remaining().await, 1_000);
    assert_eq!(server.cli(&["DBSIZE"]).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expire_when_their_bucket_is_empty_and_name_no_subject() {
    let (server, config) = one_server().await;
    let limiter = connect(&LimiterConfig { key_prefix: "here:".to_owned(), ..config }, 1).await;
    decide(&limiter, &[charge("ann@example.com", Limit::new(60, HOUR, 60).unwrap(), 30)]).await;
    let key = server.cli(&["KEYS", "*"]).await.unwrap();
    assert!(key.starts_with("here:limit:{acme}:queries:") && !key.contains("ann"), "{key}");
    let life: u64 = server.cli(&["PTTL", &key]).await.unwrap().parse().unwrap();
    assert!((1_790_000..=1_800_001).contains(&life), "{life}");
    decide(&limiter, &[charge("short", Limit::new(10, SECOND, 1).unwrap(), 1)]).await;
    assert_eq!(server.cli(&["DBSIZE"]).await.unwrap(), "2");
    let started = Instant::now();
    while server.cli(&["DBSIZE"]).await.unwrap() != "1" {
        assert!(started.elapsed() < Duration::from_secs(5), "an idle key stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_one_process_counts_and_says_nothing_of_it() {
    let limiter = open_limiter(&LimiterConfig::default(), 1).await.unwrap();
    limiter.check().await.unwrap();
    let limit = Limit::new(3, HOUR, 3).unwrap();
    for n in 0..5 {
        let decision = decide(&*limiter, &[charge("x", limit, 1)]).await;
        assert_eq!((decision.allowed, decision.local), (n < 3, false));
    }
    let wrong = LimiterConfig { url: Some(RedisUrl::from("http://x".to_owned())), ..LimiterConfig::default() };
    let error = open_limiter(&wrong, 1).await.err().unwrap();
    assert!(error.message.contains("limits.redis.url"), "{error}");
}
