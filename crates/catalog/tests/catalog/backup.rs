//! Rows out of one catalog and into another, schemas of earlier versions, reading beside the process that works.

use std::sync::Arc;
use std::time::SystemTime;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use ragstone_catalog::SqliteCatalog;
use ragstone_core::ports::{Catalog, Record};
use ragstone_core::{
    Access, DocumentStatus, Error, ErrorCode, Feedback, FeedbackCounts, Filter, GroupAccess, IndexSpec, JobId, JobKind,
    JobStatus, KeywordQuery, Rating, Stage,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::answered;
use crate::idempotency::keyed;
use crate::ledger::key;
use crate::support::{Fixture, Place, TTL, asker, by, contract, document, file, member, tenant, text, version};

async fn export(catalog: &dyn Catalog) -> Vec<Record> {
    catalog.export().try_collect().await.unwrap()
}

fn stream(records: Vec<Record>) -> BoxStream<'static, ragstone_core::Result<Record>> {
    futures::stream::iter(records.into_iter().map(Ok)).boxed()
}

async fn found(catalog: &dyn Catalog, words: &str) -> usize {
    let access = Access { tenant: tenant("t"), groups: GroupAccess::All };
    let query = KeywordQuery { access, text: words.to_owned(), k: 10, filter: Filter::default() };
    catalog.keyword_search(query).await.unwrap().len()
}

/// A catalog with something of everything.
async fn fill(f: &Fixture) -> JobId {
    let spec = |model| IndexSpec::of(model, "1", 3);
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    for id in ["done", "ä/gone", "failed"] {
        f.put(id, id).await;
    }
    while let Some(leased) = f.lease().await {
        f.catalog.heartbeat(&leased.lease, TTL, 0.3).await.unwrap();
        if leased.job.document_id.as_str() == "failed" {
            let error = Error::unprocessable("no \u{0} text \u{fdd0}");
            f.catalog.fail(&leased.lease, &error, JobStatus::Failed, TTL).await.unwrap();
            continue;
        }
        let contents = ["Grüße\u{0}!", "\u{fdd0}0 C++ 🦀"];
        f.catalog.store_text(&leased.lease, text(&contents)).await.unwrap();
        f.finish(&f.renew(leased).await).await;
    }
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    f.catalog.delete(&by("t"), &document("ä/gone"), None, None).await.unwrap();
    f.work().await.unwrap();
    f.put("done", "newer").await;
    f.catalog.create_key(&asker("t"), key("k1", "t")).await.unwrap();
    f.catalog.record_answers(vec![answered(member("t", "ann \u{0}", &["staff"]), "q \u{0}")]).await.unwrap();
    let feedback = Feedback { query_id: "q \u{0}".into(), rating: Rating::Up, comment: "good \u{0} \u{fdd0}".into() };
    f.catalog.give_feedback(&asker("t"), feedback).await.unwrap();
    f.catalog.accept(&keyed("k", "x"), version("t", "kept", "x")).await.unwrap();
    f.catalog.accept(&by("u"), version("u", "waiting", "x")).await.unwrap();
    let running = f.lease().await.unwrap();
    f.catalog.store_text(&running.lease, text(&["half"])).await.unwrap();
    running.job.id
}

async fn import_goes_on_where_export_ended(from: Fixture, to: Fixture, back: Fixture) {
    let running = fill(&from).await;
    let rows = export(&*from.catalog).await;
    let count = to.catalog.import(stream(rows.clone())).await.unwrap();
    assert_eq!(count, rows.len() as u64);
    let again = export(&*to.catalog).await;
    assert_eq!(again, rows);
    back.catalog.import(stream(again)).await.unwrap();
    assert_eq!(export(&*back.catalog).await, rows);
    for f in [&to, &back] {
        goes_on(f, running).await;
    }
    assert!(from.catalog.job(&asker("t"), running).await.unwrap().unwrap().status == JobStatus::Running);
}

