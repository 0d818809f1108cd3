//! Staging, publishing, replacing and removing documents, also under concurrent readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::contract::{Fixture, document, fresh, hits, point, put, query, tenant};
use ragstone_core::ports::Point;
use ragstone_core::{ErrorCode, SearchMode};

fn version(number: u64, chunks: u32) -> Vec<Point> {
    (0..chunks).map(|n| point("t", "d", number, n, &format!("apple number{number} part{n}"))).collect()
}

pub(crate) async fn staged_chunks_are_invisible_until_published(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    store.upsert_staged(version(1, 3)).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
        assert!(hits(&*store, query("t", "apple", mode, 10)).await.is_empty(), "{mode:?}");
    }
    store.publish(&tenant("t"), &document("d"), 1, 3).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
        assert_eq!(hits(&*store, query("t", "apple", mode, 10)).await.len(), 3, "{mode:?}");
    }
}

pub(crate) async fn publishing_hides_the_older_version_and_removal_is_complete(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    put(&*store, version(1, 5)).await;
    put(&*store, version(2, 2)).await;
    // Words of the old version only: it must not come back through them.
    assert!(hits(&*store, query("t", "number1 part4", SearchMode::Keyword, 10)).await.is_empty());
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
    store.remove_versions(&tenant("t"), &document("d"), 2).await.unwrap();
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
    // Staged ones go too, and what is not there is removed without complaint.
    store.upsert_staged(version(3, 1)).await.unwrap();
    for _ in 0..2 {
        store.remove_versions(&tenant("t"), &document("d"), 4).await.unwrap();
        assert!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await.is_empty());
    }
    for gone in [(2, 2), (3, 1)] {
        let error = store.publish(&tenant("t"), &document("d"), gone.0, gone.1).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
    }
    assert_eq!(store.live_documents().await.unwrap(), 0);
}

pub(crate) async fn late_and_repeated_deliveries_change_nothing(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    put(&*store, version(2, 2)).await;
    let before = hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await;
    assert_eq!(before.len(), 2);
    // Older than the live one.
    store.upsert_staged(version(1, 4)).await.unwrap();
    store.publish(&tenant("t"), &document("d"), 1, 4).await.unwrap();
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await, before);
    // The live one again: it must stay visible.
    store.upsert_staged(version(2, 2)).await.unwrap();
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await, before);
    store.publish(&tenant("t"), &document("d"), 2, 2).await.unwrap();
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await, before);
    assert_eq!(store.live_documents().await.unwrap(), 1);
}

pub(crate) async fn an_incomplete_version_is_not_published(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    put(&*store, version(1, 2)).await;
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
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 10)).await.len(), 2);
}

pub(crate) async fn readers_never_see_an_empty_or_mixed_document_while_it_is_replaced(fixture: &impl Fixture) {
    const READERS: usize = 20;
    const UPDATES: u64 = 200;
    let (_indexes, store) = fresh(fixture).await;
    put(&*store, version(1, 3)).await;
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicUsize::new(0));
    // The newest version whose publication has returned. While one is under way, replicas may differ.
    let published = Arc::new(AtomicU64::new(1));
    let readers: Vec<_> = (0..READERS)
        .map(|n| {
            let (store, done, reads) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&reads));
            let published = Arc::clone(&published);
            let mode = [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword][n % 3];
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let at_least = published.load(Ordering::SeqCst);
                    let found = hits(&*store, query("t", "apple", mode, 10)).await;
                    assert_eq!(found.len(), 3, "{mode:?}: {found:?}");
                    assert!(found.iter().all(|(_, version, _)| *version == found[0].1), "{mode:?}: {found:?}");
                    assert!(found[0].1 >= at_least, "{at_least} is published, but found was {}", found[0].1);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 2..UPDATES + 2 {
        put(&*store, version(number, 3)).await;
        published.store(number, Ordering::SeqCst);
        // Some removals late, so that several old versions lie about.
        if number % 3 == 0 {
            store.remove_versions(&tenant("t"), &document("d"), number).await.unwrap();
        }
        if number % 50 == 0 {
            store.flush(&tenant("t"), &document("d")).await.unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > READERS, "readers hardly ran");
}

pub(crate) async fn the_next_search_sees_what_was_flushed(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    for number in 1..=20_u64 {
        let name = format!("d{number}");
        put(&*store, vec![point("t", &name, number, 0, "apple")]).await;
        store.flush(&tenant("t"), &document(&name)).await.unwrap();
        for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
            let found = hits(&*store, query("t", "apple", mode, 30)).await;
            assert!(found.contains(&(name.clone(), number, 0)), "{mode:?}: {found:?}");
        }
    }
}

pub(crate) async fn live_documents_are_counted_once(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    assert_eq!(store.live_documents().await.unwrap(), 0);
    for tenant in ["t", "u"] {
        for name in ["a", "b", "c"] {
            let chunks = |version| (0..3).map(|n| point(tenant, name, version, n, "apple")).collect::<Vec<_>>();
            put(&*store, chunks(1)).await;
            put(&*store, chunks(2)).await;
            store.upsert_staged(chunks(3)).await.unwrap();
        }
    }
    store.upsert_staged(vec![point("t", "staged", 1, 0, "apple")]).await.unwrap();
    assert_eq!(store.live_documents().await.unwrap(), 6);
    store.remove_versions(&tenant("u"), &document("a"), 4).await.unwrap();
    assert_eq!(store.live_documents().await.unwrap(), 5);
}
