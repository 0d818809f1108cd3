//! What is there again after closing, dropping, damage and kill -9.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{ErrorCode, IndexSpec, SearchMode};
use ragstone_vector::{EdgeConfig, EdgeIndexes, StoredPoint};

use crate::contract::{document, hits, point, put, query, spec, tenant};
use crate::embedded::{config, index_directory, open};

const CHILD_DIRECTORY: &str = "RAGSTONE_TEST_CHILD_DIRECTORY";
const CHILD_FROM: &str = "RAGSTONE_TEST_CHILD_FROM";
const DOCUMENTS: u64 = 5;
const CHUNKS: u32 = 3;

#[tokio::test]
async fn a_closed_store_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&*store, vec![point("t", "d", 1, 0, "apple"), point("t", "d", 1, 1, "pear")]).await;
    store.upsert_staged(vec![point("t", "e", 1, 0, "plum")]).await.unwrap();
    let before = store.all_points().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(
        store.search(query("t", "apple", SearchMode::Hybrid, 5)).await.unwrap_err().code,
        ErrorCode::Unavailable
    );
    assert_eq!(store.flush_all().await.unwrap_err().code, ErrorCode::Unavailable);
    drop(store);
    let store = open(directory.path()).await;
    assert_eq!(store.all_points().await.unwrap(), before);
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Keyword, 5)).await.len(), 1);
    // The staged one can still be published.
    store.publish(&tenant("t"), &document("e"), 1, 1).await.unwrap();
}

#[tokio::test]
async fn a_dropped_store_keeps_what_was_published_and_forgets_what_was_staged() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&*store, vec![point("t", "d", 1, 0, "apple")]).await;
    store.upsert_staged(vec![point("t", "d", 2, 0, "pear")]).await.unwrap();
    drop(store);
    let store = open(directory.path()).await;
    assert_eq!(store.all_points().await.unwrap().len(), 1);
    let gone = store.publish(&tenant("t"), &document("d"), 2, 1).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 5)).await, [("d".to_owned(), 1, 0)]);
}

/// Overwrites what describes the segments of a shard.
fn damage(shard: &Path) {
    for segment in std::fs::read_dir(shard.join("segments")).unwrap() {
        std::fs::write(segment.unwrap().path().join("segment.json"), "not json").unwrap();
    }
}

#[tokio::test]
async fn a_damaged_shard_is_named_and_the_others_serve() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..10 {
        put(&*store, vec![point("t", &format!("d{n}"), 1, 0, "apple")]).await;
    }
    store.close().await.unwrap();
    drop(store);
    let index = index_directory(directory.path());
    damage(&index.join("s0"));
    let store = open(directory.path()).await;
    assert_eq!(store.unhealthy_shards().await, ["s0"]);
    let found = store.search(query("t", "apple", SearchMode::Hybrid, 10)).await.unwrap();
    assert_eq!((found.shards.asked, found.shards.answered, found.shards.missing), (2, 1, vec!["s0".to_owned()]));
    assert!((1..10).contains(&found.hits.len()), "{}", found.hits.len());
    assert_eq!(store.flush_all().await.unwrap_err().code, ErrorCode::Unavailable);
    let mut refused = 0;
    for n in 0..10 {
        let stored = store.upsert_staged(vec![point("t", &format!("d{n}"), 2, 0, "pear")]).await;
        refused += usize::from(stored.is_err_and(|error| error.code == ErrorCode::Unavailable));
    }
    assert_eq!(refused, 10 - found.hits.len());
    drop(store);
    damage(&index.join("s1"));
    // The index cannot be opened at all, but another one can be made, and serve.
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    for error in [indexes.open(None).await.err().unwrap(), indexes.check().await.unwrap_err()] {
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.contains("ingest the documents again"), "{error}");
    }
    assert_eq!(indexes.list().await.unwrap(), [spec()]);
    let other = IndexSpec::of("other", "1", 4);
    indexes.create(&other).await.unwrap();
    assert_eq!(indexes.serving().await.unwrap(), Some(spec().name));
    indexes.serve(&other.name).await.unwrap();
    indexes.check().await.unwrap();
    indexes.remove(&spec().name).await.unwrap();
    indexes.create(&spec()).await.unwrap();
    assert_eq!(indexes.open(Some(&spec().name)).await.unwrap().live_documents().await.unwrap(), 0);
}

