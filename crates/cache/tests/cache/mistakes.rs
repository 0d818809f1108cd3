//! Every wrong setting is named in one sentence, and no password is.

use ragstone_cache::{CacheConfig, open};
use ragstone_core::ErrorCode;
use ragstone_testkit::redis::{RedisCluster, RedisOptions, RedisSentinels, RedisServer};
use ragstone_testkit::tls::server_certificate;

use super::{config, patient, say, sentinel_url, with_password};

/// `open` fails, and its message holds all of `words`.
async fn refused(config: CacheConfig, words: &[&str]) {
    let error = match open(&config).await {
        Ok(cache) => panic!("{words:?}: it was accepted: {:?}", cache.check().await),
        Err(error) => error,
    };
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{}", error.chain());
    assert!(words.iter().all(|word| error.message.contains(word)), "{words:?}: {}", error.chain());
    assert!(!error.chain().contains("hush"), "{}", error.chain());
    say(format!("refused: {}", error.message));
}

fn password(config: CacheConfig) -> CacheConfig {
    CacheConfig { redis_password: "hush".to_owned().into(), ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let locked = RedisServer::start(with_password("right")).await.unwrap();
    let url = |port: u16| patient(format!("redis://127.0.0.1:{port}"));
    refused(password(url(locked.port)), &["cache.redis_password", "wrong"]).await;
    refused(url(locked.port), &["cache.redis_password", "not set"]).await;
    refused(patient(format!("redis://me:hush@127.0.0.1:{}", locked.port)), &["cache.redis_username"]).await;
    locked.cli(&["ACL", "SETUSER", "reader", "on", ">hush", "~*", "+@all", "-set"]).await.unwrap();
    let reader = CacheConfig { redis_username: "reader".into(), ..password(url(locked.port)) };
    let error = open(&reader).await.unwrap().check().await.unwrap_err();
    assert!(error.message.contains("cache.redis_username"), "{}", error.chain());
}

/// Redis quotes the arguments of a command it does not know: here the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_redis_quotes_is_not_shown() {
    let args = ["--rename-command", "AUTH", ""].map(str::to_owned).to_vec();
    let server = RedisServer::start(RedisOptions { args, ..RedisOptions::default() }).await.unwrap();
    let cache = open(&password(patient(format!("redis://127.0.0.1:{}", server.port)))).await.unwrap();
    let error = cache.check().await.unwrap_err();
    assert!(error.message.contains("cache.redis_password"), "{}", error.chain());
    assert!(error.chain().contains("***") && !error.chain().contains("hush"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let certificate = server_certificate(dir.path(), &["localhost"]).unwrap();
    let stranger = server_certificate(other.path(), &["localhost"]).unwrap();
    let options = RedisOptions { tls: Some(certificate.clone()), ..RedisOptions::default() };
    let server = RedisServer::start(options).await.unwrap();
    let port = server.port;
    let trusting = |url: String, ca| CacheConfig { redis_ca_file: Some(ca), ..patient(url) };
    let by_name = format!("rediss://localhost:{port}");

    open(&trusting(by_name.clone(), certificate.ca.clone())).await.unwrap().check().await.unwrap();
    refused(trusting(format!("rediss://127.0.0.1:{port}"), certificate.ca.clone()), &["cache.redis_url", "host"]).await;
    refused(trusting(by_name.clone(), stranger.ca), &["cache.redis_ca_file"]).await;
    refused(trusting(by_name.clone(), dir.path().join("absent.pem")), &["cache.redis_ca_file", "absent.pem"]).await;
    refused(trusting(by_name, certificate.key.clone()), &["cache.redis_ca_file"]).await;

    // Hanging up is also what a server does that is just stopping: not a reason to end this process.
    for config in [patient(format!("redis://localhost:{port}")), password(patient(format!("redis://localhost:{port}")))]
    {
        let error = open(&config).await.unwrap().check().await.unwrap_err();
        assert!(error.message.contains("cache.redis_url must begin with rediss://"), "{}", error.chain());
    }
    // Saying nothing is also what a server does that is overloaded.
    let plain = RedisServer::start(RedisOptions::default()).await.unwrap();
    let config = trusting(format!("rediss://localhost:{}", plain.port), certificate.ca);
    let config = CacheConfig { connect_timeout_ms: 500, ..config };
    let error = open(&config).await.unwrap().check().await.unwrap_err();
    assert!(error.message.contains("cache.redis_url must begin with redis://"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_kinds_of_redis() {
    let single = RedisServer::start(RedisOptions::default()).await.unwrap();
    let cluster = RedisCluster::start(None).await.unwrap();
    let sentinels = RedisSentinels::start("hush").await.unwrap();
    let member = cluster.servers[0].port;
    refused(patient(format!("redis-cluster://127.0.0.1:{}", single.port)), &["cache.redis_url", "no cluster"]).await;
    refused(patient(format!("redis://127.0.0.1:{member}")), &["redis-cluster://"]).await;
    refused(patient(format!("redis://127.0.0.1:{}/99", single.port)), &["cache.redis_url", "database"]).await;
    refused(password(patient(sentinel_url(&sentinels, "other"))), &["sentinelServiceName"]).await;
    refused(patient(sentinel_url(&sentinels, "ragstone")), &["cache.redis_password"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let port = ragstone_testkit::ports::free_port().unwrap();
    for (url, says) in [
        (format!("redis://127.0.0.1:{port}"), "cache.redis_url"),
        (format!("redis-cluster://127.0.0.1:{port}"), "cache.redis_url"),
        (format!("redis-sentinel://127.0.0.1:{port}?sentinelServiceName=x"), "no Sentinel in cache.redis_url"),
        ("redis://no.such.host.invalid".to_owned(), "cache.redis_url"),
    ] {
        let cache = open(&config(&url)).await.unwrap();
        let error = cache.check().await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable, "{url}");
        assert!(error.message.contains(says), "{url}: {}", error.chain());
    }
}
