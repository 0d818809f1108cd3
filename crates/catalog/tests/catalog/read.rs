//! Lists, pages and cursors.

use ragstone_core::ports::{DocumentFilter, JobFilter, PageRequest};
use ragstone_core::{DocumentStatus, ErrorCode, JobStatus};

use crate::support::{Fixture, asker, by, contract, document};

fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

async fn documents_page_by_id_without_gaps(f: Fixture) {
    for id in ["ä/1", "b", "a", "c d", "e"] {
        f.put(id, "x").await;
    }
    while f.work().await.is_some() {}
    f.catalog.delete(&by("t"), &document("e"), None, None).await.unwrap();
    f.work().await.unwrap();
    f.put("b", "y").await;
    let all = |filter: DocumentFilter| {
        let catalog = &f.catalog;
        async move {
            let (mut ids, mut cursor) = (Vec::new(), None);
            loop {
                let next = catalog.documents(&asker("t"), filter.clone(), page(2, cursor)).await.unwrap();
                assert!(next.items.len() <= 2);
                ids.extend(next.items.into_iter().map(|d| d.id.to_string()));
                cursor = next.next_cursor;
                if cursor.is_none() {
                    return ids;
                }
            }
        }
    };
    let by = |status| DocumentFilter { status };
    assert_eq!(all(by(None)).await, ["a", "b", "c d", "ä/1"]);
    assert_eq!(all(by(Some(DocumentStatus::Ready))).await, ["a", "c d", "ä/1"]);
    assert_eq!(all(by(Some(DocumentStatus::Processing))).await, ["b"]);
    assert_eq!(all(by(Some(DocumentStatus::Deleted))).await, ["e"]);
    assert!(all(by(Some(DocumentStatus::Failed))).await.is_empty());
}

async fn jobs_page_newest_first(f: Fixture) {
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(f.put(&format!("d{n}"), "x").await.job.id);
    }
    ids.reverse();
    f.work().await.unwrap();
    let first = f.catalog.jobs(&asker("t"), JobFilter::default(), page(3, None)).await.unwrap();
    let second = f.catalog.jobs(&asker("t"), JobFilter::default(), page(3, first.next_cursor)).await.unwrap();
    let found: Vec<_> = first.items.iter().chain(&second.items).map(|job| job.id).collect();
    assert_eq!((found, second.next_cursor), (ids.clone(), None));
    let done = JobFilter { status: Some(JobStatus::Done) };
    let done = f.catalog.jobs(&asker("t"), done, page(1, None)).await.unwrap();
    assert_eq!((done.items[0].id, done.items.len(), done.next_cursor), (ids[4], 1, None));
}

async fn nonsense_is_refused(f: Fixture) {
    let bad = [page(0, None), page(1001, None), page(1, Some("zz".into())), page(1, Some("ff".into()))];
    for page in bad {
        let documents = f.catalog.documents(&asker("t"), DocumentFilter::default(), page.clone()).await;
        assert_eq!(documents.unwrap_err().code, ErrorCode::InvalidArgument, "{page:?}");
        let jobs = f.catalog.jobs(&asker("t"), JobFilter::default(), page.clone()).await;
        assert_eq!(jobs.unwrap_err().code, ErrorCode::InvalidArgument, "{page:?}");
    }
    let not_a_number = page(1, Some("7a7a".into()));
    let jobs = f.catalog.jobs(&asker("t"), JobFilter::default(), not_a_number).await;
    assert_eq!(jobs.unwrap_err().code, ErrorCode::InvalidArgument);
}

contract! {
    documents_page_by_id_without_gaps,
    jobs_page_newest_first,
    nonsense_is_refused,
}
