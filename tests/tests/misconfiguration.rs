//! Settings of servers that cannot be right: a service says which one and ends with 78. A server that is only away is
//! waited for, and readiness names it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use ragstone_testkit::postgres::PostgresServer;
use ragstone_testkit::process::binary;
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use ragstone_testkit::redis::{RedisOptions, RedisServer};
use ragstone_testkit::s3::{BUCKET, S3Server};
use tokio::process::Command;

/// How long a service may take to find out; it must not wait for what cannot be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a service with these settings and demands that it ends with 78 and a message that has all of `says`, but not
/// the secret.
async fn refused(service: &str, settings: &[(&str, String)], says: &[&str], secret: &str) {
    let dir = tempfile::tempdir().unwrap();
    let section = service.to_uppercase();
    let mut command = Command::new(binary(&format!("ragstone-{service}")).unwrap());
    command
        .env_clear()
        .envs(["PATH", "HOME", "RAGSTONE_MODELS"].iter().filter_map(|k| Some((k, std::env::var_os(k)?))));
    for (key, value) in
        [("LISTEN", "127.0.0.1:0".to_owned()), ("ADMIN_LISTEN", "127.0.0.1:0".to_owned())].iter().chain(settings)
    {
        command.env(format!("RAGSTONE__{section}__{key}"), value);
    }
    let output = command.current_dir(dir.path()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap_or_else(|_| panic!("{settings:?}: still running"));
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{settings:?}: {errors}");
    let said = errors.split_once("error: ").map(|(_, said)| said).unwrap_or_default();
    for word in says {
        assert!(said.contains(word), "{word}: {errors}");
    }
    assert!(secret.is_empty() || !errors.contains(secret), "a secret is shown: {errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let postgres = PostgresServer::start().await.unwrap();
    let database = postgres.create_database().await.unwrap();
    let good = postgres.url(&database);
    let wrong_database = postgres.url("nowhere");
    let wrong_user = good.replacen("://", "://nobody:geheim@", 1);
    let wrong_user = match good.split_once('@') {
        Some((_, rest)) => format!("postgres://nobody:geheim@{rest}"),
        None => wrong_user,
    };
    let tls = format!("{good}{}sslmode=require", if good.contains('?') { '&' } else { '?' });
    for url in ["not a url".to_owned(), wrong_database, wrong_user, tls] {
        refused("ingestion", &[("POSTGRES__URL", url)], &["postgres.url"], "geheim").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3() {
    let s3 = S3Server::start().await.unwrap();
    let settings = |bucket: &str, secret: &str| {
        vec![
            ("BLOBS__S3__BUCKET", bucket.to_owned()),
            ("BLOBS__S3__REGION", "us-east-1".to_owned()),
            ("BLOBS__S3__ENDPOINT", s3.endpoint.clone()),
            ("BLOBS__S3__ACCESS_KEY_ID", s3.access_key_id.clone()),
            ("BLOBS__S3__SECRET_ACCESS_KEY", secret.to_owned()),
            ("BLOBS__S3__ALLOW_HTTP", "true".to_owned()),
        ]
    };
    let secret = s3.secret_access_key.as_str();
    refused("ingestion", &settings("no-such-bucket", secret), &["blobs.s3.bucket"], secret).await;
    refused("ingestion", &settings(BUCKET, "geheim-und-falsch"), &["blobs.s3.secret_access_key"], "geheim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qdrant() {
    let config = ClusterConfig { peers: 1, api_key: Some("right".to_owned()), ..ClusterConfig::default() };
    let qdrant = QdrantCluster::start(config).await.unwrap();
    let url = |url: String| ("QDRANT__URLS", url);
    let key = ("QDRANT__API_KEY", "geheim".to_owned());
    refused("retrieval", &[url(qdrant.url(0)), key], &["qdrant.api_key"], "geheim").await;
    refused("retrieval", &[url("localhost".to_owned())], &["qdrant.urls"], "").await;
    let none = ("QDRANT__CA_FILE", "/nowhere/ca.pem".to_owned());
    refused("retrieval", &[url("https://localhost:1".to_owned()), none], &["qdrant.ca_file", "/nowhere"], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() {
    let options = RedisOptions { password: Some("right".to_owned()), ..RedisOptions::default() };
    let redis = RedisServer::start(options).await.unwrap();
    let url = ("CACHE__REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
    let wrong = ("CACHE__REDIS_PASSWORD", "geheim".to_owned());
    refused("embedding", &[url, wrong], &["cache.redis_password"], "geheim").await;
    refused("embedding", &[("CACHE__REDIS_URL", "http://x".to_owned())], &["cache.redis_url"], "").await;
}

/// The body of `/readyz` once it mentions `name` as down.
async fn waits_for(service: &str, settings: &[(&str, String)], name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section = service.to_uppercase();
    let mut command = Command::new(binary(&format!("ragstone-{service}")).unwrap());
    command.env(format!("RAGSTONE__{section}__LISTEN"), "127.0.0.1:0");
    command.env(format!("RAGSTONE__{section}__ADMIN_LISTEN"), admin.to_string());
    for (key, value) in settings {
        command.env(format!("RAGSTONE__{section}__{key}"), value);
    }
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut child = command.current_dir(dir.path()).stderr(log).kill_on_drop(true).spawn().unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = reqwest::get(format!("http://{admin}/readyz")).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.status(), 503);
            let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            let checks = body["checks"].as_array().unwrap();
            if checks.iter().any(|check| check["name"] == name && check["state"] == "down") {
                break;
            }
        }
        assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(dir.path().join("log")).unwrap());
        assert!(std::time::Instant::now() < until, "{name} was never named");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_waited_for() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    waits_for("ingestion", &[("POSTGRES__URL", format!("postgres://a:b@{closed}/c"))], "postgres").await;
    waits_for("retrieval", &[("QDRANT__URLS", format!("http://{closed}"))], "qdrant").await;
    let s3 = [
        ("BLOBS__S3__BUCKET", "b".to_owned()),
        ("BLOBS__S3__REGION", "us-east-1".to_owned()),
        ("BLOBS__S3__ENDPOINT", format!("http://{closed}")),
        ("BLOBS__S3__ACCESS_KEY_ID", "a".to_owned()),
        ("BLOBS__S3__SECRET_ACCESS_KEY", "s".to_owned()),
        ("BLOBS__S3__ALLOW_HTTP", "true".to_owned()),
    ];
    waits_for("ingestion", &s3, "blobs").await;
}
