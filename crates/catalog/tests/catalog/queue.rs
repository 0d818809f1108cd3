//! Leases, tries and who is next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ragstone_core::ports::{JobFilter, PageRequest};
use ragstone_core::{DocumentStatus, Error, ErrorCode, JobStatus, Stage};

use crate::support::{Fixture, TTL, asker, by, contract, document, text, version};

async fn a_leased_job_carries_what_a_worker_needs(f: Fixture) {
    assert!(f.lease().await.is_none());
    f.put("d", "a").await;
    let leased = f.lease().await.unwrap();
    assert_eq!(leased.version, version("t", "d", "a"));
    assert_eq!((leased.job.status, leased.job.attempts, leased.resumed), (JobStatus::Running, 1, false));
    assert!(f.lease().await.is_none());
    assert_eq!(f.catalog.queue_depth().await.unwrap(), (0, 1, 0));
}

async fn oldest_first_and_fair_between_tenants(f: Fixture) {
    for (t, d) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("c", "1")] {
        f.catalog.accept(&by(t), version(t, d, "x")).await.unwrap();
    }
    let mut order = Vec::new();
    while let Some(leased) = f.lease().await {
        order.push(format!("{}{}", leased.job.tenant, leased.job.document_id));
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
}

async fn a_job_that_went_back_lets_the_others_go_first(f: Fixture) {
    f.put("stubborn", "x").await;
    f.put("other", "x").await;
    let second = Duration::from_secs(1);
    let leased = f.lease().await.unwrap();
    f.catalog.release(&leased.lease, Some(&Error::unavailable("away")), second).await.unwrap();
    f.time.pass(second);
    let order = [f.lease().await.unwrap(), f.lease().await.unwrap()].map(|l| l.job.document_id.to_string());
    assert_eq!(order, ["other", "stubborn"]);
}

async fn one_running_job_per_document(f: Fixture) {
    f.put("d", "a").await;
    let first = f.lease().await.unwrap();
    f.put("d", "b").await;
    assert!(f.lease().await.is_none());
    f.finish(&first).await;
    assert_eq!(f.lease().await.unwrap().job.version, 2);
}

async fn an_ended_lease_is_taken_over_and_its_holder_shut_out(f: Fixture) {
    f.put("d", "a").await;
    let first = f.lease().await.unwrap();
    f.time.pass(TTL - Duration::from_millis(1));
    assert!(f.lease().await.is_none());
    assert!(f.catalog.heartbeat(&first.lease, TTL, 0.5).await.unwrap());
    f.time.pass(TTL - Duration::from_millis(1));
    assert!(f.lease().await.is_none(), "the heartbeat extended it");
    f.time.pass(Duration::from_millis(1));
    let second = f.lease().await.unwrap();
    assert!(second.resumed);
    assert_eq!((second.job.attempts, second.job.progress), (2, 0.5));

    assert!(!f.catalog.heartbeat(&first.lease, TTL, 0.9).await.unwrap());
    let error = Error::internal("x");
    let lost = [
        f.catalog.store_text(&first.lease, text(&["x"])).await.unwrap_err(),
        f.catalog.text(&first.lease).await.unwrap_err(),
        f.catalog.advance(&first.lease, Stage::Publish).await.unwrap_err(),
        f.catalog.superseded(&first.lease).await.unwrap_err(),
        f.catalog.complete(&first.lease, &[]).await.unwrap_err(),
        f.catalog.fail(&first.lease, &error, JobStatus::Dead, TTL).await.unwrap_err(),
        f.catalog.release(&first.lease, None, TTL).await.unwrap_err(),
    ];
    assert!(lost.iter().all(|e| e.code == ErrorCode::Conflict), "{lost:?}");
    f.finish(&second).await;
    assert_eq!(f.catalog.complete(&second.lease, &[]).await.unwrap_err().code, ErrorCode::Conflict, "already done");
}

async fn a_failed_try_waits_and_the_last_one_ends_it(f: Fixture) {
    let id = f.put("d", "a").await.job.id;
    let wait = Duration::from_secs(7);
    let error = Error::internal("boom").with_source(Error::internal("secret detail"));
    for attempt in 1..=2 {
        let leased = f.lease().await.unwrap();
        assert_eq!((leased.job.attempts, leased.resumed), (attempt, false));
        let job = f.catalog.fail(&leased.lease, &error, JobStatus::Queued, wait).await.unwrap();
        assert_eq!((job.status, job.error.as_deref()), (JobStatus::Queued, Some("boom")));
        f.time.pass(wait - Duration::from_millis(1));
        assert!(f.lease().await.is_none());
        f.time.pass(Duration::from_millis(1));
    }
    let leased = f.lease().await.unwrap();
    f.catalog.fail(&leased.lease, &error, JobStatus::Dead, wait).await.unwrap();
    assert_eq!(f.catalog.queue_depth().await.unwrap(), (0, 0, 1));
    let dead = f.document("d").await;
    assert_eq!((dead.status, dead.error.as_deref()), (DocumentStatus::Failed, Some("boom")));

    let again = f.catalog.retry(&asker("t"), id).await.unwrap();
    assert_eq!((again.status, again.attempts, again.error), (JobStatus::Queued, 0, None));
    assert_eq!(f.document("d").await.status, DocumentStatus::Processing);
    f.work().await.unwrap();
    assert_eq!(f.document("d").await.status, DocumentStatus::Ready);
    assert_eq!(f.document("d").await.error, None);
}