/// Keys, audit log and feedback are there, and go on.
async fn ledger_goes_on(f: &Fixture) {
    assert_eq!(f.catalog.find_key("k1").await.unwrap().unwrap().hash, "b3:abc");
    let check = f.catalog.verify_audit(&tenant("t")).await.unwrap();
    assert!(check.first_broken.is_none() && check.entries > 5, "{check:?}");
    assert_eq!(f.catalog.record_answers(vec![answered(asker("t"), "q \u{0}")]).await.unwrap(), 0);
    assert_eq!(f.catalog.feedback(None, SystemTime::UNIX_EPOCH).await.unwrap(), FeedbackCounts { up: 1, down: 0 });
    let again = f.catalog.accept(&keyed("k", "x"), version("t", "kept", "x")).await.unwrap();
    assert_eq!((again.unchanged, again.job.version), (false, 1), "the first answer again");
    let refused = f.catalog.accept(&keyed("k", "y"), version("t", "kept", "y")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unprocessable);
    f.put("kept", "z").await;
    assert_eq!(f.catalog.verify_audit(&tenant("t")).await.unwrap().entries, check.entries + 1);
}

async fn goes_on(f: &Fixture, running: JobId) {
    ledger_goes_on(f).await;
    assert_eq!(f.document("failed").await.error.as_deref(), Some("no \u{0} text \u{fdd0}"));
    assert_eq!((found(&*f.catalog, "gruße").await, found(&*f.catalog, "half").await), (1, 0));
    assert_eq!(f.catalog.corpus_generation(&tenant("t")).await.unwrap(), 3);
    assert_eq!(f.catalog.indexes().await.unwrap().len(), 2);
    let job = f.catalog.job(&asker("t"), running).await.unwrap().unwrap();
    assert_eq!((job.status, job.stage, job.attempts), (JobStatus::Queued, Stage::Embed, 0));
    let accepted = f.put("ä/gone", "again").await;
    assert_eq!(accepted.job.version, 3, "numbers go on");
    assert!(f.put("done", "newer").await.unchanged);
    f.catalog.add_index(&IndexSpec::of("c", "1", 3), None).await.unwrap();
    let mut done = Vec::new();
    while let Some(leased) = f.lease().await {
        if leased.job.id == running {
            assert!(leased.resumed);
            assert_eq!(f.catalog.text(&leased.lease).await.unwrap(), text(&["half"]));
        }
        f.finish(&leased).await;
        done.push(leased.job);
    }
    assert!(done.iter().any(|job| job.kind == JobKind::Rebuild));
    for id in ["done", "ä/gone"] {
        assert_eq!(f.document(id).await.status, DocumentStatus::Ready);
    }
    assert_eq!(found(&*f.catalog, "one").await, 2);
}

#[tokio::test]
async fn from_sqlite_to_postgres_and_back() {
    import_goes_on_where_export_ended(Fixture::sqlite().await, Fixture::postgres().await, Fixture::sqlite().await)
        .await;
}

#[tokio::test]
async fn from_postgres_to_sqlite_and_back() {
    import_goes_on_where_export_ended(Fixture::postgres().await, Fixture::sqlite().await, Fixture::postgres().await)
        .await;
}

async fn a_backup_is_one_moment(f: Fixture) {
    for n in 0..300 {
        f.put(&format!("d{n:03}"), "x").await;
    }
    let mut rows = f.catalog.export();
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!(first.table, "tenants");
    f.put("new", "x").await;
    f.catalog.delete(&by("t"), &document("d299"), None, None).await.unwrap();
    let rest: Vec<Record> = rows.try_collect().await.unwrap();
    let of = |table: &str| rest.iter().filter(|record| record.table == table).count();
    assert_eq!((of("documents"), of("versions"), of("jobs")), (300, 300, 300));
    // Who stops reading leaves nothing behind.
    drop(f.catalog.export());
    let mut some = f.catalog.export();
    some.next().await.unwrap().unwrap();
    drop(some);
    f.put("newer", "x").await;
    f.catalog.check().await.unwrap();
}

