//! What is refused, and that equal input gives equal output.

use ragstone_core::{ErrorCode, SearchMode};

use crate::contract::{DIMENSION, Fixture, document, fresh, hits, point, put, query, tenant};

pub(crate) async fn unusable_vectors_are_refused_and_nothing_is_stored(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
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
    let nothing = store.publish(&tenant("t"), &document("d"), 1, 1).await.unwrap_err();
    assert_eq!(nothing.code, ErrorCode::NotFound);
}

pub(crate) async fn a_vector_is_needed_except_for_keywords(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    put(&*store, vec![point("t", "d", 1, 0, "text")]).await;
    for (mode, works) in [(SearchMode::Keyword, true), (SearchMode::Hybrid, false), (SearchMode::Dense, false)] {
        let mut search = query("t", "text", mode, 3);
        search.vector = None;
        assert_eq!(store.search(search).await.is_ok(), works, "{mode:?}");
    }
    let none = store.search(query("t", "text", SearchMode::Keyword, 0)).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::InvalidArgument);
}

pub(crate) async fn ties_break_on_ids_whatever_the_order_of_arrival<F: Fixture>(fixture: &F) {
    let names = ["d", "a", "c", "e", "b"];
    let other = F::start(2).await.unwrap();
    let mut rankings = Vec::new();
    for (fixture, turn) in [(fixture, 0), (&other, 2)] {
        let (_indexes, store) = fresh(fixture).await;
        let mut order = names.to_vec();
        order.rotate_left(turn);
        for name in order {
            put(&*store, vec![point("t", name, 1, 0, "same words")]).await;
        }
        for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
            rankings.push(hits(&*store, query("t", "same words", mode, 5)).await);
        }
    }
    assert_eq!(rankings[..3], rankings[3..]);
    let dense: Vec<&str> = rankings[1].iter().map(|hit| hit.0.as_str()).collect();
    assert_eq!(dense, ["a", "b", "c", "d", "e"]);
}
