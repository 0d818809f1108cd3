//! The tier in memory: what it answers when Redis cannot, and for how long.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ragstone_cache::{CacheConfig, open};
use ragstone_core::ErrorCode;
use ragstone_core::ports::Cache;
use ragstone_testkit::redis::{RedisOptions, RedisServer};

use super::{BACK_WITHIN, connect, fails, patient, serves};

async fn plain() -> (RedisServer, CacheConfig) {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let config = patient(format!("redis://127.0.0.1:{}", server.port));
    (server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_memory_answers_what_it_can() {
    let (mut server, config) = plain().await;
    let (cache, other) = (open(&config).await.unwrap(), connect(&config).await);
    cache.set(b"written", "1".into(), None).await.unwrap();
    other.set(b"read", "2".into(), None).await.unwrap();
    other.set(b"unread", "3".into(), None).await.unwrap();
    assert_eq!(cache.get(b"read").await.unwrap().as_deref(), Some(&b"2"[..]));
    server.kill().await.unwrap();

    assert_eq!(cache.get(b"written").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(cache.get(b"read").await.unwrap().as_deref(), Some(&b"2"[..]));
    fails(cache.get(b"unread")).await;
    let keys = [b"written".to_vec(), b"unread".to_vec(), b"read".to_vec()];
    let values = cache.get_many(&keys).await.unwrap();
    assert_eq!(values, [Some(Bytes::from("1")), None, Some(Bytes::from("2"))]);
    fails(cache.get_many(&keys[1..2])).await;
    cache.set(b"late", "4".into(), None).await.unwrap();
    assert_eq!(cache.get(b"late").await.unwrap().as_deref(), Some(&b"4"[..]));
    // Redis may still have it: only the caller can decide what that means.
    fails(cache.remove(b"written")).await;
    assert_eq!(cache.check().await.unwrap_err().code, ErrorCode::Unavailable);

    server.start_again().unwrap();
    serves(&other, BACK_WITHIN).await;
    let started = Instant::now();
    while cache.get(b"unread").await.is_err() {
        assert!(started.elapsed() < BACK_WITHIN);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_is_seen_after_the_memory_s_time() {
    let (_server, config) = plain().await;
    let config = CacheConfig { memory_ttl_ms: 300, ..config };
    let (cache, other) = (open(&config).await.unwrap(), connect(&config).await);
    cache.set(b"x", "old".into(), None).await.unwrap();
    let started = Instant::now();
    other.set(b"x", "new".into(), None).await.unwrap();
    while cache.get(b"x").await.unwrap().as_deref() != Some(b"new") {
        assert!(started.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The other way round at once: writes go to both.
    cache.set(b"x", "newest".into(), None).await.unwrap();
    assert_eq!(other.get(b"x").await.unwrap().as_deref(), Some(&b"newest"[..]));
    cache.remove(b"x").await.unwrap();
    assert_eq!(other.get(b"x").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_nothing_beyond_its_life_in_redis() {
    let (_server, config) = plain().await;
    let (cache, other) = (open(&config).await.unwrap(), connect(&config).await);
    let life = Duration::from_millis(800);
    let started = Instant::now();
    other.set(b"x", "1".into(), Some(life)).await.unwrap();
    let fetched = cache.get(b"x").await.unwrap();
    assert!(fetched.is_some() || started.elapsed() >= life);
    while cache.get(b"x").await.unwrap().is_some() {
        assert!(started.elapsed() < life * 3, "memory outlives Redis");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