async fn only_whole_rows_that_fit_come_in(f: Fixture) {
    let origin = Fixture::sqlite().await;
    fill(&origin).await;
    let rows = export(&*origin.catalog).await;
    let position = |table: &str| rows.iter().position(|record| record.table == table).unwrap();
    let with = |table: &str, change: &dyn Fn(&mut Record)| {
        let mut rows = rows.clone();
        change(&mut rows[position(table)]);
        rows
    };
    let set = |column: &'static str, value: Value| {
        move |record: &mut Record| _ = record.row.insert(column.to_owned(), value.clone())
    };
    let mut twice = rows.clone();
    twice.push(rows.last().unwrap().clone());
    let without_versions = rows.iter().filter(|record| record.table != "versions").cloned().collect();
    let broken: [(&str, Vec<Record>); 9] = [
        ("no table 'others'", with("jobs", &|record| record.table = "others".into())),
        ("no column 'kind'", with("jobs", &|record| _ = record.row.remove("kind"))),
        ("unknown column 'x'", with("chunks", &set("x", json!(1)))),
        ("value of 'version'", with("documents", &set("version", json!("1")))),
        ("value of 'status'", with("documents", &set("status", json!("lost")))),
        ("value of 'metadata'", with("versions", &set("metadata", json!("[")))),
        ("'feedback' does not fit", twice),
        ("does not fit", without_versions),
        ("'chunks' does not fit", with("chunks", &set("version", json!(77)))),
    ];
    for (says, rows) in broken {
        let refused = f.catalog.import(stream(rows)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "{says}: {}", refused.chain());
        assert!(refused.message.contains(says), "{says}: {refused}");
        assert!(export(&*f.catalog).await.is_empty(), "{says}");
    }
    let cut = stream(rows.clone()).chain(futures::stream::iter([Err(Error::unprocessable("torn"))])).boxed();
    assert_eq!(f.catalog.import(cut).await.unwrap_err().message, "torn");
    assert!(export(&*f.catalog).await.is_empty());
    f.catalog.import(stream(rows.clone())).await.unwrap();
    assert_eq!(f.catalog.import(stream(rows)).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(f.catalog.import(stream(Vec::new())).await.unwrap_err().code, ErrorCode::Conflict);
}

contract! {
    a_backup_is_one_moment,
    only_whole_rows_that_fit_come_in,
}

#[tokio::test]
async fn a_backup_may_read_beside_the_service() {
    let f = Fixture::sqlite().await;
    fill(&f).await;
    let Place::Sqlite(dir) = &f.place else { unreachable!() };
    let beside = SqliteCatalog::open_read_only(&file(dir)).await.unwrap();
    assert_eq!(export(&beside).await, export(&*f.catalog).await);
    let refused = beside.accept(&by("t"), version("t", "x", "x")).await.unwrap_err();
    assert!(refused.message.contains("reading only"), "{}", refused.chain());
    f.put("after", "x").await;
    assert!(beside.document(&asker("t"), &document("after")).await.unwrap().is_some());
    beside.close().await;
    f.put("still", "x").await;
    let none = SqliteCatalog::open_read_only(&dir.path().join("none.db")).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::NotFound);
    assert!(!dir.path().join("none.db").exists());
}

