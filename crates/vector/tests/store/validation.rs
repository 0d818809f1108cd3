//! What is refused, and that equal input gives equal output.

use ragstone_core::ports::VectorStore;
use ragstone_core::{ErrorCode, IndexSpec, SearchMode};
use ragstone_vector::{EdgeConfig, EdgeStore};

use crate::common::{DIMENSION, config, hits, open, point, put, query, space};

#[tokio::test]
async fn unusable_vectors_are_refused_and_nothing_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mut nan = vec![0.5; DIMENSION];
    nan[3] = f32::NAN;
    for bad in [vec![0.5; DIMENSION - 1], nan, vec![f32::INFINITY; DIMENSION], vec![0.0; DIMENSION], Vec::new()] {
        let mut second = point("t", "d", 1, 1, "text");
        second.vector = bad.clone();
        let error = store.upsert_staged(vec![point("t", "d", 1, 0, "text"), second]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{bad:?}");
        let mut search = query("t", "text", SearchMode::Dense, 3);
        search.vector = Some(bad);
        assert_eq!(store.search(search).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_vector_is_needed_except_for_keywords() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    put(&store, vec![point("t", "d", 1, 0, "text")]).await;
    for (mode, works) in [(SearchMode::Keyword, true), (SearchMode::Hybrid, false), (SearchMode::Dense, false)] {
        let mut search = query("t", "text", mode, 3);
        search.vector = None;
        assert_eq!(store.search(search).await.is_ok(), works, "{mode:?}");
    }
    let none = store.search(query("t", "text", SearchMode::Keyword, 0)).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn ties_break_on_ids_whatever_the_order_of_arrival() {
    let names = ["d", "a", "c", "e", "b"];
    let mut rankings = Vec::new();
    for turn in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        let mut order = names.to_vec();
        order.rotate_left(turn * 2);
        for name in order {
            put(&store, vec![point("t", name, 1, 0, "same words")]).await;
        }
        for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
            rankings.push(hits(&store, query("t", "same words", mode, 5)).await);
        }
    }
    assert_eq!(rankings[..3], rankings[3..]);
    let dense: Vec<&str> = rankings[1].iter().map(|hit| hit.0.as_str()).collect();
    assert_eq!(dense, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_store_made_for_something_else_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await);
    let wrong_dimension = IndexSpec { dimension: 16, ..space() };
    let wrong_model = IndexSpec { revision: "test-2".to_owned(), ..space() };
    let wrong_shards = EdgeConfig { shards: 3, ..config(directory.path()) };
    for (config, space, says) in [
        (config(directory.path()), wrong_dimension, ["dimension 8", "new data directory"]),
        (config(directory.path()), wrong_model, ["revision test-1", "new data directory"]),
        (wrong_shards, space(), ["2 shards", "new data directory"]),
    ] {
        let error = EdgeStore::open(config, space).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(says.iter().all(|part| error.message.contains(part)), "{error}");
    }
    drop(open(directory.path()).await);
    let no_shards = EdgeConfig { shards: 0, ..config(directory.path()) };
    assert_eq!(EdgeStore::open(no_shards, space()).await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn a_directory_serves_one_store_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let second = EdgeStore::open(config(directory.path()), space()).await.unwrap_err();
    assert_eq!(second.code, ErrorCode::Conflict);
    assert!(second.message.contains("another process"), "{second}");
    drop(store);
    open(directory.path()).await;
}
