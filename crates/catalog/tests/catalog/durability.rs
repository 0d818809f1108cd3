//! What a restart finds, and what refuses to open.

use std::path::PathBuf;

use ragstone_catalog::SqliteCatalog;
use ragstone_core::{DocumentStatus, ErrorCode, Stage};
use tempfile::TempDir;

use crate::support::{Fixture, Place, contract, file, text};

async fn everything_acknowledged_is_there_after_reopening(f: Fixture) {
    f.put("done", "a").await;
    f.work().await.unwrap();
    f.put("half", "b").await;
    let leased = f.lease().await.unwrap();
    f.catalog.store_text(&leased.lease, text(&["kept"])).await.unwrap();
    let waiting = f.put("waiting", "c").await.job;
    let f = f.reopen().await;
    f.catalog.check().await.unwrap();
    assert_eq!(f.document("done").await.status, DocumentStatus::Ready);
    f.leases_end().await;
    // Which of them is due first depends on how the old lease ended.
    let mut both = [f.lease().await.unwrap(), f.lease().await.unwrap()];
    both.sort_by_key(|next| next.job.id != leased.job.id);
    let [resumed, next] = both;
    assert_eq!((resumed.job.id, resumed.job.stage, resumed.resumed), (leased.job.id, Stage::Embed, true));
    assert_eq!(f.catalog.text(&resumed.lease).await.unwrap(), text(&["kept"]));
    assert_eq!((next.job.id, next.resumed), (waiting.id, false));
}

contract!(everything_acknowledged_is_there_after_reopening);

/// A closed catalog's directory and file.
async fn closed() -> (TempDir, PathBuf) {
    let f = Fixture::sqlite().await;
    f.put("d", "a").await;
    f.work().await.unwrap();
    f.catalog.close().await;
    let Place::Sqlite(dir) = f.place else { unreachable!() };
    let path = file(&dir);
    (dir, path)
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let (_dir, path) = closed().await;
    let first = SqliteCatalog::open(&path).await.unwrap();
    let refused = SqliteCatalog::open(&path).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.contains("another process"), "{refused}");
    drop(first);
    SqliteCatalog::open(&path).await.unwrap();
}

#[tokio::test]
async fn another_schema_is_named() {
    for (change, hint) in [
        ("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1", "newer Ragstone"),
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "another schema"),
    ] {
        let (_dir, path) = closed().await;
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::query(change).execute(&pool).await.unwrap();
        pool.close().await;
        let refused = SqliteCatalog::open(&path).await.unwrap_err();
        assert!(refused.message.contains(hint), "{refused}");
        let refused = SqliteCatalog::open_read_only(&path).await.unwrap_err();
        assert!(refused.message.contains(hint), "{refused}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    std::fs::write(&path, "this is not a database, but it is long enough to look at".repeat(20)).unwrap();
    for refused in [SqliteCatalog::open(&path).await, SqliteCatalog::open_read_only(&path).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Internal);
        assert!(refused.message.contains("catalog.db"), "{refused}");
    }
}
