//! API keys and feedback.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ragstone_core::ports::PageRequest;
use ragstone_core::{Access, ErrorCode, Feedback, FeedbackCounts, GroupAccess, NewApiKey, Rating, Scope};

use crate::audit::answered;
use crate::support::{Fixture, asker, contract, member, tenant};

pub(crate) fn key(id: &str, of: &str) -> NewApiKey {
    let groups = GroupAccess::Groups(BTreeSet::from(["staff".to_owned(), "über \"x\"".to_owned()]));
    NewApiKey {
        id: id.to_owned(),
        access: Access { tenant: tenant(of), groups },
        hash: "b3:abc".into(),
        subject: "build server".into(),
        scopes: BTreeSet::from([Scope::Query, Scope::Ingest]),
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_100)),
    }
}

async fn keys_are_made_found_listed_and_revoked(f: Fixture) {
    let root = member("t", "root", &[]);
    let made = f.catalog.create_key(&root, key("k1", "t")).await.unwrap();
    let new = key("k1", "t");
    assert_eq!((&made.access, &made.subject, &made.scopes), (&new.access, &new.subject, &new.scopes));
    assert_eq!((made.created_by.as_str(), made.expires_at, made.revoked_at), ("root", new.expires_at, None));
    let found = f.catalog.find_key("k1").await.unwrap().unwrap();
    assert_eq!((found.key, found.hash.as_str()), (made.clone(), "b3:abc"));
    for none in ["k2", "", "K1", "a\u{0}b"] {
        assert!(f.catalog.find_key(none).await.unwrap().is_none(), "{none:?}");
    }
    let forever = NewApiKey { expires_at: None, ..key("k0", "t") };
    let forever = NewApiKey { access: Access { groups: GroupAccess::All, ..forever.access }, ..forever };
    f.catalog.create_key(&root, forever).await.unwrap();
    let all = f.catalog.find_key("k0").await.unwrap().unwrap().key;
    assert_eq!((all.access.groups, all.expires_at), (GroupAccess::All, None));

    f.time.pass(Duration::from_secs(5));
    let revoked = f.catalog.revoke_key(&root, "k1").await.unwrap();
    assert!(revoked.revoked_at.is_some_and(|at| at > made.created_at));
    f.time.pass(Duration::from_secs(5));
    assert_eq!(f.catalog.revoke_key(&root, "k1").await.unwrap(), revoked, "a second time changes nothing");
    assert_eq!(f.catalog.find_key("k1").await.unwrap().unwrap().key, revoked);
    let log = f.log("t").await;
    let seen: Vec<_> = log.iter().map(|e| (e.action.as_str(), e.object_id.as_str(), e.subject.as_str())).collect();
    assert_eq!(seen, [("key.create", "k1", "root"), ("key.create", "k0", "root"), ("key.revoke", "k1", "root")]);
    assert!(log.iter().all(|entry| !format!("{entry:?}").contains("b3:abc")), "no hash in the log");
}

async fn keys_of_other_tenants_are_not_there(f: Fixture) {
    f.catalog.create_key(&asker("t"), key("k1", "t")).await.unwrap();
    f.catalog.create_key(&asker("u"), key("k2", "u")).await.unwrap();
    assert_eq!(f.catalog.revoke_key(&asker("u"), "k1").await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(f.catalog.revoke_key(&asker("u"), "no\u{0}").await.unwrap_err().code, ErrorCode::NotFound);
    assert!(f.catalog.find_key("k1").await.unwrap().unwrap().key.revoked_at.is_none());
    let taken = f.catalog.create_key(&asker("u"), key("k1", "u")).await.unwrap_err();
    assert_eq!(taken.code, ErrorCode::Conflict);
    assert_eq!(f.catalog.find_key("k1").await.unwrap().unwrap().key.access.tenant, tenant("t"));
    let late = NewApiKey { expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)), ..key("k3", "t") };
    assert_eq!(f.catalog.create_key(&asker("t"), late).await.unwrap_err().code, ErrorCode::InvalidArgument);
    let bad = NewApiKey { id: "a_b".into(), ..key("k3", "t") };
    assert_eq!(f.catalog.create_key(&asker("t"), bad).await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert_eq!((f.log("t").await.len(), f.log("u").await.len()), (1, 1));
    for id in ["k5", "k4"] {
        f.catalog.create_key(&asker("t"), key(id, "t")).await.unwrap();
    }
    let first = f.catalog.keys(&tenant("t"), PageRequest { limit: 2, cursor: None }).await.unwrap();
    let rest = f.catalog.keys(&tenant("t"), PageRequest { limit: 2, cursor: first.next_cursor.clone() }).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&rest.items).map(|key| key.id.as_str()).collect();
    assert_eq!((ids, rest.next_cursor), (vec!["k1", "k4", "k5"], None));
}

fn rating(query_id: &str, rating: Rating, comment: &str) -> Feedback {
    Feedback { query_id: query_id.to_owned(), rating, comment: comment.to_owned() }
}

async fn feedback_counts_once_a_subject_and_answer(f: Fixture) {
    let (ann, bob) = (member("t", "ann", &[]), member("t", "bob", &[]));
    f.catalog.record_answers(vec![answered(ann.clone(), "q1"), answered(member("u", "x", &[]), "q2")]).await.unwrap();
    let count = async |of: Option<&str>, since| {
        let FeedbackCounts { up, down } = f.catalog.feedback(of.map(tenant).as_ref(), since).await.unwrap();
        (up, down)
    };
    for (caller, query) in [(&ann, "q2"), (&ann, "none"), (&member("u", "ann", &[]), "q1"), (&ann, "")] {
        let refused = f.catalog.give_feedback(caller, rating(query, Rating::Up, "")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound, "{query}");
    }
    assert_eq!(count(None, UNIX_EPOCH).await, (0, 0));
    f.catalog.give_feedback(&ann, rating("q1", Rating::Up, "good \u{0}")).await.unwrap();
    f.catalog.give_feedback(&bob, rating("q1", Rating::Up, "")).await.unwrap();
    assert_eq!(count(Some("t"), UNIX_EPOCH).await, (2, 0));
    f.time.pass(Duration::from_secs(10));
    f.catalog.give_feedback(&ann, rating("q1", Rating::Down, &"ä".repeat(2_000))).await.unwrap();
    assert_eq!(count(Some("t"), UNIX_EPOCH).await, (1, 1), "the later one counts");
    let started: SystemTime = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    assert_eq!(count(Some("t"), started + Duration::from_secs(10)).await, (0, 1));
    assert_eq!(count(None, started + Duration::from_secs(11)).await, (0, 0));
    f.catalog.give_feedback(&member("u", "x", &[]), rating("q2", Rating::Up, "")).await.unwrap();
    assert_eq!((count(None, UNIX_EPOCH).await, count(Some("u"), UNIX_EPOCH).await), ((2, 1), (1, 0)));
    let long = f.catalog.give_feedback(&ann, rating("q1", Rating::Up, &"ä".repeat(2_001))).await.unwrap_err();
    assert_eq!(long.code, ErrorCode::InvalidArgument);
}

contract! {
    keys_are_made_found_listed_and_revoked,
    keys_of_other_tenants_are_not_there,
    feedback_counts_once_a_subject_and_answer,
}
