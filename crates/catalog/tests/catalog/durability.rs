//! What a restart finds, and what refuses to open.

use ragstone_catalog::SqliteCatalog;
use ragstone_core::ports::Catalog;
use ragstone_core::{DocumentStatus, ErrorCode, Stage};

use crate::support::{Fixture, text};

#[tokio::test]
async fn everything_acknowledged_is_there_after_reopening() {
    let f = Fixture::new().await;
    f.put("done", "a").await;
    f.work().await.unwrap();
    f.put("half", "b").await;
    let leased = f.lease().await.unwrap();
    f.catalog.store_text(&leased.lease, text(&["kept"])).await.unwrap();
    let waiting = f.put("waiting", "c").await.job;
    let f = f.reopen().await;
    f.catalog.check().await.unwrap();
    assert_eq!(f.document("done").await.status, DocumentStatus::Ready);
    f.catalog.release_all_leases().await.unwrap();
    let resumed = f.lease().await.unwrap();
    assert_eq!((resumed.job.id, resumed.job.stage, resumed.resumed), (leased.job.id, Stage::Embed, true));
    assert_eq!(f.catalog.text(&resumed.lease).await.unwrap(), text(&["kept"]));
    assert_eq!(f.lease().await.unwrap().job.id, waiting.id);
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let f = Fixture::new().await;
    let path = f.dir.path().join("data/catalog.db");
    let refused = SqliteCatalog::open(&path).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.contains("another process"), "{refused}");
    let Fixture { catalog, dir, .. } = f;
    catalog.close().await;
    drop(catalog);
    SqliteCatalog::open(&path).await.unwrap();
    drop(dir);
}

#[tokio::test]
async fn another_schema_is_named() {
    for (change, hint) in [
        ("UPDATE _sqlx_migrations SET version = 9999", "newer Ragstone"),
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "another schema"),
    ] {
        let f = Fixture::new().await;
        let path = f.dir.path().join("data/catalog.db");
        f.catalog.close().await;
        let Fixture { catalog, dir, .. } = f;
        drop(catalog);
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::query(change).execute(&pool).await.unwrap();
        pool.close().await;
        let refused = SqliteCatalog::open(&path).await.unwrap_err();
        assert!(refused.message.contains(hint), "{refused}");
        drop(dir);
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    std::fs::write(&path, "this is not a database, but it is long enough to look at".repeat(20)).unwrap();
    let refused = SqliteCatalog::open(&path).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Internal);
    assert!(refused.message.contains("catalog.db"), "{refused}");
}
