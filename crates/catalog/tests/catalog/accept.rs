//! Accepting versions and tombstones.

use ragstone_core::ports::NewVersion;
use ragstone_core::{DocumentStatus, Error, ErrorCode, JobKind, JobStatus, Stage};

use crate::support::{Fixture, asker, by, contract, document, version};

async fn the_first_version_is_one_and_its_job_waits(f: Fixture) {
    let accepted = f.put("d", "a").await;
    assert!(!accepted.unchanged);
    let job = accepted.job;
    assert_eq!((job.version, job.status, job.stage, job.attempts), (1, JobStatus::Queued, Stage::Extract, 0));
    assert_eq!(f.catalog.job(&asker("t"), job.id).await.unwrap().as_ref(), Some(&job));
    let found = f.document("d").await;
    assert_eq!((found.version, found.live_version, found.status), (1, None, DocumentStatus::Processing));
    assert_eq!((found.title.as_str(), found.bytes, found.groups), ("Title", 1, vec!["staff".to_owned()]));
    assert_eq!(found.metadata["lang"], "de");
}

async fn the_same_again_changes_nothing_until_something_else_came(f: Fixture) {
    let first = f.put("d", "a").await;
    let again = f.put("d", "a").await;
    assert!(again.unchanged);
    assert_eq!(again.job, first.job);
    f.work().await.unwrap();
    let again = f.put("d", "a").await;
    assert!(again.unchanged && again.job.status == JobStatus::Done);
    assert_eq!(f.put("d", "b").await.job.version, 2);
    assert_eq!(f.put("d", "a").await.job.version, 3);
}

async fn what_failed_may_be_offered_again(f: Fixture) {
    for (version, outcome) in [(1, JobStatus::Failed), (2, JobStatus::Dead)] {
        let accepted = f.put("d", "a").await;
        assert_eq!((accepted.unchanged, accepted.job.version), (false, version));
        let leased = f.lease().await.unwrap();
        f.catalog.fail(&leased.lease, &Error::unprocessable("no"), outcome, Default::default()).await.unwrap();
    }
    assert_eq!(f.put("d", "a").await.job.version, 3);
}

async fn numbers_go_on_across_deletion(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    let job = f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    assert_eq!((job.version, job.kind, job.stage), (2, JobKind::Delete, Stage::Clean));
    assert_eq!(f.document("d").await.status, DocumentStatus::Processing);
    assert!(f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().is_none(), "under way");
    f.work().await.unwrap();
    let gone = f.document("d").await;
    assert_eq!((gone.status, gone.live_version, gone.version), (DocumentStatus::Deleted, None, 2));
    assert!(f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().is_none(), "done");
    let again = f.put("d", "a").await;
    assert_eq!((again.unchanged, again.job.version), (false, 3));
    assert!(f.catalog.delete(&by("t"), &document("other"), None, None).await.unwrap().is_none());
}

async fn a_removal_that_died_can_be_asked_for_again(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    let leased = f.lease().await.unwrap();
    f.catalog.fail(&leased.lease, &Error::internal("x"), JobStatus::Dead, Default::default()).await.unwrap();
    assert_eq!(f.document("d").await.live_version, Some(1));
    let job = f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    assert_eq!(job.version, 3);
}

async fn preconditions(f: Fixture) {
    let writer = by("t");
    let offer = |content: &str, if_version| {
        f.catalog.accept(&writer, NewVersion { if_version: Some(if_version), ..version("t", "d", content) })
    };
    let code = |result: Result<_, Error>| result.map(|_| ()).unwrap_err().code;
    assert_eq!(code(offer("a", 1).await), ErrorCode::Conflict);
    assert_eq!(offer("a", 0).await.unwrap().job.version, 1);
    assert_eq!(code(offer("a", 0).await), ErrorCode::Conflict, "also for unchanged content");
    assert_eq!(offer("b", 1).await.unwrap().job.version, 2);
    assert_eq!(code(offer("c", 1).await), ErrorCode::Conflict);
    let d = document("d");
    let delete = |if_version| f.catalog.delete(&writer, &d, if_version, None);
    assert_eq!(delete(Some(1)).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(delete(Some(2)).await.unwrap().unwrap().version, 3);
    assert_eq!(offer("a", 0).await.unwrap().job.version, 4, "a deleted document does not exist");
}

async fn a_newer_version_ends_waiting_jobs_but_not_running_ones(f: Fixture) {
    let first = f.put("d", "a").await.job;
    let second = f.put("d", "b").await.job;
    let t = asker("t");
    let job = async |id| f.catalog.job(&t, id).await.unwrap().unwrap();
    assert_eq!(job(first.id).await.status, JobStatus::Done);
    let leased = f.lease().await.unwrap();
    assert_eq!(leased.job.id, second.id);
    let third = f.put("d", "c").await.job;
    assert_eq!(job(second.id).await.status, JobStatus::Running);
    assert!(f.catalog.superseded(&leased.lease).await.unwrap());
    assert!(f.catalog.complete(&leased.lease, &[]).await.unwrap().is_empty());
    assert_eq!(job(second.id).await.status, JobStatus::Done);
    let history = f.catalog.history(&asker("t"), &document("d")).await.unwrap();
    assert_eq!(history.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(history[1].error.as_ref().unwrap().contains("newer version"));
    assert_eq!(f.lease().await.unwrap().job.id, third.id);
    assert_eq!(f.document("d").await.live_version, None);
}

async fn a_waiting_removal_is_not_ended_by_a_new_version(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    f.put("d", "b").await;
    let (removal, unused) = f.work().await.unwrap();
    assert_eq!(removal.job.kind, JobKind::Delete);
    assert_eq!(unused, ["a"]);
    let between = f.document("d").await;
    assert_eq!((between.status, between.live_version), (DocumentStatus::Processing, None));
    f.work().await.unwrap();
    let after = f.document("d").await;
    assert_eq!((after.status, after.live_version), (DocumentStatus::Ready, Some(3)));
}

async fn tenants_do_not_see_each_other(f: Fixture) {
    let ours = f.put("d", "a").await.job;
    let theirs = f.catalog.accept(&by("u"), version("u", "d", "a")).await.unwrap();
    assert_eq!((theirs.unchanged, theirs.job.version), (false, 1));
    assert!(f.catalog.job(&asker("u"), ours.id).await.unwrap().is_none());
    assert_eq!(f.catalog.retry(&asker("u"), ours.id).await.unwrap_err().code, ErrorCode::NotFound);
    assert!(f.catalog.document(&asker("v"), &document("d")).await.unwrap().is_none());
    assert!(f.catalog.history(&asker("v"), &document("d")).await.unwrap().is_empty());
}

contract! {
    the_first_version_is_one_and_its_job_waits,
    the_same_again_changes_nothing_until_something_else_came,
    what_failed_may_be_offered_again,
    numbers_go_on_across_deletion,
    a_removal_that_died_can_be_asked_for_again,
    preconditions,
    a_newer_version_ends_waiting_jobs_but_not_running_ones,
    a_waiting_removal_is_not_ended_by_a_new_version,
    tenants_do_not_see_each_other,
}
