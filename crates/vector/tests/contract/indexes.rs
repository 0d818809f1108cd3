//! Several indexes: made, served, switched, removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ragstone_core::{ErrorCode, IndexName, IndexSpec, SearchMode};

use crate::contract::{DIMENSION, Fixture, document, fresh, hits, point, put, query, reopened, spec, tenant, vector};

/// An index for another model, with vectors of another length.
fn other() -> IndexSpec {
    IndexSpec::of("other", "test-2", DIMENSION * 2)
}

/// A chunk for that index.
fn other_point(name: &str, version: u64) -> ragstone_core::ports::Point {
    let mut point = point("t", name, version, 0, "apple");
    point.vector = [vector(1), vector(2)].concat();
    point
}

pub(crate) async fn creating_twice_changes_nothing(fixture: &impl Fixture) {
    let (indexes, store) = fresh(fixture).await;
    assert_eq!(store.spec(), &spec());
    put(&*store, vec![point("t", "d", 1, 0, "apple")]).await;
    indexes.create(&spec()).await.unwrap();
    assert_eq!(indexes.list().await.unwrap(), [spec()]);
    let again = indexes.open(Some(&spec().name)).await.unwrap();
    assert_eq!(hits(&*again, query("t", "apple", SearchMode::Hybrid, 5)).await.len(), 1);
    indexes.check().await.unwrap();
}

pub(crate) async fn an_index_for_something_else_is_refused(fixture: &impl Fixture) {
    let (indexes, store) = fresh(fixture).await;
    put(&*store, vec![point("t", "d", 1, 0, "apple")]).await;
    for (wanted, says) in [
        (IndexSpec { dimension: 16, ..spec() }, ["8", "16"]),
        (IndexSpec { model: "another".to_owned(), ..spec() }, ["model", "another"]),
        (IndexSpec { revision: "test-2".to_owned(), ..spec() }, ["test-1", "test-2"]),
    ] {
        let error = indexes.create(&wanted).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict, "{error}");
        assert!(says.iter().all(|part| error.message.contains(part)), "{error}");
    }
    assert_eq!(indexes.list().await.unwrap(), [spec()]);
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 5)).await.len(), 1);
}

pub(crate) async fn the_first_one_serves_and_another_takes_over(fixture: &impl Fixture) {
    let indexes = fixture.open().await;
    assert_eq!(indexes.serving().await.unwrap(), None);
    assert!(indexes.list().await.unwrap().is_empty());
    assert_eq!(indexes.open(None).await.err().map(|error| error.code), Some(ErrorCode::NotFound));
    let missing = IndexName::new("missing").unwrap();
    assert_eq!(indexes.open(Some(&missing)).await.err().map(|error| error.code), Some(ErrorCode::NotFound));
    assert_eq!(indexes.serve(&missing).await.unwrap_err().code, ErrorCode::NotFound);
    indexes.check().await.unwrap();

    indexes.create(&spec()).await.unwrap();
    indexes.create(&other()).await.unwrap();
    let mut names = [spec(), other()];
    names.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(indexes.list().await.unwrap(), names);
    assert_eq!(indexes.serving().await.unwrap(), Some(spec().name));
    assert_eq!(indexes.open(None).await.unwrap().spec(), &spec());
    for wanted in [other(), other(), spec()] {
        indexes.serve(&wanted.name).await.unwrap();
        assert_eq!(indexes.serving().await.unwrap(), Some(wanted.name.clone()));
        assert_eq!(indexes.open(None).await.unwrap().spec(), &wanted);
    }
}

pub(crate) async fn searches_go_on_while_another_index_takes_over(fixture: &impl Fixture) {
    let indexes = fixture.open().await;
    let (first, second) = (spec(), IndexSpec::of("model", "test-2", DIMENSION));
    for (version, spec) in [(1, &first), (2, &second)] {
        indexes.create(spec).await.unwrap();
        let store = indexes.open(Some(&spec.name)).await.unwrap();
        put(&*store, vec![point("t", "d", version, 0, "apple")]).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (indexes, done, reads) = (Arc::clone(&indexes), Arc::clone(&done), Arc::clone(&reads));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let store = indexes.open(None).await.unwrap();
                    let found = hits(&*store, query("t", "apple", SearchMode::Hybrid, 5)).await;
                    assert_eq!(found.len(), 1, "{found:?}");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for turn in 0..20_u64 {
        let (version, spec) = if turn % 2 == 0 { (2, &second) } else { (1, &first) };
        indexes.serve(&spec.name).await.unwrap();
        let store = indexes.open(None).await.unwrap();
        let found = hits(&*store, query("t", "apple", SearchMode::Hybrid, 5)).await;
        assert_eq!(found, [("d".to_owned(), version, 0)]);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > 4, "readers hardly ran");
}

pub(crate) async fn a_removed_index_is_gone_and_the_serving_one_stays(fixture: &impl Fixture) {
    let (indexes, store) = fresh(fixture).await;
    put(&*store, vec![point("t", "d", 1, 0, "apple")]).await;
    indexes.create(&other()).await.unwrap();
    let second = indexes.open(Some(&other().name)).await.unwrap();
    put(&*second, vec![other_point("d", 1)]).await;
    drop(second);
    assert_eq!(indexes.remove(&spec().name).await.unwrap_err().code, ErrorCode::Conflict);
    for _ in 0..2 {
        indexes.remove(&other().name).await.unwrap();
        assert_eq!(indexes.list().await.unwrap(), [spec()]);
        assert_eq!(indexes.open(Some(&other().name)).await.err().map(|error| error.code), Some(ErrorCode::NotFound));
    }
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 5)).await.len(), 1);
    // Made again, it is empty.
    indexes.create(&other()).await.unwrap();
    let again = indexes.open(Some(&other().name)).await.unwrap();
    assert_eq!(again.live_documents().await.unwrap(), 0);
}

pub(crate) async fn everything_is_there_again_after_opening(fixture: &impl Fixture) {
    let (indexes, store) = fresh(fixture).await;
    indexes.create(&other()).await.unwrap();
    put(&*store, vec![point("t", "d", 1, 0, "apple")]).await;
    store.flush(&tenant("t"), &document("d")).await.unwrap();
    let second = indexes.open(Some(&other().name)).await.unwrap();
    put(&*second, vec![other_point("e", 7)]).await;
    second.flush(&tenant("t"), &document("e")).await.unwrap();
    indexes.serve(&other().name).await.unwrap();
    drop(second);
    let (indexes, store) = reopened(fixture, (indexes, store)).await;
    assert_eq!(indexes.list().await.unwrap().len(), 2);
    assert_eq!(indexes.serving().await.unwrap(), Some(other().name));
    assert_eq!(store.spec(), &other());
    let mut search = query("t", "apple", SearchMode::Hybrid, 5);
    search.vector = Some([vector(1), vector(2)].concat());
    assert_eq!(hits(&*store, search).await, [("e".to_owned(), 7, 0)]);
    let first = indexes.open(Some(&spec().name)).await.unwrap();
    assert_eq!(hits(&*first, query("t", "apple", SearchMode::Hybrid, 5)).await, [("d".to_owned(), 1, 0)]);
    indexes.create(&spec()).await.unwrap();
    assert_eq!(indexes.serving().await.unwrap(), Some(other().name));
}
