//! Faults that only the inside of the crate can cause: a slow shard, a broken engine, a full disk, a long log.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::mpsc::channel;

use ragstone_core::ports::{Point, VectorIndexes, VectorStore};
use ragstone_core::{
    Access, Chunk, DocumentId, ErrorCode, Filter, GroupAccess, IndexSpec, Metadata, SearchMode, TenantId, VectorQuery,
};

use crate::edge::engine::{Engine, EngineError, NewPoint};
use crate::{EdgeConfig, EdgeIndexes, EdgeStore};

const DIMENSION: usize = 4;

pub(crate) fn config(directory: &std::path::Path) -> EdgeConfig {
    EdgeConfig { path: directory.join("index"), shard_timeout_ms: 20_000, ..EdgeConfig::default() }
}

pub(crate) async fn open(config: EdgeConfig) -> Arc<EdgeStore> {
    let indexes = EdgeIndexes::open(config).await.unwrap();
    indexes.create(&IndexSpec::of("model", "r", DIMENSION)).await.unwrap();
    indexes.store(None).await.unwrap()
}

fn point(document: &str, version: u64, content: String) -> Point {
    Point {
        tenant: TenantId::new("t").unwrap(),
        document_id: DocumentId::new(document).unwrap(),
        version,
        chunk: Chunk { index: 0, content, heading_path: Vec::new(), start: 0, end: 1, tokens: 1 },
        title: String::new(),
        metadata: Metadata::new(),
        groups: Vec::new(),
        language: None,
        injection_score: 0.0,
        vector: vec![1.0; DIMENSION],
    }
}

async fn put(store: &EdgeStore, document: &str, version: u64, content: String) {
    store.upsert_staged(vec![point(document, version, content)]).await.unwrap();
    store.publish(&TenantId::new("t").unwrap(), &DocumentId::new(document).unwrap(), version, 1).await.unwrap();
}

pub(crate) fn query() -> VectorQuery {
    VectorQuery {
        access: Access { tenant: TenantId::new("t").unwrap(), groups: GroupAccess::All },
        text: "apple".to_owned(),
        vector: Some(vec![1.0; DIMENSION]),
        mode: SearchMode::Hybrid,
        k: 50,
        filter: Filter::default(),
    }
}

/// Ten documents, some on each of the two shards.
pub(crate) async fn ten(store: &EdgeStore) {
    for n in 0..10 {
        put(store, &format!("d{n}"), 1, "apple".to_owned()).await;
    }
}

#[tokio::test]
async fn a_late_shard_is_left_out_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(EdgeConfig { shard_timeout_ms: 500, ..config(directory.path()) }).await;
    ten(&store).await;
    let slow = store.shards.now().shards["s1"].clone();
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    let holder = std::thread::spawn(move || {
        let _guard = slow.exclusive();
        held.send(()).unwrap();
        // Ends when the sender is dropped.
        released.recv().unwrap_err();
    });
    is_held.recv().unwrap();
    let partial = store.search(query()).await.unwrap();
    assert_eq!(partial.shards.missing, ["s1"]);
    assert_eq!((partial.shards.asked, partial.shards.answered), (2, 1));
    assert!((1..10).contains(&partial.hits.len()));
    drop(release);
    holder.join().unwrap();
    let whole = store.search(query()).await.unwrap();
    assert_eq!((whole.shards.missing.len(), whole.hits.len()), (0, 10));
}

#[tokio::test]
async fn dropping_a_search_leaves_the_store_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(EdgeConfig { max_parallel_searches: 1, ..config(directory.path()) }).await;
    ten(&store).await;
    for _ in 0..50 {
        let mut search = Box::pin(store.search(query()));
        // Polled once, so that it has begun.
        assert!(futures::poll!(search.as_mut()).is_pending());
    }
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 10);
}

fn engine_points(from: u128, count: u128) -> Vec<NewPoint> {
    let one = |n| NewPoint {
        id: uuid::Uuid::from_u128(n),
        dense: vec![1.0; DIMENSION],
        sparse: qdrant_edge::SparseVector { indices: vec![1], values: vec![1.0] },
        payload: serde_json::Map::new(),
    };
    (from..from + count).map(one).collect()
}