/// A catalog as the first version left it: one document live, one with a removal waiting, one half done.
async fn first_version(dir: &TempDir) {
    let path = dir.path().join("data/catalog.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_to(1, &pool).await.unwrap();
    let rows = "
        INSERT INTO tenants VALUES ('t', 4);
        INSERT INTO documents VALUES ('t', 'live', 2, 2, 'ready', 1, 2), ('t', 'going', 2, 1, 'processing', 1, 2),
            ('t', 'half', 1, NULL, 'processing', 1, 2);
        INSERT INTO versions (tenant, document_id, version, status, title, media_type, bytes, content_hash, needs_body,
            metadata, groups, fingerprint, chunks, created_at) VALUES
            ('t', 'live', 1, 'ready', '', 'text/plain', 1, 'h1', 0, '{}', '[]', 'f1', 1, 1),
            ('t', 'live', 2, 'ready', 'Handbook', 'text/plain', 1, 'h2', 1, '{}', '[]', 'f2', 2, 1),
            ('t', 'going', 1, 'ready', '', 'text/plain', 1, 'h3', 1, '{}', '[\"staff\"]', 'f3', 1, 1),
            ('t', 'going', 2, 'processing', '', '', 0, '', 0, '{}', '[]', '', 0, 1),
            ('t', 'half', 1, 'processing', '', 'text/plain', 1, 'h4', 1, '{}', '[]', 'f4', 1, 1);
        INSERT INTO chunks VALUES ('t', 'live', 2, 0, 'Grüße an alle', '[]', 0, 13, 3),
            ('t', 'live', 2, 1, '東京は', '[\"Reise\"]', 14, 17, 3), ('t', 'going', 1, 0, 'old', '[]', 0, 3, 1),
            ('t', 'half', 1, 0, 'half', '[]', 0, 4, 1);
        INSERT INTO jobs (seq, job_id, tenant, document_id, version, kind, status, stage, worker, lease_token, wake_at,
            created_at, updated_at) VALUES
            (1, '018f0000-0000-7000-8000-000000000001', 't', 'live', 1, 'ingest', 'done', 'clean', NULL, 1, 0, 1, 2),
            (5, '018f0000-0000-7000-8000-000000000005', 't', 'live', 2, 'ingest', 'done', 'clean', NULL, 1, 0, 1, 2),
            (6, '018f0000-0000-7000-8000-000000000006', 't', 'going', 1, 'ingest', 'done', 'clean', NULL, 1, 0, 1, 2),
            (7, '018f0000-0000-7000-8000-000000000007', 't', 'half', 1, 'ingest', 'running', 'embed', 'w', 3, 0, 1, 2),
            (9, '018f0000-0000-7000-8000-000000000009', 't', 'going', 2, 'delete', 'queued', 'clean', NULL, 0, 1, 1, 2);
    ";
    sqlx::raw_sql(rows).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_catalog_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    first_version(&dir).await;
    let path = file(&dir);
    let refused = SqliteCatalog::open_read_only(&path).await.unwrap_err();
    assert!(refused.message.contains("older Ragstone"), "{refused}");
    let catalog: Arc<dyn Catalog> = Arc::new(SqliteCatalog::open(&path).await.unwrap());
    let words = async |words| found(&*catalog, words).await;
    assert_eq!((words("gruße").await, words("京").await, words("reise").await), (1, 1, 1));
    assert_eq!((words("handbook").await, words("old").await, words("half").await), (2, 1, 0));
    let jobs: Vec<u64> = export(&*catalog)
        .await
        .into_iter()
        .filter(|record| record.table == "jobs")
        .map(|record| record.row["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(jobs, [1, 5, 6, 7, 9]);
    assert!(
        catalog
            .accept(
                &by("t"),
                ragstone_core::ports::NewVersion { fingerprint: "f2".into(), ..version("t", "live", "h2") }
            )
            .await
            .unwrap()
            .unchanged
    );
    let outsider = member("t", "eve", &[]);
    for (id, versions) in [("going", 0), ("live", 2)] {
        let history = catalog.history(&outsider, &document(id)).await.unwrap();
        assert_eq!(history.len(), versions, "{id}: a deletion is as readable as what it deletes");
    }
    let removal = catalog.lease("w", TTL).await.unwrap().unwrap();
    assert_eq!((removal.job.kind, removal.job.version), (JobKind::Delete, 2), "removals are urgent now");
    catalog.complete(&removal.lease, &[]).await.unwrap();
    assert_eq!(found(&*catalog, "old").await, 0);
    let half = catalog.lease("w", TTL).await.unwrap().unwrap();
    assert_eq!((half.job.stage, half.lease.token, half.resumed), (Stage::Embed, 4, true));
    catalog.close().await;
    drop(catalog);
    let again = SqliteCatalog::open(&path).await.unwrap();
    assert_eq!(again.live_count().await.unwrap(), 1);
}
