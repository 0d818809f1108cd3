//! Moving to another model, to other shards, and what a lost store gets back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ragstone_core::ports::Catalog as _;
use ragstone_core::{DocumentStatus, ErrorCode, IndexName, IndexState, JobStatus};

use super::fixture::{Fixture, asker};

fn n() -> IndexName {
    IndexName::of("n", "r1")
}

fn m() -> IndexName {
    IndexName::of("m", "r1")
}

const LONG: &str = "one two three four five six seven eight nine ten eleven twelve";

#[tokio::test]
async fn a_new_model_is_filled_beside_the_serving_one_and_then_serves() {
    let f = Fixture::new().await;
    f.put("a", LONG).await;
    f.put("b", "short").await;
    f.work().await;
    let begun = f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    assert_eq!((begun.index.state, begun.unfinished.active, begun.documents), (IndexState::Building, 2, 0));
    assert_eq!(*f.index.counted.lock().unwrap(), [], "not while documents wait");
    let early = f.indexes.switch(&asker(), Some(n())).await.unwrap_err();
    assert_eq!(early.code, ErrorCode::Conflict, "{}", early.message);
    // Written meanwhile: a new document, a new version, a deletion.
    f.put("c", "new").await;
    f.put("b", "newer").await;
    f.work().await;
    f.delete("a").await;
    f.put("a2", LONG).await;
    f.work().await;
    assert_eq!(f.index.serves(), m());
    assert_eq!(f.index.visible("a2"), [LONG]);
    let fitted = f.index.visible_in(&n(), "a2");
    assert!(fitted.len() > 1 && fitted.iter().all(|chunk| chunk.len() <= 32), "{fitted:?}");
    assert_eq!(f.index.visible_in(&n(), "b"), ["newer"]);
    assert!(f.index.visible_in(&n(), "a").is_empty());

    let serving = f.indexes.switch(&asker(), Some(n())).await.unwrap();
    assert_eq!((serving.index.state, serving.documents, serving.expected), (IndexState::Serving, 3, 3));
    assert_eq!(*f.index.counted.lock().unwrap(), [n()], "once, and no other index");
    assert_eq!(f.index.serves(), n());
    // The other one is kept up to date, and serves again at a word.
    f.put("d", "later").await;
    f.work().await;
    assert_eq!(f.index.visible_in(&m(), "d"), ["later"]);
    assert_eq!(f.indexes.drop_index(&asker(), &n()).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(f.indexes.switch(&asker(), None).await.unwrap().index.spec.name, m());
    f.indexes.drop_index(&asker(), &n()).await.unwrap();
    assert!(f.index.visible_in(&n(), "d").is_empty());
    assert_eq!(f.indexes.drop_index(&asker(), &n()).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(f.indexes.switch(&asker(), None).await.unwrap_err().code, ErrorCode::Conflict, "nothing to go back to");
}

#[tokio::test]
async fn an_index_that_lost_a_document_is_not_switched_to() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.put("b", "more words").await;
    f.work().await;
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    f.work().await;
    f.index.lose(&n(), "b");
    let refused = f.indexes.switch(&asker(), Some(n())).await.unwrap_err();
    assert!(refused.message.contains("holds 1 documents, the catalog 2"), "{}", refused.message);
    assert_eq!(f.index.serves(), m());
}

#[tokio::test]
async fn nobody_waits_for_an_index_that_does_not_serve() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.work().await;
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    f.embedding.n_is_away.store(true, Ordering::SeqCst);
    let job = f.put("b", "more words").await;
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Done);
    assert_eq!(f.index.visible("b"), ["more words"]);
    let waiting = f.indexes.read().await.unwrap().pop().unwrap();
    assert_eq!((waiting.unfinished.active, waiting.documents), (2, 0));
    f.embedding.n_is_away.store(false, Ordering::SeqCst);
    f.pass_long();
    f.work().await;
    assert_eq!(f.index.visible_in(&n(), "b"), ["more words"]);
    f.indexes.switch(&asker(), Some(n())).await.unwrap();
}

#[tokio::test]
async fn a_job_resumed_at_its_end_does_not_claim_what_it_never_wrote() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.work().await;
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    f.work().await;
    // The new version misses the index that is built, and then its last step fails.
    f.embedding.n_is_away.store(true, Ordering::SeqCst);
    let job = f.put("a", "newer words").await;
    // Staging and publishing in `m` go well, removing does not.
    f.index.answers.lock().unwrap().extend([None, None, Some(ErrorCode::Unavailable)]);
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Queued);
    f.pass_long();
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Done);
    f.embedding.n_is_away.store(false, Ordering::SeqCst);
    f.pass_long();
    f.work().await;
    assert_eq!(f.index.visible_in(&n(), "a"), ["newer words"]);
    f.indexes.switch(&asker(), Some(n())).await.unwrap();
}

