//! Saving an index and bringing it in again, into the same kind of Qdrant or another, whole or not.

use std::path::Path;

use ragstone_core::ports::{LiveDocument, VectorIndexes, VectorStore};
use ragstone_core::{ErrorCode, SearchMode};
use ragstone_testkit::qdrant::{ClusterConfig, PemPair};
use ragstone_testkit::tls::server_certificate;
use ragstone_vector::{QdrantConfig, QdrantIndexes, SavedIndex};
use serde_json::Value;

use crate::common::{Server, document, fill, hits, open, point, put, query, servers, spec, tenant, vector};

const DOCUMENTS: usize = 30;

fn live(name: &str, version: u64, chunks: u32) -> LiveDocument {
    LiveDocument { tenant: tenant("t"), id: document(name), version, chunks }
}

/// What `fill` has stored.
fn filled() -> Vec<LiveDocument> {
    (0..DOCUMENTS).map(|n| live(&format!("d{n}"), 1, 2)).collect()
}

/// What searches find, by words and by meaning.
async fn everything_found(store: &dyn VectorStore) -> Vec<Vec<(String, u64, u32)>> {
    let mut found = Vec::new();
    for n in 0..DOCUMENTS {
        let by_words = query("t", &format!("number {n}"), SearchMode::Keyword, 5);
        let mut by_meaning = query("t", "", SearchMode::Dense, 5);
        by_meaning.vector = Some(vector(n as u64 * 2));
        let filter = r#"{"must": [{"key": "metadata.colour", "match": "red"}]}"#;
        let mut by_field = query("t", "haus", SearchMode::Hybrid, 5);
        by_field.filter = serde_json::from_str(filter).unwrap();
        for query in [by_words, by_meaning, by_field] {
            let mut hits = hits(store, query).await;
            // Ties are broken by where a point lies.
            hits.sort();
            found.push(hits);
        }
    }
    found
}

async fn fill_all(store: &dyn VectorStore) {
    fill(store, DOCUMENTS).await;
    let mut german = point("t", "german", 3, 0, "Die Häuser am Fluss");
    german.language = Some("deu".to_owned());
    german.metadata.insert("colour".to_owned(), "red".into());
    put(store, vec![german]).await;
}

/// Brings an index in and makes it serve.
async fn restore(server: &Server, directory: &Path, live: Vec<LiveDocument>) -> QdrantIndexes {
    let indexes = server.indexes().await;
    indexes.check_rest().await.unwrap();
    let saved = SavedIndex::open(directory).await.unwrap();
    let draft = indexes.bring_in(&saved).await.unwrap();
    let mut stock = draft.stock().await.unwrap();
    let expected = live.len() as u64;
    assert_eq!(stock.missing(live), []);
    assert_eq!((stock.right(), stock.strays()), (expected, 0));
    draft.keep_only_right(&stock).await.unwrap();
    let name = draft.complete().await.unwrap();
    indexes.serve(&name).await.unwrap();
    indexes
}

