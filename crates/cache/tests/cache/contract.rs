//! What every cache does, whatever stands behind it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use ragstone_cache::{CacheConfig, MemoryCache, open};
use ragstone_core::ports::Cache;
use ragstone_testkit::redis::{RedisCluster, RedisOptions, RedisSentinels, RedisServer, SERVICE};
use ragstone_testkit::tls::server_certificate;

use super::{connect, patient, say, sentinel_url, version, with_password};

async fn suite(name: &str, cache: Arc<dyn Cache>) {
    let started = Instant::now();
    cache.check().await.unwrap();
    values_come_back(&*cache).await;
    removed_and_missing_entries_are_none(&*cache).await;
    entries_live_as_long_as_they_may(&*cache).await;
    many_come_back_in_order(&*cache).await;
    many_at_once_do_not_mix(cache).await;
    say(format!("contract kept by {name} in {:?}", started.elapsed()));
}

/// Also those that look like something else on the wire.
async fn values_come_back(cache: &dyn Cache) {
    let big: Vec<u8> = (0..1_u32 << 20).map(|n| (n * 31 % 251) as u8).collect();
    let every_byte: Vec<u8> = (0..=255).collect();
    let odd = ["", "QUEUED", "OK", "Canceled", "READONLY x", "CLUSTERDOWN", "-ERR x\r\n", "message", "MOVED 1 a:1"];
    let mut values: Vec<Vec<u8>> = odd.map(|text| text.as_bytes().to_vec()).to_vec();
    values.extend([every_byte, vec![0], big]);
    for value in &values {
        for key in [&b"k"[..], b"", b"\x00\xff\r\n", b"{a}b", "Gr\u{fc}\u{df}e".as_bytes(), &[7; 5_000]] {
            cache.set(key, Bytes::copy_from_slice(value), None).await.unwrap();
            assert_eq!(cache.get(key).await.unwrap().as_deref(), Some(value.as_slice()), "{key:?}");
        }
    }
    let keys: Vec<Vec<u8>> = (0..values.len()).map(|n| format!("v{n}").into_bytes()).collect();
    let entries = keys.iter().cloned().zip(values.iter().cloned().map(Bytes::from)).collect();
    cache.set_many(entries, None).await.unwrap();
    let found = cache.get_many(&keys).await.unwrap();
    assert!(found.iter().zip(&values).all(|(found, value)| found.as_deref() == Some(value.as_slice())));
}