#[tokio::test]
async fn an_index_with_a_damaged_manifest_does_not_take_the_others_down() {
    let directory = tempfile::tempdir().unwrap();
    let other = IndexSpec::of("other", "1", 4);
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    indexes.create(&other).await.unwrap();
    indexes.create(&spec()).await.unwrap();
    indexes.close().await.unwrap();
    drop(indexes);
    std::fs::write(index_directory(directory.path()).join("manifest.json"), "{").unwrap();
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    indexes.check().await.unwrap();
    assert_eq!(indexes.list().await.unwrap(), std::slice::from_ref(&other));
    assert_eq!(indexes.open(None).await.unwrap().spec(), &other);
    let error = indexes.open(Some(&spec().name)).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("manifest.json"), "{error}");
    assert_eq!(indexes.serve(&spec().name).await.unwrap_err().code, ErrorCode::Unavailable);
    assert_eq!(indexes.create(&spec()).await.unwrap_err().code, ErrorCode::Unavailable);
    indexes.remove(&spec().name).await.unwrap();
    indexes.create(&spec()).await.unwrap();
}

#[tokio::test]
async fn a_directory_serves_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let second = EdgeIndexes::open(config(directory.path())).await.unwrap_err();
    assert_eq!(second.code, ErrorCode::Conflict);
    assert!(second.message.contains("another process"), "{second}");
    drop(store);
    open(directory.path()).await;
    let no_shards = EdgeConfig { shards: 0, ..config(directory.path()) };
    assert_eq!(EdgeIndexes::open(no_shards).await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn removed_points_are_gone_and_late_ones_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let version = |number, chunks| (0..chunks).map(|n| point("t", "d", number, n, "apple")).collect::<Vec<_>>();
    put(&*store, version(1, 5)).await;
    put(&*store, version(2, 2)).await;
    assert_eq!(store.count().await.unwrap(), 7);
    store.remove_versions(&tenant("t"), &document("d"), 2).await.unwrap();
    let before = store.all_points().await.unwrap();
    assert_eq!(before.len(), 2);
    store.upsert_staged(version(1, 4)).await.unwrap();
    store.upsert_staged(version(2, 2)).await.unwrap();
    store.publish(&tenant("t"), &document("d"), 1, 4).await.unwrap();
    assert_eq!(store.all_points().await.unwrap(), before);
    store.remove_versions(&tenant("t"), &document("d"), 3).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
}

/// Runs in the child process: replaces documents for ever and tells of each version that is on disk.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn child_writes_until_killed() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
        return;
    };
    let from: u64 = std::env::var(CHILD_FROM).unwrap().parse().unwrap();
    let store = open(Path::new(&directory)).await;
    for version in from.. {
        for number in 0..DOCUMENTS {
            let name = format!("d{number}");
            let chunks = (0..CHUNKS).map(|n| point("t", &name, version, n, &format!("apple {version} {n}")));
            put(&*store, chunks.collect()).await;
            store.remove_versions(&tenant("t"), &document(&name), version).await.unwrap();
            store.flush_all().await.unwrap();
            println!("flushed {number} {version}");
        }
    }
}

/// Starts the child, lets it tell of `lines` flushed versions and kills it. The highest flushed version of each document.
fn write_and_kill(directory: &Path, from: u64, lines: usize) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::child_writes_until_killed", "--ignored", "--nocapture"])
        .env(CHILD_DIRECTORY, directory)
        .env(CHILD_FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut flushed = BTreeMap::new();
    let mut told = 0;
    for line in output.lines() {
        let line = line.unwrap();
        let Some((_, rest)) = line.split_once("flushed ") else {
            continue;
        };
        let (number, version) = rest.split_once(' ').unwrap();
        flushed.insert(format!("d{number}"), version.parse().unwrap());
        told += 1;
        if told == lines {
            // SIGKILL on Unix; the lines already in the pipe are read to the end.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told >= lines, "the child ended early");
    flushed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flushed_version_survives_kill_9_whole_and_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut from = 1;
    // Different numbers of lines: the kill lands at different steps.
    for lines in [1, 7, 23, 40, 11] {
        let flushed = write_and_kill(directory.path(), from, lines);
        let store = open(directory.path()).await;
        assert!(store.unhealthy_shards().await.is_empty());
        let mut versions: BTreeMap<String, Vec<StoredPoint>> = BTreeMap::new();
        for point in store.all_points().await.unwrap() {
            versions.entry(point.document_id.clone()).or_default().push(point);
        }
        for (name, version) in &flushed {
            let points = versions.get(name).map_or(&[][..], Vec::as_slice);
            assert_eq!(points.len(), CHUNKS as usize, "{name}: {points:?}");
            assert!(points.iter().all(|point| point.live && point.version == points[0].version), "{points:?}");
            assert!(points[0].version >= *version, "{name}: {} after {version} was flushed", points[0].version);
        }
        for mode in [SearchMode::Dense, SearchMode::Keyword] {
            let found = hits(&*store, query("t", "apple", mode, 100)).await;
            assert_eq!(found.len(), versions.len() * CHUNKS as usize, "{mode:?}");
        }
        from = flushed.values().max().unwrap() + 2;
        drop(store);
    }
}