/// Names of the snapshots of shards that are left on a server.
async fn left(server: &Server) -> Vec<String> {
    let http = reqwest::Client::new();
    let mut names = Vec::new();
    for url in &server.rest_urls {
        let collection = server.collection();
        for shard in 0..8 {
            let list = http.get(format!("{url}/collections/{collection}/shards/{shard}/snapshots"));
            let answer: Value = list.send().await.unwrap().json().await.unwrap();
            let found = answer["result"].as_array().into_iter().flatten();
            names.extend(found.map(|snapshot| snapshot["name"].as_str().unwrap().to_owned()));
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_index_comes_back_as_it_was() {
    for server in servers("saved and restored").await {
        let config = QdrantConfig { indexed_metadata: vec!["colour".to_owned()], ..server.config() };
        let store = open(&QdrantIndexes::open(config).await.unwrap()).await;
        fill_all(&*store).await;
        let before = everything_found(&*store).await;
        let directory = tempfile::tempdir().unwrap();
        server.indexes().await.save(&spec().name, directory.path()).await.unwrap();
        assert_eq!(left(&server).await, Vec::<String>::new());

        // The configured number of shards is for new indexes: the saved ones come back.
        let target = server.beside();
        let mut expected = filled();
        expected.push(live("german", 3, 1));
        let indexes = restore(&target, directory.path(), expected).await;
        let restored = indexes.open(None).await.unwrap();
        assert_eq!(everything_found(&*restored).await, before);
        assert_eq!(restored.topology().await.unwrap(), store.topology().await.unwrap());
        assert!(restored.unhealthy_shards().await.is_empty());
        let schema = async |server: &Server| {
            let info = server.client().collection_info(server.collection()).await.unwrap().result.unwrap();
            let mut fields: Vec<_> =
                info.payload_schema.into_iter().map(|(field, index)| (field, index.data_type, index.points)).collect();
            fields.sort();
            fields
        };
        assert_eq!(schema(&target).await, schema(&server).await);
        // It is an index like any other: another process takes it for one, and new versions go live.
        indexes.create(&spec()).await.unwrap();
        put(&*restored, vec![point("t", "d3", 2, 0, "quite another text")]).await;
        let found = hits(&*restored, query("t", "quite another text", SearchMode::Keyword, 5)).await;
        assert_eq!(found, [("d3".to_owned(), 2, 0)]);
        assert_eq!(restored.live_documents().await.unwrap(), DOCUMENTS as u64 + 1);
        target.clean().await;
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_fits_everywhere_and_several_need_a_cluster() {
    let single = Server::with(ClusterConfig { distributed: false, ..ClusterConfig::default() }).await;
    let cluster = Server::cluster(3).await;
    fill(&*single.store().await, DOCUMENTS).await;
    let directory = tempfile::tempdir().unwrap();
    single.indexes().await.save(&spec().name, directory.path()).await.unwrap();
    let indexes = restore(&cluster, directory.path(), filled()).await;
    let store = indexes.open(None).await.unwrap();
    assert_eq!(store.topology().await.unwrap().shards, ["s0"]);
    assert_eq!(cluster.holders("s0").await.len(), 2);
    // From there on to more of them, and back.
    let shards = ["a", "b"].map(str::to_owned);
    store.begin_reshard(&shards).await.unwrap();
    let moving = tempfile::tempdir().unwrap();
    let busy = indexes.save(&spec().name, moving.path()).await.unwrap_err();
    assert!(busy.code == ErrorCode::Conflict && busy.message.contains("moving"), "{busy}");
    for n in 0..DOCUMENTS {
        store.move_document(&tenant("t"), &document(&format!("d{n}"))).await.unwrap();
    }
    store.finish_reshard().await.unwrap();
    let two = tempfile::tempdir().unwrap();
    indexes.save(&spec().name, two.path()).await.unwrap();
    let target = single.beside();
    let saved = SavedIndex::open(two.path()).await.unwrap();
    let refused = target.indexes().await.bring_in(&saved).await.unwrap_err();
    assert!(refused.code == ErrorCode::Unprocessable && refused.message.contains("2 shards"), "{refused}");
    assert_eq!(target.indexes().await.drafts().await.unwrap(), Vec::<String>::new());
    restore(&Server::cluster(2).await, two.path(), filled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalog_does_not_say_is_removed() {
    for server in servers("compared with the catalog").await {
        let store = server.store().await;
        fill(&*store, 6).await;
        put(&*store, vec![point("t", "newer", 2, 0, "common words")]).await;
        store.upsert_staged(vec![point("t", "staged", 1, 0, "common words")]).await.unwrap();
        store.upsert_staged(vec![point("t", "d1", 2, 0, "common words")]).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        server.indexes().await.save(&spec().name, directory.path()).await.unwrap();

        let target = server.beside();
        let indexes = target.indexes().await;
        let draft = indexes.bring_in(&SavedIndex::open(directory.path()).await.unwrap()).await.unwrap();
        let mut stock = draft.stock().await.unwrap();
        // d0 and d1 as they are, d2 replaced, d3 with a chunk more, d4 and d5 deleted; one is new.
        let first = stock.missing(vec![live("d0", 1, 2), live("d1", 1, 2), live("d2", 2, 2)]);
        let second =
            stock.missing(vec![live("d3", 1, 3), live("new", 1, 1), live("newer", 1, 1), live("staged", 1, 1)]);
        let names = |missing: Vec<(_, ragstone_core::DocumentId)>| -> Vec<String> {
            missing.into_iter().map(|(_, name)| name.to_string()).collect()
        };
        assert_eq!((names(first), names(second).join(" ")), (vec!["d2".to_owned()], "d3 new newer staged".to_owned()));
        assert_eq!((stock.right(), stock.strays()), (2, 7));
        draft.keep_only_right(&stock).await.unwrap();
        indexes.serve(&draft.complete().await.unwrap()).await.unwrap();
        let restored = indexes.open(None).await.unwrap();
        let mut found = hits(&*restored, query("t", "common words", SearchMode::Keyword, 50)).await;
        found.sort();
        let expected = [("d0", 0), ("d0", 1), ("d1", 0), ("d1", 1)];
        assert_eq!(found, expected.map(|(name, chunk)| (name.to_owned(), 1, chunk)));
        let info = target.client().collection_info(target.collection()).await.unwrap();
        assert_eq!(info.result.unwrap().points_count, Some(4), "nothing hidden is left either");
        // What had been newer than the catalog is no obstacle to what the catalog has.
        put(&*restored, vec![point("t", "newer", 1, 0, "rebuilt")]).await;
        assert_eq!(hits(&*restored, query("t", "rebuilt", SearchMode::Keyword, 5)).await[0].0, "newer");
        target.clean().await;
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_broke_off_leaves_no_index() {
    for server in servers("broken off").await {
        fill(&*server.store().await, 3).await;
        let directory = tempfile::tempdir().unwrap();
        server.indexes().await.save(&spec().name, directory.path()).await.unwrap();
        let saved = SavedIndex::open(directory.path()).await.unwrap();
        let target = server.beside();
        let indexes = target.indexes().await;
        drop(indexes.bring_in(&saved).await.unwrap());
        assert_eq!(indexes.list().await.unwrap(), []);
        assert_eq!(indexes.drafts().await.unwrap(), [target.collection()]);
        assert_eq!(indexes.open(Some(&spec().name)).await.err().unwrap().code, ErrorCode::NotFound);
        let start = indexes.create(&spec()).await.unwrap_err();
        assert!(start.code == ErrorCode::Conflict && start.message.contains("a restore broke off"), "{start}");
        assert!(start.message.contains(&target.collection()), "{start}");
        let again = indexes.bring_in(&saved).await.unwrap_err();
        assert!(again.code == ErrorCode::Conflict && again.message.contains(&target.collection()), "{again}");
        // Once it is removed everything goes its way.
        server.client().delete_collection(target.collection()).await.unwrap();
        indexes.create(&spec()).await.unwrap();
        assert_eq!(indexes.drafts().await.unwrap(), Vec::<String>::new());
        target.clean().await;
        server.clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_named() {
    let server = Server::cluster(2).await;
    fill(&*server.store().await, 3).await;
    let indexes = server.indexes().await;
    let directory = tempfile::tempdir().unwrap();
    (0..2).for_each(|peer| server.faults().damage_snapshots(peer, true));
    let damaged = indexes.save(&spec().name, directory.path()).await.unwrap_err();
    assert!(damaged.code == ErrorCode::Unavailable && damaged.message.contains("arrived damaged"), "{damaged}");
    assert_eq!(left(&server).await, Vec::<String>::new(), "removed also where it was of no use");
    assert_eq!(SavedIndex::open(directory.path()).await.unwrap_err().code, ErrorCode::InvalidArgument);
    // What one peer cannot do another one can.
    server.faults().damage_snapshots(0, false);
    indexes.save(&spec().name, directory.path()).await.unwrap();
    assert_eq!(SavedIndex::open(directory.path()).await.unwrap().spec(), &spec());

    let path = directory.path().join("s2.snapshot");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for (content, says) in [(Some(bad), "damaged"), (Some(good[1..].to_vec()), "damaged"), (None, "cannot use")] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = SavedIndex::open(directory.path()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains(says) && error.message.contains("s2.snapshot"), "{error}");
    }
    std::fs::write(&path, good).unwrap();
    let contents = directory.path().join("index.json");
    let json = std::fs::read_to_string(&contents).unwrap();
    for (from, to, says) in [("\"format\": 1", "\"format\": 2", "format"), ("\"s2\"", "\"../s2\"", "../s2")] {
        std::fs::write(&contents, json.replace(from, to)).unwrap();
        let error = SavedIndex::open(directory.path()).await.unwrap_err();
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rest_addresses_and_keys_name_the_setting() {
    let config = ClusterConfig { peers: 2, api_key: Some("right".to_owned()), ..ClusterConfig::default() };
    let server = Server::with(config).await;
    let right = QdrantConfig { api_key: "right".to_owned().into(), ..server.config() };
    open(&QdrantIndexes::open(right.clone()).await.unwrap()).await;
    let mut swapped = server.rest_urls.clone();
    swapped.reverse();
    let nobody = vec!["http://127.0.0.1:9".to_owned(); 2];
    let directory = tempfile::tempdir().unwrap();
    for (rest_urls, code, says) in [
        (swapped, ErrorCode::InvalidArgument, "another peer's than retrieval.qdrant.urls[0]"),
        (nobody, ErrorCode::Unavailable, "127.0.0.1:9 cannot be reached"),
        (server.urls.clone(), ErrorCode::Unavailable, "cannot be reached"),
    ] {
        let indexes = QdrantIndexes::open(QdrantConfig { rest_urls, ..right.clone() }).await.unwrap();
        let error = indexes.save(&spec().name, directory.path()).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(says) && error.message.contains("retrieval.qdrant.rest_urls"), "{error}");
        assert!(!error.chain().contains("right"), "{}", error.chain());
    }
    // The REST API of somebody else.
    let stranger = ragstone_testkit::qdrant::QdrantCluster::start(ClusterConfig::default()).await.unwrap();
    let rest_urls = vec![format!("{}/", stranger.rest_urls()[0]), server.rest_urls[1].clone()];
    let indexes = QdrantIndexes::open(QdrantConfig { rest_urls, ..right.clone() }).await.unwrap();
    indexes.check_rest().await.unwrap();
    for key in ["", "hush"] {
        let indexes =
            QdrantIndexes::open(QdrantConfig { api_key: key.to_owned().into(), ..right.clone() }).await.unwrap();
        let error = indexes.check_rest().await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("correct retrieval.qdrant.api_key"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_down_keeps_nobody_from_saving() {
    let server = Server::cluster(3).await;
    fill(&*server.store().await, DOCUMENTS).await;
    server.faults().stop_peer(1).await;
    let directory = tempfile::tempdir().unwrap();
    let indexes = server.indexes().await;
    indexes.save(&spec().name, directory.path()).await.unwrap();
    // But everybody is needed for bringing it in.
    let target = server.beside();
    let saved = SavedIndex::open(directory.path()).await.unwrap();
    assert_eq!(target.indexes().await.bring_in(&saved).await.unwrap_err().code, ErrorCode::Unavailable);
    restore(&Server::cluster(2).await, directory.path(), filled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_travel_under_tls_with_the_name_in_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let made = server_certificate(directory.path(), &["qdrant.internal"]).unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let tls = PemPair { certificate: read(&made.certificate), key: read(&made.key) };
    let server = Server::with(ClusterConfig { tls: Some(tls), ..ClusterConfig::default() }).await;
    let right = QdrantConfig {
        ca_file: Some(made.ca.clone()),
        server_name: Some("qdrant.internal".to_owned()),
        ..server.config()
    };
    let indexes = QdrantIndexes::open(right.clone()).await.unwrap();
    fill(&*open(&indexes).await, 3).await;
    let to = directory.path().join("index");
    indexes.save(&spec().name, &to).await.unwrap();
    let target = QdrantConfig { collection_prefix: server.beside().prefix, ..right.clone() };
    let target = QdrantIndexes::open(target).await.unwrap();
    let draft = target.bring_in(&SavedIndex::open(&to).await.unwrap()).await.unwrap();
    assert_eq!(draft.stock().await.unwrap().strays(), 3);
    for (config, setting) in [
        (QdrantConfig { server_name: None, ..right.clone() }, "retrieval.qdrant.server_name"),
        (QdrantConfig { ca_file: None, ..right }, "retrieval.qdrant.ca_file"),
    ] {
        let error = QdrantIndexes::open(config).await.unwrap().check_rest().await.unwrap_err();
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(setting), "{error}");
    }
}
