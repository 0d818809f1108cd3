//! Opens the file: directory, lock, schema, connections.

use std::path::Path;
use std::time::Duration;

use ragstone_core::{Error, Result};
use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::dialect::sql_error;
use super::failure::Failure;
use super::{SqliteCatalog, lock, words};
use crate::clock::{Clock, system_clock};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Reads do not wait for each other; four at once are plenty for one machine.
const READERS: u32 = 4;
/// How long a statement waits for a lock, and a call for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqliteCatalog {
    /// Opens the catalog at `path`; file and directory are created where they do not exist, and an older schema is
    /// brought up to date.
    ///
    /// # Errors
    /// `Unavailable` when another process has it open; `Internal` when it is not a catalog or a newer one.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with_clock(path, system_clock()).await
    }

    /// The same with another clock, for tests.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn open_with_clock(path: &Path, clock: Clock) -> Result<Self> {
        let name = path.display();
        let owned = path.to_owned();
        let lock = tokio::task::spawn_blocking(move || lock::acquire(&owned))
            .await
            .map_err(|e| Error::internal("the task that locks the catalog ended").with_source(e))??;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let unusable = |e| {
            let error = sql_error(e);
            Error::new(error.code, format!("cannot open the catalog {name}")).with_source(error)
        };
        let writer = pool().max_connections(1).connect_with(options.clone()).await.map_err(unusable)?;
        MIGRATIONS.run(&writer).await.map_err(|e| migration_error(path, e))?;
        words::fill(&writer).await?;
        let readers = pool().max_connections(READERS).connect_with(options.read_only(true)).await.map_err(unusable)?;
        Ok(Self { writer, readers, clock, _lock: Some(lock) })
    }

    /// Opens the catalog at `path` to read from it, also while another process works on it: for a backup. Nothing is
    /// locked, made or brought up to date, and every change fails.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Internal` when it is not a catalog, or one of another Ragstone.
    pub async fn open_read_only(path: &Path) -> Result<Self> {
        let name = path.display();
        if !tokio::fs::try_exists(path).await.unwrap_or(false) {
            return Err(Error::not_found(format!("there is no catalog {name}")));
        }
        let unusable = |e| {
            let error = sql_error(e);
            Error::new(error.code, format!("cannot open the catalog {name}")).with_source(error)
        };
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
        let readers = pool().max_connections(READERS).connect_with(options).await.map_err(unusable)?;
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&readers)
                .await
                .map_err(unusable)?;
        check_schema(path, &applied)?;
        Ok(Self { writer: readers.clone(), readers, clock: system_clock(), _lock: None })
    }
}

/// Whether exactly this program's migrations have been applied.
fn check_schema(path: &Path, applied: &[(i64, Vec<u8>)]) -> Result<()> {
    let known: Vec<_> = MIGRATIONS.iter().collect();
    for (version, checksum) in applied {
        match known.iter().find(|migration| migration.version == *version) {
            None => return Err(migration_error(path, MigrateError::VersionMissing(*version))),
            Some(migration) if migration.checksum[..] != checksum[..] => {
                return Err(migration_error(path, MigrateError::VersionMismatch(*version)));
            }
            Some(_) => {}
        }
    }
    if applied.len() < known.len() {
        let name = path.display();
        let message = format!("the catalog {name} was written by an older Ragstone: start this one on it once");
        return Err(Error::internal(message));
    }
    Ok(())
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new().acquire_timeout(PATIENCE).idle_timeout(None).max_lifetime(None).after_release(
        // A full disk makes SQLite end the transaction by itself, after which sqlx believes that it still runs and the
        // connection is of no use. The ping waits for a rollback that is on its way.
        |connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        },
    )
}

fn migration_error(path: &Path, error: MigrateError) -> Error {
    let name = path.display();
    let message = match &error {
        MigrateError::VersionMissing(version) => {
            format!("the catalog {name} was written by a newer Ragstone (its schema has step {version}): use that one")
        }
        MigrateError::VersionMismatch(version) => {
            format!("the catalog {name} has another schema than this Ragstone knows (step {version} differs)")
        }
        _ => format!("cannot bring the schema of the catalog {name} up to date"),
    };
    Error::internal(message).with_source(error)
}

impl SqliteCatalog {
    /// Writes one row: a disk that is full or read-only shows only when written to.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let mut connection = self.writing().await?;
        let now = self.now(&mut connection).await?;
        sqlx::query(
            "INSERT INTO probe (id, written_at) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET written_at = excluded.written_at",
        )
        .bind(now)
        .execute(&mut *connection)
        .await?;
        Ok(())
    }
}
