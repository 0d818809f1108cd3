//! The audit log: what is in it, that it never forks, and that tampering shows.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ragstone_core::ports::Write;
use ragstone_core::{
    Answered, AuditAct, AuditAction, AuditCheck, AuditEntry, AuditFilter, Caller, DocumentRead, Error, ErrorCode,
    IndexSpec, JobStatus,
};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use crate::support::{Fixture, Place, asker, contract, document, file, member, tenant, version};

pub(crate) fn answered(caller: Caller, query_id: &str) -> Answered {
    let documents = vec![DocumentRead { document_id: document("ä/1"), version: 3 }];
    Answered { caller, query_id: query_id.to_owned(), documents, degraded: vec!["embed.lexical_only".into()], at: None }
}

fn act(object: &str) -> AuditAct {
    AuditAct { action: AuditAction::IndexDrop, object_id: object.to_owned(), detail: String::new() }
}

impl Fixture {
    pub(crate) async fn log(&self, of: &str) -> Vec<AuditEntry> {
        self.catalog.audit(&tenant(of), 0, 1_000, AuditFilter::default()).await.unwrap()
    }

    async fn verify(&self) -> AuditCheck {
        self.catalog.verify_audit(&tenant("t")).await.unwrap()
    }

    async fn is_whole(&self) -> bool {
        self.verify().await.first_broken.is_none()
    }

    /// Runs SQL past the catalog. Says whether it was let through.
    async fn tamper(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.place {
            Place::Sqlite(dir) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file(dir));
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
            }
            Place::Postgres(config) => {
                let mut connection = sqlx::PgConnection::connect(config.url.expose()).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
            }
        }
        Ok(())
    }

    /// What somebody with every right on the database could do.
    async fn tamper_with_force(&self, sql: &str) {
        let drop = match &self.place {
            Place::Sqlite(_) => {
                "DROP TRIGGER IF EXISTS audit_log_no_update; DROP TRIGGER IF EXISTS audit_log_no_delete;"
            }
            Place::Postgres(_) => "DROP TRIGGER IF EXISTS audit_log_no_change ON audit_log;",
        };
        self.tamper(&format!("{drop} {sql}")).await.unwrap();
    }
}

async fn every_change_leaves_its_entry(f: Fixture) {
    let ann = member("t", "ann\u{0}", &["staff"]);
    let write = Write::by(ann.clone());
    let job = f.catalog.accept(&write, version("t", "d", "a")).await.unwrap().job;
    assert!(f.catalog.accept(&write, version("t", "d", "a")).await.unwrap().unchanged);
    let leased = f.lease().await.unwrap();
    f.catalog.fail(&leased.lease, &Error::unprocessable("no"), JobStatus::Failed, Duration::ZERO).await.unwrap();
    f.catalog.retry(&ann, job.id).await.unwrap();
    assert!(f.catalog.retry(&ann, job.id).await.is_err());
    f.catalog.delete(&write, &document("d"), None, None).await.unwrap().unwrap();
    assert!(f.catalog.delete(&write, &document("d"), None, None).await.unwrap().is_none());
    f.catalog.record(&ann, AuditAct { detail: "a, b".into(), ..act("old-index") }).await.unwrap();
    let given_at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_001);
    let answer = Answered { at: Some(given_at), ..answered(ann.clone(), "q\u{0}1") };
    assert_eq!(f.catalog.record_answers(vec![answer.clone()]).await.unwrap(), 1);
    let log = f.log("t").await;
    let seen: Vec<_> = log.iter().map(|e| (e.seq, e.action.as_str(), e.object_id.as_str(), e.version)).collect();
    let job_id = job.id.to_string();
    assert_eq!(
        seen,
        [
            (1, "document.write", "d", Some(1)),
            (2, "job.retry", job_id.as_str(), None),
            (3, "document.delete", "d", Some(2)),
            (4, "index.drop", "old-index", None),
            (5, "answer", "q\u{0}1", None),
        ]
    );
    assert!(log.iter().all(|entry| entry.subject == "ann\u{0}" && entry.request_id == "r-1"));
    assert_eq!(log[3].detail, "a, b");
    let last = &log[4];
    assert_eq!((last.at, last.query_id.as_deref()), (given_at, Some("q\u{0}1")));
    assert_eq!((&last.documents, last.detail.as_str()), (&answer.documents, "embed.lexical_only"));
    assert_eq!(log[0].prev_hash, "0".repeat(64));
    assert!(log.windows(2).all(|pair| pair[1].prev_hash == pair[0].hash && pair[0].hash.len() == 64));
    let check = f.verify().await;
    assert_eq!(check, AuditCheck { entries: 5, first_broken: None, hash: last.hash.clone() });
}

