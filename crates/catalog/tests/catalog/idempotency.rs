//! Writes that are sent twice.

use std::sync::Arc;
use std::time::Duration;

use ragstone_core::ports::{Accepted, Idempotency, NewVersion, Write};
use ragstone_core::{Error, ErrorCode, JobStatus, Result};
use tokio::task::JoinSet;

use crate::support::{Fixture, asker, by, contract, document, member, version};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn keyed(key: &str, fingerprint: &str) -> Write {
    let idempotency = Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned(), ttl: DAY };
    Write { caller: asker("t"), idempotency: Some(idempotency) }
}

impl Fixture {
    async fn put_keyed(&self, key: &str, id: &str, content: &str) -> Result<Accepted> {
        self.catalog.accept(&keyed(key, &format!("{id}/{content}")), version("t", id, content)).await
    }

    async fn delete_keyed(&self, key: &str, id: &str) -> Result<Option<ragstone_core::Job>> {
        self.catalog.delete(&keyed(key, id), &document(id), None, None).await
    }
}

fn answer(accepted: &Accepted) -> (ragstone_core::JobId, u64, bool) {
    (accepted.job.id, accepted.job.version, accepted.unchanged)
}

async fn the_same_again_gets_the_same_answer_for_ever(f: Fixture) {
    let first = f.put_keyed("k", "d", "a").await.unwrap();
    assert_eq!(answer(&f.put_keyed("k", "d", "a").await.unwrap()), answer(&first));
    f.work().await.unwrap();
    let other = f.put("d", "b").await;
    assert_eq!(other.job.version, 2);
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    let again = f.put_keyed("k", "d", "a").await.unwrap();
    assert_eq!(answer(&again), answer(&first), "also when the world has moved on");
    assert_eq!(again.job.status, JobStatus::Done, "the job as it stands now");
    assert_eq!(f.document("d").await.version, 3);
    // Without a key it is a new write.
    assert_eq!(f.put("d", "a").await.job.version, 4);
    // What changed nothing is remembered as that.
    let unchanged = f.put_keyed("l", "d", "a").await.unwrap();
    assert!(unchanged.unchanged);
    f.put("d", "c").await;
    assert_eq!(answer(&f.put_keyed("l", "d", "a").await.unwrap()), answer(&unchanged));
}

async fn the_precondition_is_not_asked_again(f: Fixture) {
    let offer = || NewVersion { if_version: Some(0), ..version("t", "d", "a") };
    let first = f.catalog.accept(&keyed("k", "x"), offer()).await.unwrap();
    assert_eq!(answer(&f.catalog.accept(&keyed("k", "x"), offer()).await.unwrap()), answer(&first));
    assert_eq!(f.catalog.accept(&keyed("l", "x"), offer()).await.unwrap_err().code, ErrorCode::Conflict);
}

async fn another_request_with_the_same_key_is_refused(f: Fixture) {
    f.put_keyed("k", "d", "a").await.unwrap();
    for (id, content) in [("d", "b"), ("e", "a")] {
        let refused = f.put_keyed("k", id, content).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unprocessable);
        assert!(refused.message.contains("idempotency key"), "{refused}");
    }
    assert_eq!(f.delete_keyed("k", "d").await.unwrap_err().code, ErrorCode::Unprocessable);
    assert_eq!(f.document("d").await.version, 1);
    assert!(f.catalog.document(&asker("t"), &document("e")).await.unwrap().is_none());
    // Another tenant's keys are other keys.
    let theirs = Write { caller: asker("u"), ..keyed("k", "other") };
    assert_eq!(f.catalog.accept(&theirs, version("u", "d", "b")).await.unwrap().job.version, 1);
    for bad in ["", "a b", "ä", &"x".repeat(256)] {
        assert_eq!(f.put_keyed(bad, "d", "c").await.unwrap_err().code, ErrorCode::InvalidArgument, "{bad}");
    }
}

