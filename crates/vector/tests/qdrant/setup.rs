//! Making, listing, serving and removing indexes, and what wrong settings say.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};
use ragstone_core::ports::VectorIndexes;
use ragstone_core::{ErrorCode, IndexSpec, SearchMode};
use ragstone_testkit::qdrant::{ClusterConfig, PemPair};
use ragstone_testkit::tls::server_certificate;
use ragstone_vector::{QdrantConfig, QdrantIndexes};

use crate::common::{DIMENSION, Server, hits, open, point, put, query, servers, spec};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_make_one_index() {
    for server in servers("starting at once").await {
        let all: Vec<QdrantIndexes> = futures::future::join_all((0..5).map(|_| server.indexes())).await;
        let spec = spec();
        let made = futures::future::join_all(all.iter().map(|indexes| indexes.create(&spec))).await;
        made.into_iter().for_each(|made| made.unwrap());
        for indexes in &all {
            assert_eq!(indexes.list().await.unwrap(), std::slice::from_ref(&spec));
            assert_eq!(indexes.serving().await.unwrap().as_ref(), Some(&spec.name));
            indexes.check().await.unwrap();
            assert!(indexes.open(None).await.unwrap().unhealthy_shards().await.is_empty());
        }
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_made_for_something_else_is_refused() {
    for server in servers("mismatch").await {
        let indexes = server.indexes().await;
        indexes.create(&spec()).await.unwrap();
        let longer = IndexSpec { dimension: 16, ..spec() };
        let other = IndexSpec { revision: "test-2".to_owned(), ..spec() };
        for (spec, says) in [(longer, ["dimension 8", "makes 16"]), (other, ["test-1", "test-2"])] {
            let error = indexes.create(&spec).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::Conflict);
            let also = ["collection_prefix", &server.collection()];
            assert!(says.iter().chain(&also).all(|part| error.message.contains(part)), "{error}");
        }
        let foreign = IndexSpec::of("foreign", "1", DIMENSION);
        let name = format!("{}-{}", server.prefix, foreign.name);
        let vectors = VectorParamsBuilder::new(DIMENSION as u64, Distance::Cosine);
        let client = server.client();
        client.create_collection(CreateCollectionBuilder::new(&name).vectors_config(vectors)).await.unwrap();
        let error = indexes.create(&foreign).await.unwrap_err();
        assert!(error.code == ErrorCode::Conflict && error.message.contains("not made by Ragstone"), "{error}");
        // Nor is it listed, or removed.
        assert_eq!(indexes.list().await.unwrap(), [spec()]);
        indexes.remove(&foreign.name).await.unwrap();
        assert!(client.collection_exists(&name).await.unwrap());
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_index_serves_in_one_moment() {
    for server in servers("switching").await {
        let indexes = Arc::new(server.indexes().await);
        let second = IndexSpec::of("model", "test-2", DIMENSION);
        let store = open(&indexes).await;
        indexes.create(&second).await.unwrap();
        assert_eq!(indexes.serving().await.unwrap(), Some(spec().name));
        let new = indexes.open(Some(&second.name)).await.unwrap();
        put(&*store, vec![point("t", "old", 1, 0, "words")]).await;
        put(&*new, vec![point("t", "new", 1, 0, "words")]).await;
        let reader = Arc::new(server.indexes().await);
        let done = Arc::new(AtomicBool::new(false));
        let (searching, stop) = (Arc::clone(&reader), Arc::clone(&done));
        let watch = tokio::spawn(async move {
            let mut seen = HashMap::new();
            while !stop.load(Ordering::Relaxed) {
                let store = searching.open(None).await.unwrap();
                let found = hits(&*store, query("t", "words", SearchMode::Keyword, 5)).await;
                assert_eq!(found.len(), 1, "{found:?}");
                let expected = if store.spec().revision == "test-1" { "old" } else { "new" };
                assert_eq!(found[0].0, expected);
                *seen.entry(expected).or_insert(0) += 1;
            }
            seen
        });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let busy = indexes.remove(&spec().name).await.unwrap_err();
        assert_eq!(busy.code, ErrorCode::Conflict);
        indexes.serve(&second.name).await.unwrap();
        // Known everywhere by now.
        assert_eq!(reader.open(None).await.unwrap().spec(), &second);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        done.store(true, Ordering::Relaxed);
        let seen = watch.await.unwrap();
        assert!(seen["old"] > 0 && seen["new"] > 0, "{seen:?}");
        indexes.serve(&spec().name).await.unwrap();
        indexes.remove(&second.name).await.unwrap();
        indexes.remove(&second.name).await.unwrap();
        assert_eq!(indexes.list().await.unwrap(), [spec()]);
        for error in [indexes.open(Some(&second.name)).await.err(), indexes.serve(&second.name).await.err()] {
            assert_eq!(error.unwrap().code, ErrorCode::NotFound);
        }
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_serves_before_the_first_index() {
    for server in servers("empty").await {
        let indexes = server.indexes().await;
        indexes.check().await.unwrap();
        assert_eq!(indexes.open(None).await.err().unwrap().code, ErrorCode::NotFound);
        assert!(indexes.list().await.unwrap().is_empty());
        // Found at once, also by one who has just found none.
        server.indexes().await.create(&spec()).await.unwrap();
        assert_eq!(indexes.open(None).await.unwrap().spec(), &spec());
        indexes.close().await.unwrap();
        server.clean().await;
    }
}

async fn said(config: QdrantConfig) -> String {
    let indexes = QdrantIndexes::open(config).await.unwrap();
    let error = indexes.check().await.unwrap_err();
    // Waiting does not mend a setting.
    let code =
        if error.message.contains("retrieval.qdrant.") { ErrorCode::InvalidArgument } else { ErrorCode::Unavailable };
    assert_eq!(error.code, code, "{error}");
    let create = indexes.create(&spec()).await.unwrap_err();
    assert_eq!(create.code, ErrorCode::Unavailable, "{create}");
    assert!(!error.chain().contains("hush"), "{}", error.chain());
    error.message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_names_the_setting() {
    let config = ClusterConfig { peers: 2, api_key: Some("right".to_owned()), ..ClusterConfig::default() };
    let server = Server::with(config).await;
    for key in ["", "hush-wrong"] {
        let message = said(QdrantConfig { api_key: key.to_owned().into(), ..server.config() }).await;
        assert!(message.contains("retrieval.qdrant.api_key"), "{message}");
    }
    let right = QdrantConfig { api_key: "right".to_owned().into(), ..server.config() };
    let store = open(&QdrantIndexes::open(right).await.unwrap()).await;
    put(&*store, vec![point("t", "d", 1, 0, "words")]).await;
    assert_eq!(hits(&*store, query("t", "words", SearchMode::Hybrid, 5)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_the_right_authority_and_name() {
    let directory = tempfile::tempdir().unwrap();
    let made = server_certificate(directory.path(), &["qdrant.internal"]).unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let tls = PemPair { certificate: read(&made.certificate), key: read(&made.key) };
    let server = Server::with(ClusterConfig { tls: Some(tls), ..ClusterConfig::default() }).await;
    let other = tempfile::tempdir().unwrap();
    let stranger = server_certificate(other.path(), &["qdrant.internal"]).unwrap();
    let with = |ca: Option<std::path::PathBuf>, name: Option<&str>| QdrantConfig {
        ca_file: ca,
        server_name: name.map(str::to_owned),
        ..server.config()
    };
    for (config, setting) in [
        (with(Some(made.ca.clone()), None), "retrieval.qdrant.server_name"),
        (with(Some(made.ca.clone()), Some("elsewhere.internal")), "retrieval.qdrant.server_name"),
        (with(Some(stranger.ca), Some("qdrant.internal")), "retrieval.qdrant.ca_file"),
        (with(None, Some("qdrant.internal")), "retrieval.qdrant.ca_file"),
    ] {
        let message = said(config).await;
        assert!(message.contains(setting), "{setting}: {message}");
    }
    let right = with(Some(made.ca), Some("qdrant.internal"));
    let store = open(&QdrantIndexes::open(right).await.unwrap()).await;
    put(&*store, vec![point("t", "d", 1, 0, "words")]).await;
    assert_eq!(hits(&*store, query("t", "words", SearchMode::Hybrid, 5)).await.len(), 1);
    for (ca, says) in [(directory.path().join("none.pem"), "cannot be read"), (made.key, "holds no PEM certificate")] {
        let error = QdrantIndexes::open(with(Some(ca), None)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.starts_with("retrieval.qdrant.ca_file") && error.message.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_url_says_so() {
    let server = Server::cluster(1).await;
    server.faults().stop_peer(0).await;
    let message = said(server.config()).await;
    assert!(message.contains("cannot be reached"), "{message}");
    server.faults().start_peer(0).await.unwrap();
    // The same connection comes back by itself.
    let indexes = server.indexes().await;
    let store = open(&indexes).await;
    put(&*store, vec![point("t", "d", 1, 0, "words")]).await;
    server.faults().stop_peer(0).await;
    assert_eq!(
        store.search(query("t", "words", SearchMode::Hybrid, 5)).await.unwrap_err().code,
        ErrorCode::Unavailable
    );
    server.faults().start_peer(0).await.unwrap();
    assert_eq!(hits(&*store, query("t", "words", SearchMode::Hybrid, 5)).await.len(), 1);
}
