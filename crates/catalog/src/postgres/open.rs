//! Opens the database: connections, schema, what the server can do.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ragstone_config::Secret;
use ragstone_core::{Error, Result};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};

use super::PostgresCatalog;
use super::classify::{Target, connect_error, migration_error, sql_error};
use super::config::PostgresConfig;
use super::failure::Failure;
use crate::clock::Clock;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a replica that did not answer is left alone.
const REPLICA_PAUSE: Duration = Duration::from_secs(5);
/// How often a replica is looked at that does not have the schema yet.
const REPLICA_POLL: Duration = Duration::from_millis(50);
/// How long a read waits for the replica before it goes to the primary.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

/// Brings the schema up to date. Through a pool: with a connection of its own the compiler cannot see that the library's
/// future may change threads.
async fn migrate(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let outcome = MIGRATIONS.run(&pool).await;
    pool.close().await;
    outcome
}

impl PostgresCatalog {
    /// Connects, and brings the schema up to date: of several processes that start at once, one does it.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the setting, when it cannot be right: URL, credential, database, TLS, a schema of another
    /// Ragstone; `Unavailable` when a server does not answer.
    pub async fn open(config: &PostgresConfig) -> Result<Self> {
        Self::open_with(config, None).await
    }

    /// The same with another clock than the database's, for tests.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn open_with_clock(config: &PostgresConfig, clock: Clock) -> Result<Self> {
        Self::open_with(config, Some(clock)).await
    }

    async fn open_with(config: &PostgresConfig, clock: Option<Clock>) -> Result<Self> {
        config.validate()?;
        let (options, target) = options("url", &config.url)?;
        let mut connection = connect("url", &options, &target, config.connect_timeout()).await?;
        migrate(&options).await.map_err(|e| migration_error(&target, e))?;
        let configs: Vec<String> = sqlx::query_scalar("SELECT cfgname::text FROM pg_ts_config")
            .fetch_all(&mut connection)
            .await
            .map_err(sql_error)?;
        connection.close().await.map_err(sql_error)?;
        let replica = if config.read_url.is_empty() { None } else { Some(open_replica(config).await?) };
        Ok(Self {
            primary: pool(config, config.acquire_timeout()).connect_lazy_with(options.clone()),
            server: Server { options, target, connect_timeout: config.connect_timeout() },
            replica,
            configs: configs.into_iter().collect(),
            clock,
            limit: config.acquire_timeout() + 2 * config.statement_timeout(),
        })
    }

    /// Writes one row, as only a write shows that writing works. The replica is not asked: without it reads go on.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let mut connection = match self.primary.acquire().await {
            Err(sqlx::Error::PoolTimedOut) => return Err(self.server.why_not().await.into()),
            acquired => acquired?,
        };
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

/// The primary, as the URL names it.
pub(super) struct Server {
    options: PgConnectOptions,
    target: Target,
    connect_timeout: Duration,
}

impl Server {
    /// Why the pool has no connection, which it does not say itself.
    async fn why_not(&self) -> Error {
        match connect("url", &self.options, &self.target, self.connect_timeout).await {
            Err(reason) => Error::unavailable(reason.message.clone()).with_source(reason),
            Ok(_) => sql_error(sqlx::Error::PoolTimedOut),
        }
    }
}

/// What a URL says, for sqlx and for messages.
fn options(key: &str, url: &Secret) -> Result<(PgConnectOptions, Target)> {
    let nowhere = Target { server: String::new(), user: String::new(), database: String::new() };
    let options = PgConnectOptions::from_str(url.expose()).map_err(|e| connect_error(key, &nowhere, e))?;
    let user = options.get_username().to_owned();
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(&user).to_owned();
    Ok((options.disable_statement_logging(), Target { server, user, database }))
}

/// One connection, at once: a pool would try until its time is over and then not say why.
async fn connect(key: &str, options: &PgConnectOptions, target: &Target, limit: Duration) -> Result<PgConnection> {
    match tokio::time::timeout(limit, PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|e| connect_error(key, target, e)),
        Err(_) => {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(connect_error(key, target, sqlx::Error::Io(late)))
        }
    }
}

fn pool(config: &PostgresConfig, patience: Duration) -> PgPoolOptions {
    let statement = config.statement_timeout_ms.to_string();
    PgPoolOptions::new().max_connections(config.max_connections).acquire_timeout(patience).after_connect(
        move |connection, _| {
            let statement = statement.clone();
            Box::pin(async move {
                // "On disk when the call returns" must not depend on how the database or the user is set up.
                sqlx::query(
                    "SELECT set_config('statement_timeout', $1, false), \
                     set_config('idle_in_transaction_session_timeout', $1, false), \
                     set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
                                ELSE current_setting('synchronous_commit') END, false)",
                )
                .bind(statement)
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        },
    )
}

async fn open_replica(config: &PostgresConfig) -> Result<Replica> {
    let (options, target) = options("read_url", &config.read_url)?;
    let started = Instant::now();
    let mut connection = connect("read_url", &options, &target, config.connect_timeout()).await?;
    // The schema may have been brought up to date just now, and still be on its way.
    while !has_schema(&mut connection).await.map_err(sql_error)? {
        if started.elapsed() > config.connect_timeout() {
            let Target { server, database, .. } = &target;
            let setting = "ingestion.postgres.read_url";
            let message =
                format!("{setting}: the database '{database}' on {server} has no such catalog: is it a replica?");
            return Err(Error::invalid(message));
        }
        tokio::time::sleep(REPLICA_POLL).await;
    }
    connection.close().await.map_err(sql_error)?;
    let patience = config.acquire_timeout().min(REPLICA_PATIENCE);
    Ok(Replica { pool: pool(config, patience).connect_lazy_with(options), started, down: 0.into() })
}

/// Whether this program's last migration is there.
async fn has_schema(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let known: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !known {
        return Ok(false);
    }
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = $1 AND success)")
        .bind(newest)
        .fetch_one(connection)
        .await
}

/// A read replica, which may be away.
pub(super) struct Replica {
    pool: PgPool,
    started: Instant,
    /// Milliseconds after `started` until which it is not asked.
    down: AtomicU64,
}

impl Replica {
    /// A connection, unless the replica does not answer.
    pub(super) async fn acquire(&self) -> Option<PoolConnection<Postgres>> {
        let now = self.started.elapsed();
        if now < Duration::from_millis(self.down.load(Ordering::Relaxed)) {
            return None;
        }
        match self.pool.acquire().await {
            Ok(connection) => Some(connection),
            Err(error) => {
                let until = (now + REPLICA_PAUSE).as_millis().try_into().unwrap_or(u64::MAX);
                self.down.store(until, Ordering::Relaxed);
                let error = sql_error(error).chain();
                tracing::warn!(error, "the read replica does not answer: reads go to the primary");
                None
            }
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