async fn deletions_have_keys_too(f: Fixture) {
    assert_eq!(f.delete_keyed("k", "d").await.unwrap(), None);
    f.put("d", "a").await;
    f.work().await.unwrap();
    let removal = f.delete_keyed("k", "d").await.unwrap().unwrap();
    assert_eq!(f.delete_keyed("k", "d").await.unwrap().unwrap().id, removal.id, "found nothing: not remembered");
    f.work().await.unwrap();
    f.put("d", "b").await;
    assert_eq!(f.delete_keyed("k", "d").await.unwrap().unwrap().id, removal.id);
    assert_eq!(f.document("d").await.version, 3, "the new one stays");
    assert_eq!(f.delete_keyed("l", "other").await.unwrap(), None);
}

async fn no_error_is_remembered(f: Fixture) {
    let wrong = NewVersion { if_version: Some(7), ..version("t", "d", "a") };
    assert_eq!(f.catalog.accept(&keyed("k", "x"), wrong).await.unwrap_err().code, ErrorCode::Conflict);
    let good = f.catalog.accept(&keyed("k", "y"), version("t", "d", "a")).await.unwrap();
    assert_eq!((good.unchanged, good.job.version), (false, 1));
}

async fn who_may_not_read_it_gets_no_answer_of_another(f: Fixture) {
    let ann = Write { caller: member("t", "ann", &["staff"]), ..keyed("k", "x") };
    let first = f.catalog.accept(&ann, version("t", "d", "a")).await.unwrap();
    let bob = Write { caller: member("t", "bob", &[]), ..keyed("k", "x") };
    assert_eq!(f.catalog.accept(&bob, version("t", "d", "a")).await.unwrap_err().code, ErrorCode::PermissionDenied);
    let colleague = Write { caller: member("t", "eve", &["staff"]), ..keyed("k", "x") };
    assert_eq!(answer(&f.catalog.accept(&colleague, version("t", "d", "a")).await.unwrap()), answer(&first));
}

async fn keys_end(f: Fixture) {
    let first = f.put_keyed("k", "d", "a").await.unwrap();
    f.put_keyed("l", "e", "a").await.unwrap();
    f.time.pass(DAY - Duration::from_millis(1));
    assert_eq!(f.catalog.forget_idempotency_keys().await.unwrap(), 0);
    assert_eq!(answer(&f.put_keyed("k", "d", "a").await.unwrap()), answer(&first));
    f.time.pass(Duration::from_millis(1));
    // Over, though nobody has swept yet.
    assert_eq!(f.put_keyed("k", "d", "b").await.unwrap().job.version, 2);
    assert_eq!(f.catalog.forget_idempotency_keys().await.unwrap(), 1, "the other one; this began anew");
    assert_eq!(f.put_keyed("k", "d", "c").await.unwrap_err().code, ErrorCode::Unprocessable);
    assert_eq!(f.put_keyed("l", "e", "b").await.unwrap().job.version, 2);
}

async fn of_many_at_once_one_writes(f: Fixture) {
    let f = Arc::new(f);
    for round in 0..8 {
        let mut writers = JoinSet::new();
        for n in 0..8 {
            let f = Arc::clone(&f);
            // Half of them want something else.
            let content = format!("{round}/{}", n % 2);
            writers.spawn(async move { f.put_keyed(&format!("k{round}"), "d", &content).await });
        }
        let (done, refused): (Vec<_>, Vec<_>) = writers.join_all().await.into_iter().partition(Result::is_ok);
        let code = |refused: Result<_, Error>| refused.map(|_: Accepted| ()).unwrap_err().code;
        assert!(refused.into_iter().all(|refused| code(refused) == ErrorCode::Unprocessable));
        assert_eq!(done.len(), 4);
        let answers: Vec<_> = done.into_iter().map(|done| answer(&done.unwrap())).collect();
        assert!(answers.iter().all(|one| *one == answers[0]), "{answers:?}");
        assert_eq!(f.document("d").await.version, round + 1);
    }
}

contract! {
    the_same_again_gets_the_same_answer_for_ever,
    the_precondition_is_not_asked_again,
    another_request_with_the_same_key_is_refused,
    deletions_have_keys_too,
    no_error_is_remembered,
    who_may_not_read_it_gets_no_answer_of_another,
    keys_end,
    of_many_at_once_one_writes,
}
