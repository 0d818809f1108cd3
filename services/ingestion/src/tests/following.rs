//! Following a job: every state once, an end, and no silence when the service stops.

use std::pin::pin;

use futures::StreamExt as _;
use ragstone_core::{ErrorCode, JobId, JobStatus};

use super::fixture::{Fixture, asker};
use crate::follow::follow;

#[tokio::test]
async fn a_follower_sees_the_job_end() {
    let f = Fixture::new().await;
    let job = f.put("d", "words").await;
    let states = follow(f.catalog.clone(), asker(), job.id, &f.changes, f.shutdown.clone());
    let mut states = pin!(states);
    assert_eq!(states.next().await.unwrap().unwrap().status, JobStatus::Queued);
    let (seen, ()) = tokio::join!(states.map(|state| state.unwrap().status).collect::<Vec<_>>(), f.work());
    assert_eq!(seen.last(), Some(&JobStatus::Done));
    assert!(seen.iter().filter(|status| status.is_final()).count() == 1, "{seen:?}");
}

#[tokio::test]
async fn a_follower_is_told_that_the_service_stops() {
    let f = Fixture::new().await;
    let job = f.put("d", "words").await;
    let states = follow(f.catalog.clone(), asker(), job.id, &f.changes, f.shutdown.clone());
    f.shutdown.cancel();
    let states: Vec<_> = states.collect().await;
    assert_eq!(states.len(), 2);
    assert_eq!(states[1].as_ref().unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn what_is_no_job_of_the_tenant_is_not_found() {
    let f = Fixture::new().await;
    let states = follow(f.catalog.clone(), asker(), JobId::generate(), &f.changes, f.shutdown.clone());
    let states: Vec<_> = states.collect().await;
    assert_eq!(states[0].as_ref().unwrap_err().code, ErrorCode::NotFound);
}
