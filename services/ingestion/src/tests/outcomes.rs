//! How jobs end: well, badly, later, or not at all because something newer came.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ragstone_core::ports::Catalog;
use ragstone_core::{DocumentStatus, ErrorCode, JobStatus, Stage};

use super::fixture::{Fixture, asker, offer, tenant};
use crate::worker::Step;

#[tokio::test]
async fn text_becomes_searchable_and_is_replaced_without_a_gap() {
    let f = Fixture::new().await;
    let job = f.put("d", "first words").await;
    f.work().await;
    assert_eq!(f.index.visible("d"), ["first words"]);
    let done = f.job(&job).await;
    assert_eq!((done.status, done.stage, done.attempts, done.progress), (JobStatus::Done, Stage::Clean, 1, 1.0));
    f.put("d", &"second words ".repeat(40)).await;
    f.work().await;
    assert_eq!(f.index.visible("d").len(), 3);
    assert_eq!(f.index.versions("d"), [2].into());
    let found = f.document("d").await;
    assert_eq!((found.status, found.live_version, found.chunks), (DocumentStatus::Ready, Some(2), 3));
    assert_eq!(f.bodies(), 1, "the first body is gone");
    assert_eq!(f.catalog.corpus_generation(&tenant()).await.unwrap(), 2);
}

#[tokio::test]
async fn markdown_gives_its_heading_as_title() {
    let f = Fixture::new().await;
    f.offer(offer("d", "text/markdown"), "# Leuchtturm\n\nGrüße von der Küste, C++ und 3.14.".as_bytes())
        .await
        .unwrap();
    f.work().await;
    assert_eq!(f.document("d").await.title, "Leuchtturm");
    assert!(f.index.visible("d")[0].contains("Grüße von der Küste, C++ und 3.14."));
}

#[tokio::test]
async fn a_deletion_takes_everything_away() {
    let f = Fixture::new().await;
    f.put("d", "words").await;
    f.work().await;
    f.delete("d").await;
    f.work().await;
    assert!(f.index.visible("d").is_empty() && f.index.versions("d").is_empty());
    let found = f.document("d").await;
    assert_eq!((found.status, found.live_version), (DocumentStatus::Deleted, None));
    assert_eq!(f.bodies(), 0);
    f.put("d", "words").await;
    f.work().await;
    assert_eq!(f.index.versions("d"), [3].into());
}

#[tokio::test]
async fn an_unusable_document_fails_at_once_and_the_old_version_stays() {
    let f = Fixture::new().await;
    f.put("d", "good").await;
    f.work().await;
    let job = f.put("d", " \n ").await;
    f.work().await;
    let failed = f.job(&job).await;
    assert_eq!((failed.status, failed.attempts), (JobStatus::Failed, 1));
    assert!(failed.error.unwrap().contains("no text"));
    assert_eq!(f.index.visible("d"), ["good"]);
    let found = f.document("d").await;
    assert_eq!((found.status, found.live_version), (DocumentStatus::Failed, Some(1)));
}

#[tokio::test]
async fn three_failed_tries_end_in_a_dead_letter_that_can_be_retried() {
    let f = Fixture::new().await;
    let job = f.put("d", "POISON").await;
    f.put("neighbour", "words").await;
    for _ in 0..3 {
        f.work().await;
        f.pass_long();
    }
    let dead = f.job(&job).await;
    assert_eq!((dead.status, dead.error.as_deref()), (JobStatus::Dead, Some("as told")));
    assert_eq!(f.index.visible("neighbour"), ["words"]);
    assert!(f.index.visible("d").is_empty());
    f.embedding.poison.store(false, Ordering::SeqCst);
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Dead, "it stays dead by itself");
    f.catalog.retry(&asker(), job.id).await.unwrap();
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Done);
    assert_eq!(f.index.visible("d"), ["POISON"]);
}

#[tokio::test]
async fn a_panic_is_a_failed_try() {
    let f = Fixture::new().await;
    let job = f.put("d", "PANIC").await;
    f.put("neighbour", "words").await;
    f.work().await;
    let waiting = f.job(&job).await;
    assert_eq!((waiting.status, waiting.attempts), (JobStatus::Queued, 1));
    assert!(waiting.error.unwrap().contains("panicked"));
    assert_eq!(f.index.visible("neighbour"), ["words"]);
}

