//! The SQLite catalog: one file, one process, every change on disk when its call returns.

mod dialect;
mod lock;
mod open;
mod words;

// What is asked of the database is the same for SQLite and PostgreSQL; `dialect` is what differs.
#[path = "sql/accept.rs"]
mod accept;
#[path = "sql/answers.rs"]
mod answers;
#[path = "sql/audit.rs"]
mod audit;
#[path = "sql/complete.rs"]
mod complete;
#[path = "sql/due.rs"]
mod due;
#[path = "sql/end.rs"]
mod end;
#[path = "sql/export.rs"]
mod export;
#[path = "sql/failure.rs"]
mod failure;
#[path = "sql/feedback.rs"]
mod feedback;
#[path = "sql/idempotency.rs"]
mod idempotency;
#[path = "sql/import.rs"]
mod import;
#[path = "sql/indexes.rs"]
mod indexes;
#[path = "sql/keys.rs"]
mod keys;
#[path = "sql/keyword.rs"]
mod keyword;
#[path = "sql/ledger.rs"]
mod ledger;
#[path = "sql/port.rs"]
mod port;
#[path = "sql/queue.rs"]
mod queue;
#[path = "sql/read.rs"]
mod read;
#[path = "sql/rows.rs"]
mod rows;
#[path = "sql/work.rs"]
mod work;

use std::fmt;
use std::future::Future;

use ragstone_core::Result;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use self::failure::Failure;
use crate::clock::{Clock, to_millis};

type Store = SqliteCatalog;

/// Documents, versions, chunk texts and jobs in one SQLite file (WAL, `synchronous=FULL`).
///
/// One connection writes, a few read. A lock file keeps a second process out.
pub struct SqliteCatalog {
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Clock,
    /// Held as long as the catalog is open. `None`: open for reading only.
    _lock: Option<lock::Lock>,
}

impl fmt::Debug for SqliteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteCatalog").finish_non_exhaustive()
    }
}

impl SqliteCatalog {
    /// Nobody else works on the same jobs.
    const SINGLE_PROCESS: bool = true;

    async fn close_connections(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A write transaction. `IMMEDIATE`: a transaction that reads first and writes later never fails for having
    /// read something old.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The same for work that takes long.
    async fn begin_long(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.begin().await
    }

    /// A connection for one statement that writes.
    async fn writing(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        Ok(self.writer.acquire().await?)
    }

    /// A connection for reads that a decision rests on.
    async fn primary(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        Ok(self.readers.acquire().await?)
    }

    /// A connection for reads that somebody looks at.
    async fn reads(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        self.primary().await
    }

    /// A read transaction, which sees one moment.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.readers.begin().await?)
    }

    /// The same for reads that a decision rests on.
    async fn snapshot_of_primary(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.snapshot().await
    }

    /// The same for reads that take long.
    async fn long_snapshot(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.snapshot().await
    }

    async fn now(&self, _: &mut SqliteConnection) -> Result<i64, Failure> {
        Ok(to_millis((self.clock)()))
    }

    /// The outcome of a call: a local file answers or fails by itself.
    async fn limited<T>(&self, call: impl Future<Output = Result<T, Failure>> + Send) -> Result<T> {
        Ok(call.await?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use ragstone_core::ports::{Catalog, NewVersion, Write};
    use ragstone_core::{Caller, DocumentId, ErrorCode, Metadata, Priority, TenantId};

    use super::*;

    fn writer() -> Write {
        Write::by(Caller::internal(TenantId::new("t").unwrap()))
    }

    fn version(document: usize) -> NewVersion {
        NewVersion {
            tenant: TenantId::new("t").unwrap(),
            document_id: DocumentId::new(format!("d{document}")).unwrap(),
            title: "x".repeat(1000),
            media_type: "text/plain".into(),
            bytes: 1,
            content_hash: "h".into(),
            metadata: Metadata::new(),
            groups: Vec::new(),
            fingerprint: "f".into(),
            if_version: None,
            traceparent: None,
            priority: Priority::Normal,
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_said_to_be_full_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 100").execute(&catalog.writer).await.unwrap();
        let mut refused = None;
        for n in 0..1_000 {
            refused = catalog.accept(&writer(), version(n)).await.err();
            if refused.is_some() {
                break;
            }
        }
        let refused = refused.unwrap();
        assert_eq!(refused.code, ErrorCode::StorageFull, "{}", refused.chain());
        let first = catalog.document(&writer().caller, &DocumentId::new("d0").unwrap()).await.unwrap();
        assert!(first.is_some(), "reads go on");
        // The limit was that connection's own: the next one has room again.
        catalog.accept(&writer(), version(1_000_000)).await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_catalog_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).await.unwrap();
        catalog.close().await;
        assert_eq!(catalog.check().await.unwrap_err().code, ErrorCode::Unavailable);
    }
}
