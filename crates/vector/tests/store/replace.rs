//! Staging, publishing, replacing and removing documents, also under concurrent readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::common::{document, hits, open, point, put, query, tenant};
use ragstone_core::ports::{Point, VectorStore};
use ragstone_core::{ErrorCode, SearchMode};

fn version(number: u64, chunks: u32) -> Vec<Point> {
    (0..chunks).map(|n| point("t", "d", number, n, &format!("apple number{number} part{n}"))).collect()
}

#[tokio::test]
async fn staged_chunks_are_invisible_until_published() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.upsert_staged(version(1, 3)).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
        assert!(hits(&store, query("t", "apple", mode, 10)).await.is_empty(), "{mode:?}");
    }
    store.publish(&tenant("t"), &document("d"), 1, 3).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
        assert_eq!(hits(&store, query("t", "apple", mode, 10)).await.len(), 3, "{mode:?}");
    }
}

#[tokio::test]
async fn publishing_hides_the_older_version_and_removal_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&store, version(1, 5)).await;
    put(&store, version(2, 2)).await;
    // Words of the old version only: it must not come back through them.
    assert!(hits(&store, query("t", "number1 part4", SearchMode::Keyword, 10)).await.is_empty());
    assert_eq!(hits(&store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
    assert_eq!(store.count().await.unwrap(), 7);
    store.remove_versions(&tenant("t"), &document("d"), 2).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 2);
    store.remove_versions(&tenant("t"), &document("d"), 3).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
    assert!(hits(&store, query("t", "apple", SearchMode::Hybrid, 10)).await.is_empty());
}

#[tokio::test]
async fn late_and_repeated_deliveries_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&store, version(2, 2)).await;
    let before = store.all_points().await.unwrap();
    // Older than the live one.
    store.upsert_staged(version(1, 4)).await.unwrap();
    store.publish(&tenant("t"), &document("d"), 1, 4).await.unwrap();
    // The live one again: it must stay visible.
    store.upsert_staged(version(2, 2)).await.unwrap();
    assert_eq!(store.all_points().await.unwrap(), before);
    store.publish(&tenant("t"), &document("d"), 2, 2).await.unwrap();
    assert_eq!(store.all_points().await.unwrap(), before);
    assert_eq!(hits(&store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
}

#[tokio::test]
async fn an_incomplete_version_is_not_published() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&store, version(1, 2)).await;
    let missing = store.publish(&tenant("t"), &document("d"), 2, 3).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound);
    // Chunk 0 is missing.
    store.upsert_staged(version(2, 3).split_off(1)).await.unwrap();
    let gap = store.publish(&tenant("t"), &document("d"), 2, 3).await.unwrap_err();
    assert_eq!(gap.code, ErrorCode::NotFound);
    // The last chunk is missing: only the number tells.
    store.upsert_staged(version(3, 3)[..2].to_vec()).await.unwrap();
    let short = store.publish(&tenant("t"), &document("d"), 3, 3).await.unwrap_err();
    assert_eq!(short.code, ErrorCode::NotFound);
    assert_eq!(hits(&store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_an_empty_or_mixed_document_while_it_is_replaced() {
    const READERS: usize = 20;
    const UPDATES: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()).await);
    put(&store, version(1, 3)).await;
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|n| {
            let (store, done, reads) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&reads));
            let mode = [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword][n % 3];
            tokio::spawn(async move {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let found = hits(&store, query("t", "apple", mode, 10)).await;
                    assert_eq!(found.len(), 3, "{mode:?}: {found:?}");
                    assert!(found.iter().all(|(_, version, _)| *version == found[0].1), "{mode:?}: {found:?}");
                    assert!(found[0].1 >= last, "went back from {last} to {}", found[0].1);
                    last = found[0].1;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 2..UPDATES + 2 {
        put(&store, version(number, 3)).await;
        // Some removals late, so that several old versions lie about.
        if number % 3 == 0 {
            store.remove_versions(&tenant("t"), &document("d"), number).await.unwrap();
        }
        if number % 50 == 0 {
            store.flush_all().await.unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > READERS, "readers hardly ran");
}
