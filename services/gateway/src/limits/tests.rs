//! What callers are told, with the limiter of one process.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use ragstone_core::{Access, GroupAccess};

fn principal(tenant: &str, subject: &str) -> Principal {
    let access = Access { tenant: TenantId::new(tenant).unwrap(), groups: GroupAccess::All };
    Principal { subject: subject.to_owned(), access, scopes: BTreeSet::new() }
}

async fn open(config: LimitsConfig) -> Limits {
    Limits::open(&config, true).await.unwrap()
}

fn shown(admission: &Admission) -> (String, String) {
    let mut headers = HeaderMap::new();
    admission.write(&mut headers);
    let text = |name: &str| headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    (text("ratelimit-policy"), text("ratelimit"))
}

const ASK: Kind = Kind::Query { tokens: 1 };

#[tokio::test(start_paused = true)]
async fn the_hundred_and_first_question_of_an_hour_is_refused_with_the_time_to_wait() {
    let limits = open(LimitsConfig::default()).await;
    let ann = principal("acme", "ann");
    for left in (0..100).rev() {
        let admission = limits.admit(&ann, ASK).await.unwrap();
        assert!(admission.refusal().is_none() && !admission.decided_locally());
        assert!(shown(&admission).1.starts_with(&format!("\"queries\";r={left};t=")));
    }
    let admission = limits.admit(&ann, ASK).await.unwrap();
    let error = admission.refusal().unwrap();
    assert_eq!((error.code, error.retry_after), (ErrorCode::RateLimited, Some(Duration::from_secs(36))));
    assert!(error.message.contains("'queries' of 100 in 3600 seconds"), "{error}");
    let policy = "\"queries\";q=100;w=3600".to_owned();
    assert_eq!(shown(&admission), (policy, "\"queries\";r=0;t=36".to_owned()));
    // Searches count as well; others, and documents, are not concerned.
    assert!(limits.admit(&ann, Kind::Search).await.unwrap().refusal().is_some());
    for other in [principal("acme", "bob"), principal("umbrella", "ann")] {
        assert!(limits.admit(&other, ASK).await.unwrap().refusal().is_none());
    }
    let upload = limits.admit(&ann, Kind::Upload { documents: 1_000 }).await.unwrap();
    assert!(upload.refusal().is_none() && shown(&upload) == (String::new(), String::new()));
    tokio::time::advance(Duration::from_secs(36)).await;
    assert!(limits.admit(&ann, ASK).await.unwrap().refusal().is_none());
    limits.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_one_bucket_for_all_of_its_subjects() {
    let limits =
        open(LimitsConfig { tenant_queries_per_hour: 2, queries_per_hour: 9, ..LimitsConfig::default() }).await;
    for subject in ["ann", "bob"] {
        assert!(limits.admit(&principal("acme", subject), ASK).await.unwrap().refusal().is_none());
    }
    let admission = limits.admit(&principal("acme", "eve"), ASK).await.unwrap();
    let error = admission.refusal().unwrap();
    assert!(error.message.contains("'tenant-queries' of 2"), "{error}");
    // Nothing was taken from her own.
    assert_eq!(shown(&admission).1, "\"queries\";r=9;t=0, \"tenant-queries\";r=0;t=1800");
    assert!(limits.admit(&principal("umbrella", "eve"), ASK).await.unwrap().refusal().is_none());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_estimated_first_and_settled_afterwards() {
    let config = LimitsConfig { queries_per_hour: 0, tokens_per_minute: 1_000, ..LimitsConfig::default() };
    let limits = open(config).await;
    let ann = principal("acme", "ann");
    let left = async |tokens| {
        let admission = limits.admit(&ann, Kind::Query { tokens }).await.unwrap();
        let shown = shown(&admission).1;
        (shown.split(';').nth(1).unwrap().to_owned(), admission)
    };
    let (remaining, admission) = left(600).await;
    assert_eq!(remaining, "r=400");
    admission.settle(100).await.unwrap();
    let (remaining, admission) = left(200).await;
    assert_eq!(remaining, "r=700");
    admission.settle(200).await.unwrap();
    // An estimate beyond what is ever let in waits for a rested bucket; what was taken counts in full.
    assert!(left(1_000_000).await.1.refusal().is_some());
    tokio::time::advance(Duration::from_secs(60)).await;
    let (remaining, admission) = left(1_000_000).await;
    assert_eq!((remaining.as_str(), admission.refusal().is_none()), ("r=0", true));
    admission.settle(3_000).await.unwrap();
    let (_, refused) = left(500).await;
    assert_eq!(refused.refusal().unwrap().retry_after, Some(Duration::from_secs(150)));
    // A search takes none.
    let search = limits.admit(&ann, Kind::Search).await.unwrap();
    assert!(search.refusal().is_none() && shown(&search).1.is_empty());
    // A refused call has used nothing, whatever is said of it.
    refused.settle(0).await.unwrap();
    assert_eq!(left(0).await.1.refusal().unwrap().retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test(start_paused = true)]
async fn each_document_of_a_batch_counts() {
    let limits = open(LimitsConfig { uploads_per_hour: 10, ..LimitsConfig::default() }).await;
    let ann = principal("acme", "ann");
    let upload = async |documents| limits.admit(&ann, Kind::Upload { documents }).await;
    assert!(upload(8).await.unwrap().refusal().is_none());
    assert!(upload(3).await.unwrap().refusal().is_some());
    assert!(upload(2).await.unwrap().refusal().is_none());
    let error = upload(11).await.err().unwrap();
    assert!(error.code == ErrorCode::InvalidArgument && error.message.contains("'uploads'"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_authentication_nothing_is_limited() {
    let config = LimitsConfig { queries_per_hour: 1, tokens_per_minute: 1, ..LimitsConfig::default() };
    let limits = Limits::open(&config, false).await.unwrap();
    for _ in 0..5 {
        let admission = limits.admit(&principal("default", "anonymous"), Kind::Query { tokens: 9 }).await.unwrap();
        assert!(admission.refusal().is_none());
        assert_eq!(shown(&admission), (String::new(), String::new()));
        admission.settle(1_000).await.unwrap();
    }
}
