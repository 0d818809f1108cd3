//! What callers see of documents that are for some groups only.

use ragstone_core::ports::{DocumentFilter, JobFilter, NewVersion, PageRequest, Write};
use ragstone_core::{Caller, Error, ErrorCode, JobId, JobStatus};

use crate::support::{Fixture, asker, by, contract, document, member, text, version};

fn offer(id: &str, content: &str, groups: &[&str]) -> NewVersion {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    NewVersion { groups, ..version("t", id, content) }
}

impl Fixture {
    async fn live_for(&self, id: &str, content: &str, groups: &[&str]) {
        self.catalog.accept(&by("t"), offer(id, content, groups)).await.unwrap();
        self.work().await.unwrap();
    }

    /// What `caller` sees of a document: itself, how many versions, its text.
    async fn sees(&self, caller: &Caller, id: &str) -> (bool, Vec<u64>, bool) {
        let id = document(id);
        let history = self.catalog.history(caller, &id).await.unwrap();
        let text = self.catalog.live_text(caller, &id, 0, 10).await.unwrap();
        let found = self.catalog.document(caller, &id).await.unwrap();
        (found.is_some(), history.iter().map(|version| version.version).collect(), text.is_some())
    }

    async fn listed(&self, caller: &Caller, limit: u32) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit, cursor };
            let page = self.catalog.documents(caller, DocumentFilter::default(), page).await.unwrap();
            assert!(page.items.len() == limit as usize || page.next_cursor.is_none(), "pages are full");
            ids.extend(page.items.into_iter().map(|found| found.id.to_string()));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return ids;
            }
        }
    }

    async fn jobs_of(&self, caller: &Caller, status: Option<JobStatus>) -> usize {
        let page = PageRequest { limit: 1_000, cursor: None };
        self.catalog.jobs(caller, JobFilter { status }, page).await.unwrap().items.len()
    }
}

async fn a_shared_group_opens_and_none_asked_for_is_open_to_all(f: Fixture) {
    f.live_for("open", "a", &[]).await;
    f.live_for("staff", "b", &["staff", "über \"x\""]).await;
    f.live_for("board", "c", &["board"]).await;
    let all = ["board", "open", "staff"].map(str::to_owned);
    assert_eq!(f.listed(&asker("t"), 1).await, all);
    for (groups, seen) in [
        (&[][..], &["open"][..]),
        (&["staff"], &["open", "staff"]),
        (&["über \"x\""], &["open", "staff"]),
        (&["board", "staff"], &["board", "open", "staff"]),
        (&["Staff", "sta", "", "[]", "%"], &["open"]),
    ] {
        let caller = member("t", "ann", groups);
        assert_eq!(f.listed(&caller, 1).await, seen, "{groups:?}");
        assert_eq!(f.listed(&caller, 100).await, seen, "{groups:?}");
        assert_eq!(f.jobs_of(&caller, None).await, seen.len(), "{groups:?}");
        assert_eq!(f.jobs_of(&caller, Some(JobStatus::Done)).await, seen.len(), "{groups:?}");
        for id in &all {
            let sees = seen.contains(&id.as_str());
            let expected = (sees, if sees { vec![1] } else { Vec::new() }, sees);
            assert_eq!(f.sees(&caller, id).await, expected, "{groups:?} {id}");
        }
    }
    assert!(f.listed(&asker("u"), 1).await.is_empty(), "all groups of another tenant are none of this one");
}

async fn newest_and_live_version_must_both_be_open(f: Fixture) {
    let (ann, bob) = (member("t", "ann", &["a"]), member("t", "bob", &["b"]));
    f.live_for("d", "1", &["a"]).await;
    // From here on it is for b, but what searches find is still for a: nobody but both.
    let second = f.catalog.accept(&by("t"), offer("d", "2", &["b"])).await.unwrap().job;
    for caller in [&ann, &bob] {
        assert_eq!(f.sees(caller, "d").await, (false, vec![], false), "{}", caller.subject);
        assert!(f.catalog.job(caller, second.id).await.unwrap().is_none());
        assert_eq!(f.jobs_of(caller, None).await, 0);
        let page = PageRequest { limit: 10, cursor: None };
        assert!(f.catalog.documents(caller, DocumentFilter::default(), page).await.unwrap().items.is_empty());
    }
    assert_eq!(f.sees(&member("t", "eve", &["a", "b"]), "d").await, (true, vec![2, 1], true));
    f.work().await.unwrap();
    assert_eq!(f.sees(&ann, "d").await, (false, vec![], false));
    assert_eq!(f.sees(&bob, "d").await, (true, vec![2], true), "what the first version said stays with a");
    assert!(f.catalog.job(&bob, second.id).await.unwrap().is_some());
    assert_eq!(f.jobs_of(&bob, None).await, 1);
}

