//! A directory of the first layout, with the shards of its single index right in it.

use std::path::Path;

use ragstone_core::ports::VectorIndexes;
use ragstone_core::{ErrorCode, IndexName, IndexSpec, SearchMode};
use ragstone_vector::EdgeIndexes;
use serde_json::{Value, json};

use crate::contract::{DIMENSION, hits, point, put, query, spec};
use crate::embedded::{config, index_directory, open};

/// Makes one with ten documents.
async fn first_layout(directory: &Path) {
    let store = open(directory).await;
    for n in 0..10 {
        put(&*store, vec![point("t", &format!("d{n}"), 1, 0, "apple")]).await;
    }
    store.close().await.unwrap();
    drop(store);
    let (path, index) = (directory.join("index"), index_directory(directory));
    for name in ["s0", "s1", "clean"] {
        std::fs::rename(index.join(name), path.join(name)).unwrap();
    }
    std::fs::remove_dir_all(index).unwrap();
    std::fs::remove_file(path.join("serving")).unwrap();
    write_manifest(&path, None);
}

fn write_manifest(path: &Path, taken_by: Option<&IndexSpec>) {
    let mut manifest = json!({"format": 1, "shards": ["s0", "s1"], "dimension": DIMENSION, "model_revision": "model"});
    if let Some(spec) = taken_by {
        manifest["taken_by"] = serde_json::to_value(spec).unwrap();
    }
    std::fs::write(path.join("manifest.json"), manifest.to_string()).unwrap();
}

async fn all_are_there(indexes: &EdgeIndexes) {
    let store = indexes.store(Some(&spec().name)).await.unwrap();
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 50)).await.len(), 10);
    assert_eq!(store.count().await.unwrap(), 10);
}

#[tokio::test]
async fn the_first_index_for_its_model_takes_it_over() {
    let directory = tempfile::tempdir().unwrap();
    first_layout(directory.path()).await;
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    assert!(indexes.list().await.unwrap().is_empty());
    // Another model, or vectors of another length: not these shards.
    for other in [IndexSpec::of("another", "1", DIMENSION), IndexSpec::of("model", "1", DIMENSION + 1)] {
        indexes.create(&other).await.unwrap();
        let store = indexes.store(Some(&other.name)).await.unwrap();
        assert_eq!(store.count().await.unwrap(), 0);
    }
    // Nor may an index take the place of one of them.
    let name = IndexName::new("s0").unwrap();
    let refused = indexes.create(&IndexSpec { name, ..IndexSpec::of("another", "2", 4) }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    indexes.create(&spec()).await.unwrap();
    all_are_there(&indexes).await;
    assert!(!directory.path().join("index/s0").exists() && !directory.path().join("index/manifest.json").exists());
    // And only once.
    let later = IndexSpec::of("model", "later", DIMENSION);
    indexes.create(&later).await.unwrap();
    assert_eq!(indexes.store(Some(&later.name)).await.unwrap().count().await.unwrap(), 0);
    indexes.close().await.unwrap();
    drop(indexes);
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    all_are_there(&indexes).await;
}

#[tokio::test]
async fn a_takeover_that_a_crash_broke_off_is_finished_at_the_next_start() {
    for moved in [&[][..], &["s0"], &["s0", "s1"], &["s0", "s1", "clean"]] {
        let directory = tempfile::tempdir().unwrap();
        first_layout(directory.path()).await;
        let (path, index) = (directory.path().join("index"), index_directory(directory.path()));
        write_manifest(&path, Some(&spec()));
        std::fs::create_dir_all(&index).unwrap();
        for name in moved {
            std::fs::rename(path.join(name), index.join(name)).unwrap();
        }
        let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
        assert_eq!(indexes.list().await.unwrap(), [spec()]);
        all_are_there(&indexes).await;
        // It serves when it is made, as every first one.
        indexes.create(&spec()).await.unwrap();
        assert_eq!(indexes.serving().await.unwrap(), Some(spec().name));
    }
}

#[tokio::test]
async fn a_takeover_that_failed_halfway_goes_on_at_the_next_attempt() {
    for same_first in [false, true] {
        failed_halfway(same_first).await;
    }
}

async fn failed_halfway(same_first: bool) {
    let directory = tempfile::tempdir().unwrap();
    first_layout(directory.path()).await;
    let (path, index) = (directory.path().join("index"), index_directory(directory.path()));
    let indexes = EdgeIndexes::open(config(directory.path())).await.unwrap();
    // As it is when the second shard could not be moved.
    write_manifest(&path, Some(&spec()));
    std::fs::create_dir_all(&index).unwrap();
    std::fs::rename(path.join("s0"), index.join("s0")).unwrap();
    let another_revision = IndexSpec::of("model", "other", DIMENSION);
    for wanted in if same_first { [spec(), another_revision.clone()] } else { [another_revision.clone(), spec()] } {
        indexes.create(&wanted).await.unwrap();
        all_are_there(&indexes).await;
    }
    assert_eq!(indexes.store(Some(&another_revision.name)).await.unwrap().count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_damaged_manifest_of_the_first_layout_is_named() {
    let directory = tempfile::tempdir().unwrap();
    first_layout(directory.path()).await;
    let path = directory.path().join("index/manifest.json");
    for text in [Value::Null.to_string(), json!({"format": 9}).to_string()] {
        std::fs::write(&path, text).unwrap();
        let error = EdgeIndexes::open(config(directory.path())).await.unwrap_err();
        assert!(error.message.contains("manifest.json"), "{error}");
    }
}
