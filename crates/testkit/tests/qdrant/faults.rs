//! What a test can do to a peer, and what stands before its handlers.

use std::time::{Duration, Instant};

use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::{ListCollectionsRequest, UpsertPointsBuilder};
use qdrant_client::{Qdrant, QdrantError};
use ragstone_testkit::qdrant::{ClusterConfig, PemPair, QdrantCluster};
use ragstone_testkit::tls::server_certificate;
use serde_json::json;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::{connect, four_dimensions, point, refused};

async fn cluster(peers: usize) -> (QdrantCluster, Vec<Qdrant>) {
    let cluster = QdrantCluster::start(ClusterConfig { peers, ..Default::default() }).await.unwrap();
    let clients = cluster.urls().iter().map(|url| connect(url)).collect();
    (cluster, clients)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_peer_drops_calls_and_refuses_connections() {
    let (cluster, clients) = cluster(2).await;
    clients[0].list_collections().await.unwrap();
    // A call that waits is cut off, long before it would be answered.
    cluster.delay(0, Duration::from_secs(600));
    let waiting = tokio::spawn({
        let client = clients[0].clone();
        async move { client.list_collections().await }
    });
    while cluster.calls(0).get("Collections/List") != Some(&2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let start = Instant::now();
    cluster.stop_peer(0).await;
    assert!(waiting.await.unwrap().is_err());
    assert!(start.elapsed() < Duration::from_secs(60));
    let address = cluster.url(0).replace("http://", "");
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    clients[1].list_collections().await.unwrap();

    // The same client reaches it again when it is back, on the same port.
    cluster.delay(0, Duration::ZERO);
    cluster.start_peer(0).await.unwrap();
    clients[0].list_collections().await.unwrap();
    assert!(cluster.start_peer(0).await.is_err(), "it is running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_peer_answers_when_it_goes_on() {
    let (cluster, clients) = cluster(1).await;
    cluster.pause(0);
    let mut waiting = tokio::spawn({
        let client = clients[0].clone();
        async move { client.list_collections().await }
    });
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    cluster.resume(0);
    waiting.await.unwrap().unwrap();

    cluster.delay(0, Duration::from_millis(300));
    let start = Instant::now();
    clients[0].list_collections().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_as_often_as_told() {
    let (cluster, clients) = cluster(2).await;
    cluster.fail(0, Code::ResourceExhausted, 1);
    cluster.fail(1, Code::Unavailable, 2);
    clients[0].health_check().await.unwrap();
    match clients[0].list_collections().await {
        Err(QdrantError::ResponseError { status }) => assert_eq!(status.code(), Code::ResourceExhausted),
        other => panic!("{other:?}"),
    }
    clients[0].list_collections().await.unwrap();
    // The client retries what is unavailable, once at the most: both failures may be used up by one call.
    let mut failed = 0;
    while clients[1].list_collections().await.is_err() {
        failed += 1;
        assert!(failed < 3);
    }
    assert_eq!(cluster.calls(1)["Collections/List"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_per_peer_and_method() {
    let (cluster, clients) = cluster(2).await;
    clients[0].create_collection(four_dimensions("c")).await.unwrap();
    for id in 1..=3 {
        let upsert = UpsertPointsBuilder::new("c", vec![point(id, [1.0; 4], json!({}))]).wait(true);
        clients[1].upsert_points(upsert).await.unwrap();
    }
    // What peers do among themselves is not counted.
    assert_eq!(cluster.calls(0), [("Collections/Create".to_owned(), 1)].into());
    assert_eq!(cluster.calls(1), [("Points/Upsert".to_owned(), 3)].into());
    cluster.reset_calls();
    assert!(cluster.calls(0).is_empty() && cluster.calls(1).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_but_health_is_answered() {
    let config = ClusterConfig { api_key: Some("secret".to_owned()), ..Default::default() };
    let cluster = QdrantCluster::start(config).await.unwrap();
    let with = |key: Option<&str>| {
        let mut builder = Qdrant::from_url(&cluster.url(0)).skip_compatibility_check();
        builder.api_key = key.map(str::to_owned);
        builder.build().unwrap()
    };
    with(Some("secret")).list_collections().await.unwrap();
    let (code, text) = refused(with(None).list_collections().await);
    let expected = "Must provide an API key or an Authorization bearer token";
    assert_eq!((code, text.as_str()), (Code::Unauthenticated, expected));
    let (code, text) = refused(with(Some("wrong")).list_collections().await);
    assert_eq!((code, text.as_str()), (Code::Unauthenticated, "Invalid API key or JWT"));
    with(None).health_check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_only_tls_is_spoken() {
    let directory = tempfile::tempdir().unwrap();
    let files = server_certificate(directory.path(), &["localhost"]).unwrap();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let tls = PemPair { certificate: read(&files.certificate), key: read(&files.key) };
    let config = ClusterConfig { tls: Some(tls), ..Default::default() };
    let cluster = QdrantCluster::start(config).await.unwrap();

    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&files.ca)));
    let channel = Channel::from_shared(cluster.url(0)).unwrap().tls_config(trust).unwrap().connect().await.unwrap();
    CollectionsClient::new(channel).list(ListCollectionsRequest {}).await.unwrap();
    let plain = connect(&cluster.url(0).replace("https://", "http://"));
    assert!(plain.list_collections().await.is_err());
    // Neither does a client that does not know the authority get through.
    assert!(connect(&cluster.url(0)).list_collections().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_reported() {
    let tls = PemPair { certificate: "no certificate".to_owned(), key: "no key".to_owned() };
    let config = ClusterConfig { tls: Some(tls), ..Default::default() };
    assert!(QdrantCluster::start(config).await.is_err());
}
