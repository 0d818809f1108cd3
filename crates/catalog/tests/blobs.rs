//! One contract that every store of bodies keeps: a local directory and a bucket of a real S3-compatible server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStoreExt as _, PutPayload};
use ragstone_catalog::{BlobsConfig, S3Config, open_blobs};
use ragstone_core::ErrorCode;
use ragstone_core::ports::BlobStore;
use ragstone_testkit::s3::{BUCKET, REGION, S3Server};

const HELLO: &str = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
/// More than one page of a listing.
const MANY: u32 = 1_050;

/// Said past the test harness, which shows a passing test's output to nobody.
fn say(what: impl Display) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "blobs: {what}").unwrap();
}

fn environment() -> HashMap<String, String> {
    // As every program of ours does first thing; another test may have done it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HashMap::new()
}

fn config(server: &S3Server, prefix: &str) -> BlobsConfig {
    let s3 = S3Config {
        bucket: BUCKET.into(),
        prefix: prefix.into(),
        endpoint: server.endpoint.clone(),
        access_key_id: server.access_key_id.clone(),
        secret_access_key: server.secret_access_key.clone().into(),
        allow_http: true,
        ca_file: server.ca.clone(),
        ..S3Config::default()
    };
    BlobsConfig { directory: None, s3 }
}

async fn open(config: &BlobsConfig) -> Arc<dyn BlobStore> {
    open_blobs(config, "/nowhere".as_ref(), &environment()).await.unwrap()
}

async fn suite(name: &str, blobs: &dyn BlobStore) {
    let started = Instant::now();
    blobs.check().await.unwrap();
    bodies_come_back(blobs).await;
    what_is_not_there_is_not_found(blobs).await;
    all_are_listed(blobs).await;
    say(format!("contract kept by {name} in {:?}", started.elapsed()));
}

async fn bodies_come_back(blobs: &dyn BlobStore) {
    assert_eq!(blobs.put("hello".into()).await.unwrap(), HELLO);
    assert_eq!(blobs.put("hello".into()).await.unwrap(), HELLO);
    assert_eq!(blobs.get(HELLO).await.unwrap(), "hello");
    let empty = blobs.put(Bytes::new()).await.unwrap();
    assert!(blobs.get(&empty).await.unwrap().is_empty());
    let big: Bytes = (0..20_u32 << 20).map(|n| (n * 31 % 251) as u8).collect();
    let hash = blobs.put(big.clone()).await.unwrap();
    assert_eq!(hash, blake3::hash(&big).to_hex().as_str());
    assert!(blobs.get(&hash).await.unwrap() == big, "20 MiB came back changed");
    blobs.delete(&hash).await.unwrap();
}

async fn what_is_not_there_is_not_found(blobs: &dyn BlobStore) {
    blobs.delete(HELLO).await.unwrap();
    blobs.delete(HELLO).await.unwrap();
    assert_eq!(blobs.get(HELLO).await.unwrap_err().code, ErrorCode::NotFound);
    blobs.put("hello".into()).await.unwrap();
    let shouted = HELLO.to_uppercase();
    for odd in ["", "../../etc/passwd", "zz", "é", &HELLO[1..], ".check", shouted.as_str()] {
        assert_eq!(blobs.get(odd).await.unwrap_err().code, ErrorCode::InvalidArgument, "{odd}");
        assert_eq!(blobs.delete(odd).await.unwrap_err().code, ErrorCode::InvalidArgument, "{odd}");
    }
}