async fn removed_and_missing_entries_are_none(cache: &dyn Cache) {
    assert_eq!(cache.get(b"never").await.unwrap(), None);
    cache.remove(b"never").await.unwrap();
    cache.set(b"gone", "1".into(), None).await.unwrap();
    cache.remove(b"gone").await.unwrap();
    assert_eq!(cache.get(b"gone").await.unwrap(), None);
    cache.set(b"gone", "2".into(), None).await.unwrap();
    assert_eq!(cache.get(b"gone").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert!(cache.get_many(&[]).await.unwrap().is_empty());
    cache.set_many(Vec::new(), None).await.unwrap();
    assert_eq!(cache.get_many(&[b"never".to_vec()]).await.unwrap(), [None]);
}

async fn entries_live_as_long_as_they_may(cache: &dyn Cache) {
    let life = Duration::from_millis(400);
    let started = Instant::now();
    cache.set(b"short", "1".into(), Some(life)).await.unwrap();
    cache.set_many(vec![(b"short too".to_vec(), "1".into())], Some(life)).await.unwrap();
    cache.set(b"long", "1".into(), Some(Duration::from_secs(60))).await.unwrap();
    cache.set(b"renewed", "1".into(), Some(life)).await.unwrap();
    cache.set(b"renewed", "2".into(), None).await.unwrap();
    cache.set(b"longest", "1".into(), Some(Duration::MAX)).await.unwrap();
    let early = cache.get(b"short").await.unwrap();
    assert!(early.is_some() || started.elapsed() >= life, "an entry went before its time");
    for key in [&b"short"[..], b"short too"] {
        while cache.get(key).await.unwrap().is_some() {
            assert!(started.elapsed() < life * 5, "an entry outlives its time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(started.elapsed() >= life - Duration::from_millis(5), "{:?}", started.elapsed());
    assert!(cache.get(b"long").await.unwrap().is_some());
    assert!(cache.get(b"longest").await.unwrap().is_some());
    assert_eq!(cache.get(b"renewed").await.unwrap().as_deref(), Some(&b"2"[..]));
    // A life of no time is none, also of what was there before.
    cache.set(b"long", "2".into(), Some(Duration::ZERO)).await.unwrap();
    assert_eq!(cache.get(b"long").await.unwrap(), None);
    cache.set(b"blink", "1".into(), Some(Duration::from_nanos(1))).await.unwrap();
}

async fn many_come_back_in_order(cache: &dyn Cache) {
    let key = |n: usize| format!("many-{n}").into_bytes();
    let entries = (0..500).filter(|n| n % 3 != 0).map(|n| (key(n), Bytes::from(n.to_string()))).collect();
    cache.set_many(entries, None).await.unwrap();
    let mut keys: Vec<Vec<u8>> = (0..500).rev().map(key).collect();
    keys.push(key(1)); // twice
    let values = cache.get_many(&keys).await.unwrap();
    assert_eq!(values.len(), keys.len());
    for (n, value) in (0..500_usize).rev().zip(&values) {
        let expected = (n % 3 != 0).then(|| Bytes::from(n.to_string()));
        assert_eq!(*value, expected, "{n}");
    }
    assert_eq!(values.last().unwrap().as_deref(), Some(&b"1"[..]));
}

async fn many_at_once_do_not_mix(cache: Arc<dyn Cache>) {
    let tasks = (0..64_u32).map(|task| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for round in 0..20_u32 {
                let key = format!("task-{task}-{round}").into_bytes();
                let value = Bytes::from(format!("{task}:{round}").repeat(task as usize + 1));
                cache.set(&key, value.clone(), None).await.unwrap();
                assert_eq!(cache.get(&key).await.unwrap(), Some(value.clone()));
                let many = cache.get_many(&[b"never".to_vec(), key]).await.unwrap();
                assert_eq!(many, [None, Some(value)]);
            }
        })
    });
    for ended in join_all(tasks).await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    suite("MemoryCache", Arc::new(MemoryCache::new(64 << 20))).await;
    suite("what open() makes without Redis", open(&CacheConfig::default()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_with_a_password() {
    let server = RedisServer::start(with_password("p%s/:@")).await.unwrap();
    let name = version(&server).await;
    let config = patient(format!("redis://127.0.0.1:{}/3", server.port));
    let config = CacheConfig { redis_password: "p%s/:@".to_owned().into(), ..config };
    suite(&format!("RedisCache on {name}, password"), Arc::new(connect(&config).await)).await;
    // The prefix keeps installations apart, and the database in the URL counts.
    let keys = server.cli(&["-n", "3", "KEYS", "ragstone:many-1"]).await.unwrap();
    assert_eq!(keys, "ragstone:many-1");

    server.cli(&["ACL", "SETUSER", "me", "on", ">hush", "~*", "+@all"]).await.unwrap();
    let config = CacheConfig { memory_bytes: 0, ..patient(format!("redis://me:hush@127.0.0.1:{}", server.port)) };
    suite(&format!("what open() makes on {name}, user and password in the URL"), open(&config).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = server_certificate(dir.path(), &["localhost"]).unwrap();
    let ca = certificate.ca.clone();
    let server = RedisServer::start(RedisOptions { tls: Some(certificate), ..with_password("hush") }).await.unwrap();
    let config = CacheConfig {
        redis_password: "hush".to_owned().into(),
        redis_ca_file: Some(ca),
        ..patient(format!("rediss://localhost:{}", server.port))
    };
    suite(&format!("RedisCache on {}, TLS", version(&server).await), Arc::new(connect(&config).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_sentinels() {
    let servers = RedisSentinels::start("hush").await.unwrap();
    let config = CacheConfig { redis_password: "hush".to_owned().into(), ..patient(sentinel_url(&servers, SERVICE)) };
    let name = format!("RedisCache on {}, three Sentinels, one replica", version(&servers.primary).await);
    suite(&name, Arc::new(connect(&config).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster() {
    let cluster = RedisCluster::start(Some("hush")).await.unwrap();
    let config = CacheConfig {
        redis_password: "hush".to_owned().into(),
        ..patient(format!("redis-cluster://127.0.0.1:{}", cluster.servers[1].port))
    };
    let name = format!("on {}, cluster of three", version(&cluster.servers[0]).await);
    suite(&format!("RedisCache {name}"), Arc::new(connect(&config).await)).await;
    for server in &cluster.servers {
        let keys: usize = server.cli(&["DBSIZE"]).await.unwrap().parse().unwrap();
        assert!(keys > 300, "a server of the cluster has only {keys} keys");
        let errors = server.cli(&["INFO", "errorstats"]).await.unwrap();
        assert!(!errors.contains("MOVED"), "keys were sent to the wrong server: {errors}");
    }
    suite(&format!("TieredCache {name}"), open(&config).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_two_tiers() {
    let server = RedisServer::start(with_password("hush")).await.unwrap();
    let config = CacheConfig {
        redis_password: "hush".to_owned().into(),
        ..patient(format!("redis://127.0.0.1:{}", server.port))
    };
    let name = version(&server).await;
    suite(&format!("TieredCache on {name}"), open(&config).await.unwrap()).await;
    // So small and short that every other question goes on to Redis.
    let config = CacheConfig { memory_bytes: 10_000, memory_ttl_ms: 1, ..config };
    suite(&format!("TieredCache with hardly any memory on {name}"), open(&config).await.unwrap()).await;
}