#[tokio::test]
async fn a_failed_rebuild_leaves_the_document_alone_and_is_tried_again() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.work().await;
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    for _ in 0..3 {
        f.embedding.errors.lock().unwrap().push_back(ErrorCode::Internal);
        f.work().await;
        f.pass_long();
    }
    let stuck = f.indexes.read().await.unwrap().pop().unwrap();
    assert_eq!((stuck.unfinished.active, stuck.unfinished.stuck), (0, 1));
    assert_eq!(f.document("a").await.status, DocumentStatus::Ready);
    assert_eq!(f.indexes.switch(&asker(), Some(n())).await.unwrap_err().code, ErrorCode::Conflict);
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    f.work().await;
    f.indexes.switch(&asker(), Some(n())).await.unwrap();
    assert_eq!(f.index.visible("a"), ["words"]);
}

#[tokio::test]
async fn a_model_nobody_has_is_refused() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.work().await;
    assert_eq!(f.indexes.begin_reindex(&asker(), "x").await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(f.indexes.begin_reindex(&asker(), "").await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert_eq!(
        f.indexes.begin_reindex(&asker(), "m").await.unwrap_err().code,
        ErrorCode::Conflict,
        "it serves already"
    );
}

#[tokio::test]
async fn documents_move_to_their_shards_until_none_is_left() {
    let f = Fixture::new().await;
    for number in 0..40 {
        f.put(&format!("d{number}"), "words").await;
    }
    f.work().await;
    let shards = ["s0".to_owned(), "s1".to_owned()];
    let begun = f.indexes.reshard(&asker(), &shards).await.unwrap();
    let leaving = begun.unfinished.active;
    assert!((10..=30).contains(&leaving), "{leaving} of 40");
    assert_eq!(f.indexes.reshard(&asker(), &shards).await.unwrap().unfinished.active, leaving, "again changes nothing");
    f.indexes.look_after().await.unwrap();
    f.work().await;
    assert_eq!(f.index.moved.lock().unwrap().len() as u64, leaving);
    // Something was ingested while jobs were enqueued: the end is refused, and the rest moves.
    f.index.unfinished.store(1, Ordering::SeqCst);
    f.indexes.look_after().await.unwrap();
    assert_eq!(f.indexes.reshard_progress().await.unwrap().unfinished.active, leaving);
    f.work().await;
    f.indexes.look_after().await.unwrap();
    let ended = f.indexes.reshard_progress().await.unwrap();
    assert_eq!((ended.topology.shards, ended.topology.moving_to), (shards.to_vec(), None));
    assert_eq!(f.indexes.reshard(&asker(), &[]).await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn a_store_that_was_lost_is_filled_again() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    f.put("b", LONG).await;
    f.work().await;
    f.index.lose_everything();
    f.indexes.targets.reconcile().await.unwrap();
    let incomplete = f.indexes.check_serving().await.unwrap_err();
    assert!(incomplete.message.contains("2 documents wait"), "{}", incomplete.message);
    f.work().await;
    f.indexes.check_serving().await.unwrap();
    assert_eq!((f.index.visible("a"), f.index.visible("b")), (vec!["words".to_owned()], vec![LONG.to_owned()]));
    f.indexes.targets.reconcile().await.unwrap();
    assert_eq!(f.indexes.read().await.unwrap()[0].unfinished.active, 0, "what is there is left alone");
}

#[tokio::test]
async fn bodies_that_nothing_needs_are_swept_once_they_are_old() {
    let f = Fixture::new().await;
    f.put("a", "words").await;
    let orphan = f.stored.put(bytes::Bytes::from_static(b"left behind")).await.unwrap();
    assert_eq!(f.stored.sweep(&*f.catalog, Duration::from_secs(600)).await.unwrap(), 0, "it may be on its way in");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(f.stored.sweep(&*f.catalog, Duration::from_millis(1)).await.unwrap(), 1);
    assert_eq!(f.stored.get(&orphan).await.unwrap_err().code, ErrorCode::NotFound);
    f.work().await;
    assert_eq!(f.index.visible("a"), ["words"]);
    assert!(f.catalog.indexes().await.unwrap().len() == 1);
}