async fn only_failed_jobs_of_the_newest_version_can_be_retried(f: Fixture) {
    let old = f.put("d", "a").await.job.id;
    let code = |result: Result<_, Error>| result.map(|_| ()).unwrap_err().code;
    assert_eq!(code(f.catalog.retry(&asker("t"), old).await), ErrorCode::Conflict, "queued");
    let leased = f.lease().await.unwrap();
    f.catalog.fail(&leased.lease, &Error::internal("x"), JobStatus::Dead, TTL).await.unwrap();
    f.put("d", "b").await;
    assert_eq!(code(f.catalog.retry(&asker("t"), old).await), ErrorCode::Conflict, "newer version");
    assert_eq!(f.catalog.queue_depth().await.unwrap(), (1, 0, 0), "a dead job of an old version is history");
    assert_eq!(code(f.catalog.retry(&asker("t"), ragstone_core::JobId::generate()).await), ErrorCode::NotFound);
}

async fn a_released_try_does_not_count(f: Fixture) {
    f.put("d", "a").await;
    for _ in 0..5 {
        let leased = f.lease().await.unwrap();
        assert_eq!((leased.job.attempts, leased.resumed), (1, false));
        let away = Error::unavailable("embedding is away");
        f.catalog.release(&leased.lease, Some(&away), Duration::from_secs(1)).await.unwrap();
        assert!(f.lease().await.is_none());
        assert_eq!(f.catalog.job(&asker("t"), leased.job.id).await.unwrap().unwrap().error.unwrap(), away.message);
        f.time.pass(Duration::from_secs(1));
    }
    let leased = f.lease().await.unwrap();
    f.catalog.release(&leased.lease, None, Duration::ZERO).await.unwrap();
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.attempts, leased.resumed), (1, true), "given back in the middle of a stage");
}

async fn tries_count_from_the_last_durable_stage(f: Fixture) {
    f.put("d", "a").await;
    f.lease().await.unwrap();
    f.time.pass(TTL);
    let leased = f.lease().await.unwrap();
    assert_eq!(leased.job.attempts, 2);
    f.catalog.store_text(&leased.lease, text(&["x"])).await.unwrap();
    f.time.pass(TTL);
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.attempts, leased.job.stage), (2, Stage::Embed));
}

#[tokio::test]
async fn a_new_process_takes_over_at_once() {
    let f = Fixture::sqlite().await;
    f.put("d", "a").await;
    let before = f.lease().await.unwrap();
    let f = f.reopen().await;
    assert!(f.lease().await.is_none());
    assert_eq!(f.catalog.release_all_leases().await.unwrap(), 1);
    assert!(!f.catalog.heartbeat(&before.lease, TTL, 0.0).await.unwrap());
    let after = f.lease().await.unwrap();
    assert!(after.resumed && after.job.attempts == 2);
}

async fn a_superseded_try_does_not_return_to_the_queue(f: Fixture) {
    f.put("d", "a").await;
    let first = f.lease().await.unwrap();
    f.put("d", "b").await;
    let job = f.catalog.fail(&first.lease, &Error::internal("x"), JobStatus::Queued, TTL).await.unwrap();
    assert_eq!(job.status, JobStatus::Done);
    // From Publish on the index may show it already: then it ends properly first.
    let second = f.lease().await.unwrap();
    f.catalog.store_text(&second.lease, text(&["x"])).await.unwrap();
    f.catalog.advance(&second.lease, Stage::Publish).await.unwrap();
    f.put("d", "c").await;
    assert!(!f.catalog.superseded(&second.lease).await.unwrap());
    f.catalog.release(&second.lease, None, Duration::ZERO).await.unwrap();
    let (again, _) = f.work().await.unwrap();
    assert_eq!(again.job.version, 2);
    let found = f.document("d").await;
    assert_eq!((found.live_version, found.version, found.status), (Some(2), 3, DocumentStatus::Processing));
}

async fn many_workers_do_each_job_once(f: Fixture) {
    let f = Arc::new(f);
    for n in 0..200 {
        let of = ["t", "u", "v"][n % 3];
        f.catalog.accept(&by(of), version(of, &format!("d{n}"), "x")).await.unwrap();
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let f = Arc::clone(&f);
        workers.spawn(async move {
            let mut done = Vec::new();
            while let Some((leased, _)) = f.work().await {
                done.push(leased.job.id);
            }
            done
        });
    }
    let done = workers.join_all().await.concat();
    assert_eq!(done.len(), 200);
    assert_eq!(done.iter().collect::<HashSet<_>>().len(), 200);
    assert_eq!(f.catalog.queue_depth().await.unwrap(), (0, 0, 0));
    let page = PageRequest { limit: 1000, cursor: None };
    let jobs = f.catalog.jobs(&asker("u"), JobFilter { status: Some(JobStatus::Done) }, page).await.unwrap();
    assert_eq!(jobs.items.len(), 67);
    assert_eq!(f.catalog.document(&asker("v"), &document("d2")).await.unwrap().unwrap().status, DocumentStatus::Ready);
}

contract! {
    a_leased_job_carries_what_a_worker_needs,
    oldest_first_and_fair_between_tenants,
    a_job_that_went_back_lets_the_others_go_first,
    one_running_job_per_document,
    an_ended_lease_is_taken_over_and_its_holder_shut_out,
    a_failed_try_waits_and_the_last_one_ends_it,
    only_failed_jobs_of_the_newest_version_can_be_retried,
    a_released_try_does_not_count,
    tries_count_from_the_last_durable_stage,
    a_superseded_try_does_not_return_to_the_queue,
    many_workers_do_each_job_once,
}
