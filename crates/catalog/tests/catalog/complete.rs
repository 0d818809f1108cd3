//! Texts, stages, and what the end of a job leaves behind.

use ragstone_core::{DocumentStatus, Error, ErrorCode, JobStatus, Stage};

use crate::support::{Fixture, TTL, asker, by, contract, document, tenant, text, version};

async fn text_comes_back_as_it_was_stored(f: Fixture) {
    f.put("d", "a").await;
    let leased = f.lease().await.unwrap();
    assert_eq!(f.catalog.text(&leased.lease).await.unwrap_err().code, ErrorCode::Internal);
    f.catalog.store_text(&leased.lease, text(&["older", "and", "longer"])).await.unwrap();
    let stored = text(&["Grüße\u{0}!", "C++ 3.14 élève 🦀"]);
    f.catalog.store_text(&leased.lease, stored.clone()).await.unwrap();
    assert_eq!(f.catalog.text(&leased.lease).await.unwrap(), stored);
    let found = f.document("d").await;
    assert_eq!((found.title.as_str(), found.chunks), ("Found", 2));
    let job = f.catalog.job(&asker("t"), leased.job.id).await.unwrap().unwrap();
    assert_eq!(job.stage, Stage::Embed);
}

async fn stages_only_go_forward_and_a_job_ends_only_at_the_last(f: Fixture) {
    f.put("d", "a").await;
    let leased = f.lease().await.unwrap();
    assert_eq!(f.catalog.complete(&leased.lease, &[]).await.unwrap_err().code, ErrorCode::Internal);
    f.catalog.store_text(&leased.lease, text(&["x"])).await.unwrap();
    f.catalog.advance(&leased.lease, Stage::Publish).await.unwrap();
    for stage in [Stage::Extract, Stage::Embed, Stage::Publish] {
        assert_eq!(f.catalog.advance(&leased.lease, stage).await.unwrap_err().code, ErrorCode::Internal);
    }
    f.catalog.advance(&leased.lease, Stage::Clean).await.unwrap();
    f.catalog.complete(&leased.lease, &[]).await.unwrap();
    let job = f.catalog.job(&asker("t"), leased.job.id).await.unwrap().unwrap();
    assert_eq!((job.status, job.progress, job.error), (JobStatus::Done, 1.0, None));
}

async fn each_change_of_the_index_moves_the_generation_of_its_tenant(f: Fixture) {
    let generation = |t: &'static str| {
        let catalog = &f.catalog;
        async move { catalog.corpus_generation(&tenant(t)).await.unwrap() }
    };
    assert_eq!(generation("t").await, 0);
    f.put("d", "a").await;
    assert_eq!(generation("t").await, 0);
    f.work().await.unwrap();
    assert_eq!(generation("t").await, 1);
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap();
    f.work().await.unwrap();
    assert_eq!((generation("t").await, generation("u").await), (2, 0));
}

async fn bodies_are_given_up_when_no_version_can_need_them(f: Fixture) {
    f.put("d", "a").await;
    f.put("copy", "a").await;
    assert_eq!(f.work().await.unwrap().1, Vec::<String>::new());
    f.work().await.unwrap();
    f.put("d", "b").await;
    assert_eq!(f.work().await.unwrap().1, Vec::<String>::new(), "the copy needs it");
    f.put("copy", "b").await;
    assert_eq!(f.work().await.unwrap().1, ["a"]);
    f.put("d", "a").await;
    assert_eq!(f.work().await.unwrap().1, Vec::<String>::new(), "the copy needs b now");
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap();
    assert_eq!(f.work().await.unwrap().1, ["a"]);
    f.catalog.delete(&by("t"), &document("copy"), None, None).await.unwrap();
    assert_eq!(f.work().await.unwrap().1, ["b"]);
}

async fn a_body_of_a_skipped_version_goes_with_the_next_that_succeeds(f: Fixture) {
    f.put("d", "a").await;
    f.put("d", "b").await;
    f.put("d", "c").await;
    let (leased, mut unused) = f.work().await.unwrap();
    unused.sort();
    assert_eq!((leased.job.version, unused), (3, vec!["a".to_owned(), "b".to_owned()]));
}

async fn the_same_body_in_a_newer_version_stays(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    let mut renamed = version("t", "d", "a");
    renamed.fingerprint = "other title".into();
    f.catalog.accept(&by("t"), renamed).await.unwrap();
    assert_eq!(f.work().await.unwrap().1, Vec::<String>::new());
}

async fn a_failed_version_leaves_the_older_one_live(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    f.put("d", "b").await;
    let leased = f.lease().await.unwrap();
    f.catalog.fail(&leased.lease, &Error::unprocessable("no text"), JobStatus::Failed, TTL).await.unwrap();
    let found = f.document("d").await;
    assert_eq!((found.version, found.live_version, found.status), (2, Some(1), DocumentStatus::Failed));
    assert_eq!(found.error.as_deref(), Some("no text"));
    let history = f.catalog.history(&asker("t"), &document("d")).await.unwrap();
    assert_eq!(history.iter().map(|v| v.status).collect::<Vec<_>>(), [DocumentStatus::Failed, DocumentStatus::Ready]);
    f.put("d", "c").await;
    let (_, mut unused) = f.work().await.unwrap();
    unused.sort();
    assert_eq!(unused, ["a", "b"]);
}

contract! {
    text_comes_back_as_it_was_stored,
    stages_only_go_forward_and_a_job_ends_only_at_the_last,
    each_change_of_the_index_moves_the_generation_of_its_tenant,
    bodies_are_given_up_when_no_version_can_need_them,
    a_body_of_a_skipped_version_goes_with_the_next_that_succeeds,
    the_same_body_in_a_newer_version_stays,
    a_failed_version_leaves_the_older_one_live,
}