#[tokio::test]
async fn an_absent_dependency_costs_no_tries() {
    let f = Fixture::new().await;
    f.embedding.away.store(true, Ordering::SeqCst);
    let job = f.put("d", "words").await;
    for _ in 0..7 {
        assert_eq!(f.step().await, Step::Waited);
        assert_eq!(f.step().await, Step::Idle, "not due yet");
        f.pass(Duration::from_secs(5));
    }
    let waiting = f.job(&job).await;
    assert_eq!((waiting.status, waiting.attempts), (JobStatus::Queued, 0));
    assert_eq!(waiting.error.as_deref(), Some("nobody is there"));
    f.embedding.away.store(false, Ordering::SeqCst);
    f.embedding.errors.lock().unwrap().extend([ErrorCode::RateLimited, ErrorCode::DeadlineExceeded]);
    for _ in 0..2 {
        assert_eq!(f.step().await, Step::Waited);
        f.pass(Duration::from_secs(5));
    }
    f.work().await;
    let done = f.job(&job).await;
    assert_eq!((done.status, done.attempts, done.error), (JobStatus::Done, 1, None));
    assert_eq!(f.index.visible("d"), ["words"]);
}

#[tokio::test]
async fn removals_go_on_while_the_embedder_is_away() {
    let f = Fixture::new().await;
    f.put("old", "words").await;
    f.work().await;
    f.embedding.away.store(true, Ordering::SeqCst);
    f.put("new", "words").await;
    f.delete("old").await;
    f.work().await;
    assert!(f.index.visible("old").is_empty());
}

#[tokio::test]
async fn a_lost_answer_of_the_index_is_asked_for_again() {
    let f = Fixture::new().await;
    f.put("d", "one").await;
    f.work().await;
    for lost in 0..3 {
        // Only the answer with this number gets lost: that of stage, publish or remove.
        let answers = (0..lost).map(|_| None).chain([Some(ErrorCode::Unavailable)]);
        f.index.answers.lock().unwrap().extend(answers);
        let body = format!("try {lost}");
        let job = f.put("d", &body).await;
        assert_eq!(f.step().await, Step::Waited);
        assert_eq!(f.index.visible("d").len(), 1, "there is always one version to see");
        f.pass_long();
        f.work().await;
        assert_eq!(f.index.visible("d"), [body]);
        assert_eq!(f.job(&job).await.status, JobStatus::Done);
    }
}

#[tokio::test]
async fn a_newer_version_stops_the_older_one_before_it_is_published() {
    let f = Fixture::new().await;
    f.put("d", "zero").await;
    f.work().await;
    f.embedding.hang.store(true, Ordering::SeqCst);
    let older = f.put("d", "one").await;
    let newer = async {
        f.embedding.hanging.notified().await;
        let newer = f.put("d", "two").await;
        f.embedding.go_on.notify_one();
        newer
    };
    let (_, newer) = tokio::join!(f.step(), newer);
    assert_eq!(f.job(&older).await.status, JobStatus::Done);
    assert_eq!(f.index.visible("d"), ["zero"], "the older one was not published");
    f.work().await;
    assert_eq!(f.job(&newer).await.status, JobStatus::Done);
    assert_eq!(f.index.visible("d"), ["two"]);
    assert_eq!(f.index.versions("d"), [3].into());
    assert_eq!(f.bodies(), 1);
}

#[tokio::test]
async fn a_deletion_while_processing_wins() {
    let f = Fixture::new().await;
    f.embedding.hang.store(true, Ordering::SeqCst);
    let job = f.put("d", "one").await;
    let deletion = async {
        f.embedding.hanging.notified().await;
        f.delete("d").await;
        f.embedding.go_on.notify_one();
    };
    tokio::join!(f.step(), deletion);
    f.work().await;
    assert_eq!(f.job(&job).await.status, JobStatus::Done);
    assert!(f.index.visible("d").is_empty() && f.index.versions("d").is_empty());
    assert_eq!(f.document("d").await.status, DocumentStatus::Deleted);
    assert_eq!(f.bodies(), 0);
}

#[tokio::test]
async fn a_stop_gives_the_job_back_uncounted() {
    let f = Fixture::new().await;
    f.embedding.hang.store(true, Ordering::SeqCst);
    let job = f.put("d", "one").await;
    let stop = async {
        f.embedding.hanging.notified().await;
        f.shutdown.cancel();
    };
    let (step, ()) = tokio::join!(f.step(), stop);
    assert_eq!(step, Step::Stopped);
    let back = f.job(&job).await;
    assert_eq!((back.status, back.attempts, back.stage), (JobStatus::Queued, 0, Stage::Embed));
    assert_eq!(f.worker.step("next", &Default::default()).await.unwrap(), Step::Worked);
    assert_eq!(f.index.visible("d"), ["one"]);
}

#[tokio::test]
async fn equal_bytes_of_two_documents_are_kept_until_both_are_gone() {
    let f = Fixture::new().await;
    f.put("a", "same").await;
    f.put("b", "same").await;
    f.work().await;
    f.delete("a").await;
    f.work().await;
    assert_eq!(f.bodies(), 1);
    f.delete("b").await;
    f.work().await;
    assert_eq!(f.bodies(), 0);
}
