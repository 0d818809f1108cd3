//! Redis killed, stalled, full, failing over: calls fail fast and the cache is back soon after Redis is.

use std::time::{Duration, Instant};

use ragstone_cache::CacheConfig;
use ragstone_core::ErrorCode;
use ragstone_core::ports::Cache;
use ragstone_testkit::redis::{RedisCluster, RedisOptions, RedisSentinels, RedisServer, SERVICE};

use super::{BACK_WITHIN, SLACK, config, connect, fails, patient, say, sentinel_url, serves, usual, with_password};

async fn plain() -> (RedisServer, CacheConfig) {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let config = config(format!("redis://127.0.0.1:{}", server.port));
    (server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_killed_calls_fail_fast_and_soon_after_it_is_back_they_work() {
    let (mut server, config) = plain().await;
    let cache = connect(&config).await;
    serves(&cache, BACK_WITHIN).await;
    for _ in 0..2 {
        server.kill().await.unwrap();
        let (killed, mut times) = (Instant::now(), Vec::new());
        while killed.elapsed() < Duration::from_millis(1_500) {
            for (error, took) in [
                fails(cache.get(b"x")).await,
                fails(cache.set(b"x", "1".into(), None)).await,
                fails(cache.get_many(&[b"x".to_vec()])).await,
                fails(cache.remove(b"x")).await,
            ] {
                assert!(error.message.contains("Redis"), "{error:?}");
                times.push(took);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (calls, usual) = (times.len(), usual(times));
        assert!(usual < Duration::from_millis(config.command_timeout_ms) + SLACK, "calls took {usual:?}");
        let error = cache.check().await.unwrap_err();
        assert!(error.message.contains("cache.redis_url"), "{error:?}");
        server.start_again().unwrap();
        let took = serves(&cache, BACK_WITHIN).await;
        cache.check().await.unwrap();
        say(format!("killed: {calls} calls failed, 95 % of them in {usual:?}; back {took:?} after the restart"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_at_first_is_used_once_it_comes() {
    let (mut server, config) = plain().await;
    server.kill().await.unwrap();
    let cache = connect(&config).await;
    assert_eq!(cache.check().await.unwrap_err().code, ErrorCode::Unavailable);
    server.start_again().unwrap();
    serves(&cache, BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_stalled_calls_end_at_their_timeout() {
    let (server, config) = plain().await;
    let cache = connect(&config).await;
    serves(&cache, BACK_WITHIN).await;
    server.stall().await.unwrap();
    let (stalled, mut times) = (Instant::now(), Vec::new());
    let mut said_so = false;
    // Longer than the silence after which connections are given up.
    while stalled.elapsed() < Duration::from_millis(2_500) {
        let (error, took) = fails(cache.get(b"x")).await;
        // Later ones find the connection given up and cost nothing: they would only flatter.
        if stalled.elapsed() < Duration::from_millis(900) {
            times.push(took);
        }
        said_so |= error.message.contains("did not answer in time");
    }
    assert!(said_so);
    let usual = usual(times);
    assert!(usual < Duration::from_millis(config.command_timeout_ms) + SLACK, "calls took {usual:?}");
    // Connections that are known to be dead cost nothing at all.
    let quick = Instant::now();
    for _ in 0..200 {
        fails(cache.get(b"x")).await;
    }
    let each = quick.elapsed() / 200;
    assert!(each < Duration::from_millis(5), "{each:?}");
    server.resume().await.unwrap();
    let took = serves(&cache, BACK_WITHIN).await;
    say(format!(
        "stalled: 95 % of the calls failed in {usual:?}, later ones in {each:?}; back {took:?} after it went on"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_fails_many_calls_at_once_without_keeping_them() {
    let (server, config) = plain().await;
    let cache = connect(&config).await;
    serves(&cache, BACK_WITHIN).await;
    server.stall().await.unwrap();
    let started = Instant::now();
    let big = bytes::Bytes::from(vec![1; 100_000]);
    let calls =
        (0..5_000).map(|n: u32| cache.set(b"key", if n.is_multiple_of(50) { big.clone() } else { "1".into() }, None));
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|e| e.code == ErrorCode::Unavailable)));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    server.resume().await.unwrap();
    serves(&cache, BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_new_primary_serves() {
    let mut servers = RedisSentinels::start("hush").await.unwrap();
    let config = CacheConfig { redis_password: "hush".to_owned().into(), ..config(sentinel_url(&servers, SERVICE)) };
    let cache = connect(&config).await;
    serves(&cache, BACK_WITHIN).await;
    servers.primary.kill().await.unwrap();
    // The Sentinels take half a second to notice, vote, and promote the replica.
    let took = serves(&cache, Duration::from_secs(15)).await;
    assert!(servers.replica.cli(&["ROLE"]).await.unwrap().starts_with("master"));
    say(format!("failover: the new primary serves {took:?} after the old one was killed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_again_once_it_is_whole() {
    let mut cluster = RedisCluster::start(None).await.unwrap();
    let first = cluster.servers[0].port;
    let cache = connect(&patient(format!("redis-cluster://127.0.0.1:{first}"))).await;
    // The servers themselves take a moment to agree on the cluster.
    serves(&cache, Duration::from_secs(15)).await;
    cluster.servers[2].kill().await.unwrap();
    let keys: Vec<Vec<u8>> = (0..50).map(|n| format!("key-{n}").into_bytes()).collect();
    let (error, took) = fails(cache.get_many(&keys)).await;
    assert!(took < Duration::from_secs(1), "{took:?} {error:?}");
    cluster.servers[2].start_again().unwrap();
    // The servers themselves take a moment to agree that the cluster is whole.
    let took = serves(&cache, Duration::from_secs(15)).await;
    cache.get_many(&keys).await.unwrap();
    say(format!("cluster: served {took:?} after the killed server was started again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_nothing_and_says_so() {
    let (server, _) = plain().await;
    let cache = connect(&patient(format!("redis://127.0.0.1:{}", server.port))).await;
    cache.set(b"x", "1".into(), None).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let (error, _) = fails(cache.set(b"y", "1".into(), None)).await;
    assert!(error.message.contains("full"), "{error:?}");
    assert_eq!(cache.get(b"x").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert!(cache.check().await.unwrap_err().message.contains("full"));
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    cache.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_reported_and_healed() {
    let server = RedisServer::start(with_password("old")).await.unwrap();
    let config =
        CacheConfig { redis_password: "old".to_owned().into(), ..config(format!("redis://127.0.0.1:{}", server.port)) };
    let cache = connect(&config).await;
    serves(&cache, BACK_WITHIN).await;
    let change = |to: &'static str| ["CONFIG", "SET", "requirepass", to];
    server.cli(&change("new")).await.unwrap();
    let with_new = ["-a", "new", "--no-auth-warning"];
    let kill = [with_new.as_slice(), &["CLIENT", "KILL", "TYPE", "normal"]].concat();
    server.cli(&kill).await.unwrap();
    fails(cache.get(b"x")).await;
    let started = Instant::now();
    loop {
        let error = cache.check().await.unwrap_err();
        if error.code == ErrorCode::InvalidArgument {
            assert!(error.message.contains("cache.redis_password"), "{error:?}");
            break;
        }
        assert!(started.elapsed() < BACK_WITHIN, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A call is never told that it is to blame.
    fails(cache.get(b"x")).await;
    server.cli(&[with_new.as_slice(), &change("old")].concat()).await.unwrap();
    serves(&cache, BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_as_many_as_configured_and_close_with_the_cache() {
    let (mut server, config) = plain().await;
    let cache = connect(&config).await;
    for _ in 0..3 {
        server.kill().await.unwrap();
        server.start_again().unwrap();
        serves(&cache, BACK_WITHIN).await;
    }
    assert_connections(&server, config.redis_pool_size).await;
    drop(cache);
    assert_connections(&server, 0).await;
}

async fn assert_connections(server: &RedisServer, wanted: usize) {
    let started = Instant::now();
    loop {
        let clients = server.cli(&["CLIENT", "LIST"]).await.unwrap();
        let count = clients.lines().filter(|line| !line.contains("cmd=client|list")).count();
        if count == wanted {
            return;
        }
        assert!(started.elapsed() < BACK_WITHIN, "{count} connections, not {wanted}:\n{clients}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
