//! The PostgreSQL catalog: one database, any number of processes, every change on disk when its call returns.
//!
//! # Locks
//! Transactions are READ COMMITTED, so that a statement sees what was committed before it began. Whoever changes a document
//! or one of its jobs locks the document's row first. The order in which locks are taken, and so why nobody waits for each
//! other in a circle: the indexes (`lock_indexes`), the idempotency key, the document, its jobs, the tenant's row, the head of
//! the tenant's audit log. Leasing a job waits for nothing: what is locked is skipped.

#![expect(clippy::duplicate_mod, reason = "the same questions are asked of another database, with its own `dialect`")]

mod classify;
mod config;
mod dialect;
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

pub use self::config::PostgresConfig;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use ragstone_core::{Error, Result};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use self::failure::Failure;
use self::open::{Replica, Server};
use crate::clock::{Clock, to_millis};

type Store = PostgresCatalog;

/// Documents, versions, chunk texts and jobs in a PostgreSQL database that any number of processes share.
///
/// Leases end by the database's clock, so that the machines' own clocks need not agree.
pub struct PostgresCatalog {
    primary: PgPool,
    /// What `primary` leads to.
    server: Server,
    replica: Option<Replica>,
    /// The server's text search configurations.
    configs: HashSet<String>,
    /// Another clock than the database's, in tests.
    clock: Option<Clock>,
    /// The longest a call may take, waiting for a connection included.
    limit: Duration,
}

impl fmt::Debug for PostgresCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCatalog").field("replica", &self.replica.is_some()).finish_non_exhaustive()
    }
}

impl PostgresCatalog {
    /// Other processes may hold leases.
    const SINGLE_PROCESS: bool = false;

    async fn close_connections(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.primary.close().await;
    }

    /// A write transaction.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Failure> {
        Ok(self.primary.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?)
    }

    /// The same for work that takes longer than a statement ordinarily may.
    async fn begin_long(&self) -> Result<Transaction<'static, Postgres>, Failure> {
        let mut tx = self.begin().await?;
        allow_long(&mut tx).await?;
        Ok(tx)
    }

    /// A connection for one statement that writes.
    async fn writing(&self) -> Result<PoolConnection<Postgres>, Failure> {
        Ok(self.primary.acquire().await?)
    }

    /// A connection for reads that a decision rests on.
    async fn primary(&self) -> Result<PoolConnection<Postgres>, Failure> {
        Ok(self.primary.acquire().await?)
    }

    /// A connection for reads that somebody looks at: to the replica, while there is one that answers.
    async fn reads(&self) -> Result<PoolConnection<Postgres>, Failure> {
        if let Some(replica) = &self.replica
            && let Some(connection) = replica.acquire().await
        {
            return Ok(connection);
        }
        self.primary().await
    }

    /// A read transaction, which sees one moment.
    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, Failure> {
        begin_snapshot(self.reads().await?).await
    }

    /// The same for reads that a decision rests on.
    async fn snapshot_of_primary(&self) -> Result<Transaction<'static, Postgres>, Failure> {
        begin_snapshot(self.primary().await?).await
    }

    /// The same for reads that take long.
    async fn long_snapshot(&self) -> Result<Transaction<'static, Postgres>, Failure> {
        let mut tx = self.snapshot().await?;
        allow_long(&mut tx).await?;
        Ok(tx)
    }

    /// Milliseconds since 1970 by the clock that all processes share.
    async fn now(&self, connection: &mut PgConnection) -> Result<i64, Failure> {
        if let Some(clock) = &self.clock {
            return Ok(to_millis(clock()));
        }
        Ok(sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(connection)
            .await?)
    }

    /// The outcome of a call, which a server that does not answer cannot hold up for ever.
    async fn limited<T>(&self, call: impl Future<Output = Result<T, Failure>> + Send) -> Result<T> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Error::unavailable("the PostgreSQL server does not answer in time")),
        }
    }
}

async fn begin_snapshot(connection: PoolConnection<Postgres>) -> Result<Transaction<'static, Postgres>, Failure> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    Ok(Transaction::begin(connection, Some(sqlx::SqlSafeStr::into_sql_str(begin))).await?)
}

/// Lifts the limits that protect the others from a process that hangs, for this transaction.
async fn allow_long(tx: &mut PgConnection) -> Result<(), Failure> {
    for statement in ["SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0"] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(())
}