async fn what_cannot_be_read_cannot_be_written_or_deleted(f: Fixture) {
    let (ann, bob) = (member("t", "ann", &["a"]), member("t", "bob", &["b"]));
    f.live_for("d", "1", &["a"]).await;
    let write = Write::by(bob.clone());
    for new in
        [offer("d", "2", &["b"]), NewVersion { if_version: Some(0), ..offer("d", "2", &[]) }, offer("d", "1", &["a"])]
    {
        let refused = f.catalog.accept(&write, new).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::PermissionDenied);
        assert!(refused.message.contains("may not read"), "{refused}");
    }
    for if_version in [None, Some(1), Some(7)] {
        assert!(f.catalog.delete(&write, &document("d"), if_version, None).await.unwrap().is_none(), "as if not there");
    }
    assert_eq!(f.document("d").await.version, 1);
    // A writer may hide a document from themselves.
    f.catalog.accept(&Write::by(ann.clone()), offer("d", "2", &["b"])).await.unwrap();
    assert!(!f.sees(&ann, "d").await.0);
    let stranger = f.catalog.accept(&Write::by(member("u", "eve", &[])), version("u", "d", "1")).await;
    assert_eq!(stranger.unwrap().job.version, 1, "another tenant's document is another document");
}

async fn retrying_needs_the_documents_groups(f: Fixture) {
    let job = f.catalog.accept(&by("t"), offer("d", "1", &["a"])).await.unwrap().job;
    let leased = f.lease().await.unwrap();
    let error = Error::unprocessable("no");
    f.catalog.fail(&leased.lease, &error, JobStatus::Failed, Default::default()).await.unwrap();
    let (bob, none) = (member("t", "bob", &["b"]), JobId::generate());
    let refused = f.catalog.retry(&bob, job.id).await.unwrap_err();
    let absent = f.catalog.retry(&bob, none).await.unwrap_err();
    assert_eq!((refused.code, absent.code), (ErrorCode::NotFound, ErrorCode::NotFound));
    assert_eq!(refused.message.replace(&job.id.to_string(), ""), absent.message.replace(&none.to_string(), ""));
    let again = f.catalog.retry(&member("t", "ann", &["a"]), job.id).await.unwrap();
    assert_eq!(again.status, JobStatus::Queued);
}

async fn a_deletion_is_as_readable_as_what_it_deletes(f: Fixture) {
    let (ann, bob) = (member("t", "ann", &["a"]), member("t", "bob", &["b"]));
    f.live_for("d", "1", &["a"]).await;
    let removal = f.catalog.delete(&Write::by(ann.clone()), &document("d"), None, None).await.unwrap().unwrap();
    let refused = f.catalog.accept(&Write::by(bob.clone()), offer("d", "2", &["b"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied, "searches still find it");
    f.work().await.unwrap();
    assert_eq!(f.sees(&bob, "d").await, (false, vec![], false));
    assert!(f.catalog.job(&bob, removal.id).await.unwrap().is_none());
    assert_eq!(f.sees(&ann, "d").await, (true, vec![2, 1], false));
    assert!(f.catalog.job(&ann, removal.id).await.unwrap().is_some());
    // A deleted document is in nobody's way, and its history stays with whom it was for.
    assert_eq!(f.catalog.accept(&Write::by(bob.clone()), offer("d", "2", &["b"])).await.unwrap().job.version, 3);
    f.work().await.unwrap();
    assert_eq!(f.sees(&bob, "d").await, (true, vec![3], true));
    assert_eq!(f.sees(&ann, "d").await, (false, vec![], false));
}

async fn text_comes_in_pages_of_one_version(f: Fixture) {
    f.put("d", "1").await;
    let none = f.catalog.live_text(&asker("t"), &document("d"), 0, 10).await.unwrap();
    assert_eq!(none, None, "nothing is live yet");
    let leased = f.lease().await.unwrap();
    let contents = ["eins \u{0}", "zwei", "drei"];
    f.catalog.store_text(&leased.lease, text(&contents)).await.unwrap();
    f.finish(&f.renew(leased).await).await;
    f.put("d", "2").await;
    let read = async |from, limit| f.catalog.live_text(&asker("t"), &document("d"), from, limit).await;
    let all = read(0, 10).await.unwrap().unwrap();
    assert_eq!((all.version, all.title.as_str(), all.total), (1, "Found", 3));
    assert_eq!(all.chunks, text(&contents).chunks);
    let middle = read(1, 1).await.unwrap().unwrap();
    assert_eq!((middle.chunks, middle.total), (text(&contents).chunks[1..2].to_vec(), 3));
    assert!(read(3, 1).await.unwrap().unwrap().chunks.is_empty());
    for limit in [0, 1_001] {
        assert_eq!(read(0, limit).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
    assert_eq!(f.catalog.live_text(&asker("t"), &document("other"), 0, 10).await.unwrap(), None);
    assert_eq!(f.catalog.live_text(&asker("u"), &document("d"), 0, 10).await.unwrap(), None);
}

contract! {
    a_shared_group_opens_and_none_asked_for_is_open_to_all,
    newest_and_live_version_must_both_be_open,
    what_cannot_be_read_cannot_be_written_or_deleted,
    retrying_needs_the_documents_groups,
    a_deletion_is_as_readable_as_what_it_deletes,
    text_comes_in_pages_of_one_version,
}