async fn changes_of_indexes_leave_theirs(f: Fixture) {
    let root = member("t", "root", &[]);
    let [a, b] = ["a", "b"].map(|model| IndexSpec::of(model, "1", 3));
    f.catalog.add_index(&a, None).await.unwrap();
    assert!(f.log("t").await.is_empty(), "nobody asked for the first one");
    f.put("d", "x").await;
    while f.work().await.is_some() {}
    f.catalog.add_index(&b, Some(&root)).await.unwrap();
    assert!(f.catalog.serve_index(&b.name, Some(&root)).await.is_err(), "it is not complete");
    assert!(f.catalog.remove_index(&a.name, Some(&root)).await.is_err(), "it serves");
    while f.work().await.is_some() {}
    f.catalog.serve_index(&b.name, Some(&root)).await.unwrap();
    f.catalog.remove_index(&a.name, Some(&root)).await.unwrap();
    let log = f.log("t").await;
    let seen: Vec<_> = log.iter().map(|e| (e.action.as_str(), e.object_id.as_str(), e.subject.as_str())).collect();
    let (a, b) = (a.name.as_str(), b.name.as_str());
    assert_eq!(
        seen,
        [
            ("document.write", "d", "ragstone"),
            ("reindex.begin", b, "root"),
            ("index.switch", b, "root"),
            ("index.drop", a, "root")
        ]
    );
}