#[tokio::test]
async fn a_flush_beside_an_update_breaks_the_shard_but_not_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(config(directory.path())).await;
    ten(&store).await;
    store.flush_all().await.unwrap();
    put(&store, "d0", 2, "apple two".to_owned()).await;
    let shard = Arc::clone(store.shards.now().place("t", "d0").unwrap());
    let engine = shard.engine().unwrap();
    // What the writer mutex rules out: an update that nobody else knows of.
    let updates = std::thread::spawn({
        let shard = Arc::clone(&shard);
        move || {
            let mut from = 0;
            while shard.is_healthy() {
                engine
                    .upsert(engine_points(from, 300), crate::edge::filter::in_state(crate::payload::State::Staged))
                    .unwrap();
                from += 300;
            }
        }
    });
    let broken = tokio::task::spawn_blocking({
        let shard = Arc::clone(&shard);
        move || {
            let mut writer = shard.writer().blocking_lock();
            let mut target = shard.applied();
            loop {
                if let Err(error) = shard.flush_to(&mut writer, target) {
                    return error;
                }
                shard.note(1);
                target = shard.applied();
            }
        }
    });
    assert_eq!(broken.await.unwrap().code, ErrorCode::Unavailable);
    updates.join().unwrap();

    assert_eq!(store.unhealthy_shards().await, [shard.name.as_str()]);
    let partial = store.search(query()).await.unwrap();
    assert_eq!(partial.shards.missing, [shard.name.as_str()]);
    assert_eq!(store.flush_all().await.unwrap_err().code, ErrorCode::Unavailable);
    let refused = store.upsert_staged(vec![point("d0", 3, "x".to_owned())]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);

    let healed = Arc::clone(&shard);
    tokio::task::spawn_blocking(move || healed.reopen(true)).await.unwrap().unwrap();
    assert!(store.unhealthy_shards().await.is_empty());
    // The points without a payload, halves of nothing, are gone; every document is there in one version.
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 10);
    let points = store.all_points().await.unwrap();
    assert!(points.iter().all(|point| point.live), "{points:?}");
    assert_eq!(store.count().await.unwrap(), 10);
}

#[tokio::test]
async fn the_languages_of_a_shard_are_known_when_it_heals() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(config(directory.path())).await;
    ten(&store).await;
    let mut german = point("haus", 1, "Die Häuser".to_owned());
    german.language = Some("deu".to_owned());
    store.upsert_staged(vec![german]).await.unwrap();
    store.publish(&TenantId::new("t").unwrap(), &DocumentId::new("haus").unwrap(), 1, 1).await.unwrap();
    let shards = store.shards.now();
    let shard = shards.place("t", "haus").unwrap();
    let path = store.shards.directory.join(&shard.name);
    let aside = directory.path().join("aside");
    let name = shard.name.clone();
    store.close().await.unwrap();
    drop((shards, store));
    std::fs::rename(&path, &aside).unwrap();
    // Nothing can be opened where a file is.
    std::fs::write(&path, "").unwrap();
    let store = open(config(directory.path())).await;
    assert_eq!(store.unhealthy_shards().await, [name.as_str()]);
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    let healed = store.shards.now().shards[&name].clone();
    tokio::task::spawn_blocking(move || healed.reopen(true)).await.unwrap().unwrap();
    let search = VectorQuery { text: "Haus".to_owned(), mode: SearchMode::Keyword, ..query() };
    let found = store.search(search).await.unwrap().hits;
    assert_eq!(found.first().map(|hit| hit.document_id.as_str()), Some("haus"));
}

#[tokio::test]
async fn a_full_disk_stops_new_chunks_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(config(directory.path())).await;
    ten(&store).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(EdgeConfig { min_free_disk_mib: 1 << 40, ..config(directory.path()) }).await;
    let full = store.upsert_staged(vec![point("new", 1, "apple".to_owned())]).await.unwrap_err();
    assert_eq!(full.code, ErrorCode::StorageFull);
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 10);
    let (tenant, document) = (TenantId::new("t").unwrap(), DocumentId::new("d1").unwrap());
    store.remove_versions(&tenant, &document, 2).await.unwrap();
    store.flush_all().await.unwrap();
    assert!(store.unhealthy_shards().await.is_empty());
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 9);
}

#[tokio::test]
async fn reopening_shortens_the_log_and_updates_still_count() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(EdgeConfig { shards: 1, ..config(directory.path()) }).await;
    let long = "apple ".repeat(200_000);
    for n in 0..30 {
        put(&store, &format!("d{n}"), 1, long.clone()).await;
    }
    let shard = store.shards.now().shards["s0"].clone();
    let before = shard.engine().unwrap().closed_log_bytes();
    assert!(before > 20 << 20, "{before}");
    let reopened = Arc::clone(&shard);
    store.flush_all().await.unwrap();
    tokio::task::spawn_blocking(move || reopened.reopen(false)).await.unwrap().unwrap();
    let after = shard.engine().unwrap().closed_log_bytes();
    assert!(after < 10 << 20, "{after}");
    // Were the log's numbers to start again, the engine would take this for an old update and drop it.
    put(&store, "d29", 2, "apple".to_owned()).await;
    put(&store, "new", 1, "apple".to_owned()).await;
    let hits = store.search(query()).await.unwrap().hits;
    assert_eq!(hits.len(), 31);
    assert!(hits.iter().any(|hit| hit.document_id.as_str() == "d29" && hit.version == 2));
    let live = store.all_points().await.unwrap().into_iter().filter(|point| point.document_id == "d29" && point.live);
    assert_eq!(live.map(|point| point.version).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_engine_without_room_says_so() {
    let full = EngineError::Full("os error 28".to_owned());
    assert_eq!(ragstone_core::Error::from(full).code, ErrorCode::StorageFull);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(Engine::open(&directory.path().join("file"), DIMENSION).is_err());
}
