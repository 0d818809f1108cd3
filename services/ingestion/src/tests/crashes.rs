//! A crash anywhere: the work is dropped at every place where it can be, and what comes after must set it right.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use ragstone_core::ports::Catalog;
use ragstone_core::{DocumentStatus, JobStatus};

use super::fixture::{Fixture, tenant};

/// Drops `work` when it is about to be polled for the time after `polls`; whether it was finished before.
async fn crash_after<T>(polls: usize, work: impl Future<Output = T>) -> bool {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_replacement_survives_a_crash_at_any_point() {
    let new = "new words ".repeat(40);
    for polls in (1..).step_by(2) {
        let f = Fixture::new().await;
        f.put("d", "old words").await;
        f.work().await;
        let old = f.index.visible("d");
        let job = f.put("d", &new).await;
        let finished = crash_after(polls, f.step()).await;
        let seen = f.index.visible("d");
        assert!(seen == old || seen.len() == 3, "after {polls} polls: {seen:?}");
        f.pass_long();
        f.work().await;
        assert_eq!(f.index.visible("d").len(), 3, "after {polls} polls");
        assert_eq!(f.index.versions("d"), [2].into(), "after {polls} polls");
        let (done, found) = (f.job(&job).await, f.document("d").await);
        assert_eq!((done.status, found.status, found.live_version), (JobStatus::Done, DocumentStatus::Ready, Some(2)));
        assert_eq!(f.catalog.corpus_generation(&tenant()).await.unwrap(), 2, "done exactly once");
        if finished {
            assert!(polls > 10, "the crashes did not reach far: {polls} polls");
            break;
        }
    }
}

#[tokio::test]
async fn a_removal_survives_a_crash_at_any_point() {
    for polls in (1..).step_by(2) {
        let f = Fixture::new().await;
        f.put("d", "old words").await;
        f.work().await;
        let job = f.delete("d").await;
        let finished = crash_after(polls, f.step()).await;
        f.pass_long();
        f.work().await;
        assert!(f.index.visible("d").is_empty() && f.index.versions("d").is_empty(), "after {polls} polls");
        assert_eq!(f.job(&job).await.status, JobStatus::Done);
        assert_eq!(f.document("d").await.status, DocumentStatus::Deleted);
        if finished {
            break;
        }
    }
}

#[tokio::test]
async fn a_document_that_crashes_the_process_each_time_is_buried() {
    let f = Fixture::new().await;
    let job = f.put("d", "deadly").await;
    for _ in 0..3 {
        f.embedding.hang.store(true, Ordering::SeqCst);
        tokio::select! {
            _ = f.step() => {}
            () = f.embedding.hanging.notified() => {}
        }
        f.pass_long();
    }
    f.work().await;
    let dead = f.job(&job).await;
    assert_eq!(dead.status, JobStatus::Dead);
    assert!(dead.error.unwrap().contains("in the middle of each of 3 tries"));
    assert!(f.index.visible("d").is_empty());
}

#[tokio::test]
async fn a_worker_whose_lease_was_taken_stops() {
    let f = Fixture::new().await;
    let job = f.put("d", "words").await;
    f.embedding.hang.store(true, Ordering::SeqCst);
    let takeover = async {
        f.embedding.hanging.notified().await;
        f.pass_long();
        // Another worker does it all meanwhile.
        f.work().await;
        f.embedding.go_on.notify_one();
    };
    tokio::join!(f.step(), takeover);
    let done = f.job(&job).await;
    assert_eq!((done.status, done.attempts), (JobStatus::Done, 1));
    assert_eq!(f.catalog.corpus_generation(&tenant()).await.unwrap(), 1);
}

#[tokio::test]
async fn chunks_lost_in_a_crash_of_the_index_are_staged_again() {
    let f = Fixture::new().await;
    let job = f.put("d", &"words ".repeat(80)).await;
    f.index.loses_a_chunk.store(true, Ordering::SeqCst);
    f.work().await;
    let job = f.job(&job).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Done, 1));
    assert_eq!(f.index.visible("d").len(), usize::try_from(f.document("d").await.chunks).unwrap());
}