async fn what_is_refused_leaves_none(f: Fixture) {
    f.put("d", "a").await;
    let before = f.log("t").await;
    let bob = Write::by(member("t", "bob", &[]));
    assert!(f.catalog.accept(&bob, version("t", "d", "b")).await.is_err());
    assert!(f.catalog.delete(&bob, &document("d"), None, None).await.unwrap().is_none());
    let too_many: Vec<_> = (0..1_001).map(|n| answered(asker("t"), &n.to_string())).collect();
    let nameless = vec![answered(asker("t"), "fine"), answered(asker("t"), "")];
    for answers in [too_many, nameless] {
        assert_eq!(f.catalog.record_answers(answers).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
    assert_eq!(f.log("t").await, before);
}

async fn answers_are_recorded_once_each_to_their_tenant(f: Fixture) {
    let answers = || {
        let of = |n: usize| ["t", "u"][n % 2];
        (0..1_000).map(|n| answered(asker(of(n)), &format!("q{}", n / 2))).collect::<Vec<_>>()
    };
    assert_eq!(f.catalog.record_answers(answers()).await.unwrap(), 1_000);
    assert_eq!(f.catalog.record_answers(answers()).await.unwrap(), 0, "a call that is sent again");
    let twice = vec![answered(asker("t"), "new"), answered(asker("t"), "q3"), answered(asker("t"), "new")];
    assert_eq!(f.catalog.record_answers(twice).await.unwrap(), 1);
    assert_eq!((f.log("t").await.len(), f.log("u").await.len()), (501, 500));
    assert_eq!(f.catalog.record_answers(Vec::new()).await.unwrap(), 0);
    assert!(f.is_whole().await);
}

async fn it_is_read_in_pages_and_by_what_is_asked(f: Fixture) {
    for n in 0..5 {
        f.catalog.record(&member("t", ["ann", "bob"][n % 2], &[]), act(&n.to_string())).await.unwrap();
        f.time.pass(Duration::from_secs(1));
    }
    f.put("d", "x").await;
    f.put("e", "x").await;
    let read = async |after, limit, filter: AuditFilter| {
        let entries = f.catalog.audit(&tenant("t"), after, limit, filter).await.unwrap();
        entries.into_iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    let all = AuditFilter::default;
    assert_eq!(read(0, 3, all()).await, [1, 2, 3]);
    assert_eq!(read(3, 3, all()).await, [4, 5, 6]);
    assert_eq!(read(6, 3, all()).await, [7]);
    assert_eq!(read(1, 10, AuditFilter { subject: Some("ann".into()), ..all() }).await, [3, 5]);
    let writes = AuditFilter { action: Some(AuditAction::DocumentWrite), ..all() };
    assert_eq!(read(0, 10, writes.clone()).await, [6, 7]);
    assert_eq!(read(0, 10, AuditFilter { subject: Some("bob".into()), ..writes }).await, [] as [u64; 0]);
    let third = f.log("t").await[2].at;
    assert_eq!(read(0, 10, AuditFilter { since: Some(third), ..all() }).await, [3, 4, 5, 6, 7]);
    assert!(f.log("u").await.is_empty());
    for limit in [0, 1_001] {
        let refused = f.catalog.audit(&tenant("t"), 0, limit, all()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
    }
}

async fn many_writers_make_one_chain(f: Fixture) {
    let f = Arc::new(f);
    let mut writers = JoinSet::new();
    for n in 0..8 {
        let f = Arc::clone(&f);
        writers.spawn(async move {
            for round in 0..10 {
                match n % 4 {
                    0 => f.catalog.record(&asker("t"), act("x")).await.unwrap(),
                    1 => _ = f.put(&format!("d{n}"), &round.to_string()).await,
                    // Two tenants in one call, in both orders.
                    2 => {
                        let answers = ["t", "u"].map(|of| answered(asker(of), &format!("{n}-{round}")));
                        assert_eq!(f.catalog.record_answers(answers.to_vec()).await.unwrap(), 2);
                    }
                    _ => {
                        let answers = ["u", "t"].map(|of| answered(asker(of), &format!("{n}-{round}")));
                        assert_eq!(f.catalog.record_answers(answers.to_vec()).await.unwrap(), 2);
                    }
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(f.log("t").await.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
    assert_eq!((f.verify().await.entries, f.is_whole().await), (80, true));
    assert_eq!(f.catalog.verify_audit(&tenant("u")).await.unwrap().entries, 40);
}

async fn the_database_refuses_changes(f: Fixture) {
    f.put("d", "a").await;
    for sql in
        ["UPDATE audit_log SET subject = 'x'", "DELETE FROM audit_log", "UPDATE audit_log SET seq = seq WHERE seq = 1"]
    {
        let refused = f.tamper(sql).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    if matches!(f.place, Place::Postgres(_)) {
        assert!(f.tamper("TRUNCATE audit_log").await.unwrap_err().to_string().contains("append-only"));
    }
    assert_eq!(f.log("t").await.len(), 1);
}

async fn tampering_shows_where_it_begins(f: Fixture) {
    assert_eq!(f.verify().await, AuditCheck { entries: 0, first_broken: None, hash: "0".repeat(64) });
    // More than a page of the check.
    for batch in 0..3 {
        let answers = (0..400).map(|n| answered(asker("t"), &format!("{batch}-{n}"))).collect();
        f.catalog.record_answers(answers).await.unwrap();
    }
    assert_eq!(f.verify().await.entries, 1_200);
    let changes = [
        ("UPDATE audit_log SET subject = 'eve' WHERE seq = 1100", 1_100),
        ("UPDATE audit_log SET at = at + 1 WHERE seq = 1000", 1_000),
        ("UPDATE audit_log SET action = 'nonsense' WHERE seq = 900", 900),
        ("UPDATE audit_log SET documents = '[]' WHERE seq = 700", 700),
        ("DELETE FROM audit_log WHERE seq = 500", 500),
        ("UPDATE audit_log SET prev_hash = hash WHERE seq = 300", 300),
        ("UPDATE audit_log SET seq = 5000 WHERE seq = 1", 1),
    ];
    for (sql, first) in changes {
        f.tamper_with_force(sql).await;
        let check = f.verify().await;
        assert_eq!((check.first_broken, check.entries), (Some(first), first - 1), "{sql}");
    }
}

async fn a_missing_end_shows_too(f: Fixture) {
    for n in 0..3 {
        f.catalog.record(&asker("t"), act(&n.to_string())).await.unwrap();
    }
    f.tamper_with_force("DELETE FROM audit_log WHERE seq = 3").await;
    assert_eq!(f.verify().await.first_broken, Some(3));
    f.tamper_with_force("UPDATE audit_heads SET seq = 2").await;
    assert_eq!(f.verify().await.first_broken, Some(3), "the head's hash tells");
    f.tamper_with_force("DELETE FROM audit_log").await;
    assert_eq!(f.verify().await.first_broken, Some(1));
    f.tamper_with_force("DELETE FROM audit_heads").await;
    assert!(f.is_whole().await, "only a hash that was noted elsewhere shows this");
}

contract! {
    every_change_leaves_its_entry,
    changes_of_indexes_leave_theirs,
    what_is_refused_leaves_none,
    answers_are_recorded_once_each_to_their_tenant,
    it_is_read_in_pages_and_by_what_is_asked,
    many_writers_make_one_chain,
    the_database_refuses_changes,
    tampering_shows_where_it_begins,
    a_missing_end_shows_too,
}