async fn all_are_listed(blobs: &dyn BlobStore) {
    let before: BTreeSet<String> = blobs.list().map_ok(|(hash, _)| hash).try_collect().await.unwrap();
    let started = SystemTime::now();
    let puts = stream::iter(0..MANY).map(|n| blobs.put(n.to_string().into())).buffer_unordered(8);
    let stored: BTreeSet<String> = puts.try_collect().await.unwrap();
    assert_eq!(stored.len(), MANY as usize);
    blobs.check().await.unwrap();
    let listed: Vec<(String, SystemTime)> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), before.len() + stored.len(), "one is missing, doubled, or no body");
    for (hash, time) in &listed {
        assert!(stored.contains(hash) || before.contains(hash), "{hash}");
        assert_eq!(hash.len(), HELLO.len(), "no body: {hash}");
        // Servers keep whole seconds.
        let age = time.duration_since(started - Duration::from_secs(2));
        assert!(age.is_ok_and(|age| age < Duration::from_secs(600)) || before.contains(hash), "{time:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open_blobs(&BlobsConfig::default(), dir.path(), &environment()).await.unwrap();
    std::fs::write(dir.path().join("blobs/ea/readme"), b"no body").unwrap();
    suite("a directory", &*blobs).await;
    let file = dir.path().join("blobs/ea").join(&HELLO[2..]);
    std::fs::write(&file, b"hellO").unwrap();
    assert_eq!(blobs.get(HELLO).await.unwrap_err().code, ErrorCode::Internal);
    // Another process finds what is there, and storing again mends it.
    let config = BlobsConfig { directory: Some(dir.path().join("blobs")), ..BlobsConfig::default() };
    let blobs = open(&config).await;
    blobs.put("hello".into()).await.unwrap();
    assert_eq!(blobs.get(HELLO).await.unwrap(), "hello");
    // Something else in its place.
    std::fs::remove_dir_all(dir.path().join("blobs")).unwrap();
    std::fs::write(dir.path().join("blobs"), b"").unwrap();
    assert_eq!(blobs.check().await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket() {
    let server = S3Server::start().await.unwrap();
    let blobs = open(&config(&server, "some/where")).await;
    suite("S3 (moto)", &*blobs).await;
    let direct = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region(REGION)
        .with_endpoint(&server.endpoint)
        .with_allow_http(true)
        .with_access_key_id(&server.access_key_id)
        .with_secret_access_key(&server.secret_access_key)
        .build()
        .unwrap();
    let key = format!("some/where/ea/{}", &HELLO[2..]).into();
    direct.put(&key, PutPayload::from_static(b"hellO")).await.unwrap();
    assert_eq!(blobs.get(HELLO).await.unwrap_err().code, ErrorCode::Internal);
    blobs.put("hello".into()).await.unwrap();
    assert_eq!(blobs.get(HELLO).await.unwrap(), "hello");
    // Prefixes keep installations apart, and what else lies in the bucket is no body.
    let other = open(&config(&server, "")).await;
    other.put("hello".into()).await.unwrap();
    for name in ["readme", "ea/readme", "e/a/readme"] {
        direct.put(&name.into(), PutPayload::from_static(b"x")).await.unwrap();
    }
    let listed: Vec<(String, SystemTime)> = other.list().try_collect().await.unwrap();
    assert_eq!(listed.into_iter().map(|(hash, _)| hash).collect::<Vec<_>>(), [HELLO]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mebibytes_over_tls_with_a_private_authority() {
    let server = S3Server::start_tls().await.unwrap();
    let config = config(&server, "tls");
    let blobs = open(&config).await;
    let body = Bytes::from(vec![7; 50 << 20]);
    let hash = blobs.put(body.clone()).await.unwrap();
    assert!(blobs.get(&hash).await.unwrap() == body);
    say("50 MiB stored and read over TLS");
    let with = |change: fn(&mut S3Config)| {
        let mut changed = config.clone();
        change(&mut changed.s3);
        changed
    };
    refused(
        &with(|s3| s3.endpoint = s3.endpoint.replace("localhost", "127.0.0.1")),
        "host in ingestion.blobs.s3.endpoint",
    )
    .await;
    refused(&with(|s3| s3.ca_file = None), "ingestion.blobs.s3.ca_file").await;
    refused(&with(|s3| s3.ca_file = Some("/absent.pem".into())), "/absent.pem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_may_come_from_the_environment() {
    let server = S3Server::start().await.unwrap();
    let mut config = config(&server, "env");
    let mut env = environment();
    env.insert("AWS_ACCESS_KEY_ID".into(), std::mem::take(&mut config.s3.access_key_id));
    env.insert("AWS_SECRET_ACCESS_KEY".into(), server.secret_access_key.clone());
    // Neither these nor anything else that says where the bucket is.
    env.insert("AWS_ENDPOINT".into(), "http://127.0.0.1:9".into());
    env.insert("AWS_BUCKET".into(), "other".into());
    config.s3.secret_access_key = String::new().into();
    let blobs = open_blobs(&config, "/nowhere".as_ref(), &env).await.unwrap();
    assert_eq!(blobs.put("hello".into()).await.unwrap(), HELLO);
    refused(&config, "ingestion.blobs.s3.access_key_id").await;
}

/// It cannot be opened, and the message names the setting and no secret.
async fn refused(config: &BlobsConfig, says: &str) {
    let error = match open_blobs(config, "/nowhere".as_ref(), &environment()).await {
        Ok(blobs) => panic!("{says}: it was accepted: {:?}", blobs.check().await),
        Err(error) => error,
    };
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{}", error.chain());
    assert!(error.message.contains(says), "{says}: {}", error.chain());
    assert!(!error.chain().contains("hush"), "{}", error.chain());
    say(format!("refused: {}", error.message));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named() {
    let server = S3Server::start().await.unwrap();
    let with = |change: &dyn Fn(&mut S3Config)| {
        let mut changed = config(&server, "");
        change(&mut changed.s3);
        changed
    };
    refused(&with(&|s3| s3.bucket = "absent".into()), "ingestion.blobs.s3.bucket does not exist").await;
    refused(&with(&|s3| s3.access_key_id = "AKIDNOBODY".into()), "ingestion.blobs.s3.access_key_id").await;
    refused(&with(&|s3| s3.secret_access_key = "hush".to_owned().into()), "ingestion.blobs.s3.secret_access_key").await;
    refused(&with(&|s3| s3.endpoint = s3.endpoint.replace("http:", "https:")), "ingestion.blobs.s3.endpoint").await;
    refused(&with(&|s3| s3.allow_http = false), "allow_http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_reported_soon_and_blames_no_caller() {
    let mut server = S3Server::start().await.unwrap();
    let config = config(&server, "");
    let blobs = open(&config).await;
    blobs.put("hello".into()).await.unwrap();
    server.kill().await.unwrap();
    let started = Instant::now();
    for outcome in [
        blobs.put("hello".into()).await.map(drop),
        blobs.get(HELLO).await.map(drop),
        blobs.delete(HELLO).await,
        blobs.list().try_collect::<Vec<_>>().await.map(drop),
        blobs.check().await,
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable, "{}", error.chain());
        assert!(error.message.contains("ingestion.blobs.s3.endpoint"), "{error}");
    }
    let each = started.elapsed() / 5;
    assert!(each < Duration::from_secs(4), "{each:?}");
    // What can be tried again later is no mistake.
    let error = open_blobs(&config, "/nowhere".as_ref(), &environment()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    say(format!("a dead store is reported within {each:?}"));
}
