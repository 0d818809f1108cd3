//! The `[ingestion.postgres]` section of the configuration.

use std::time::Duration;

use ragstone_config::Secret;
use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where this configuration stands, as messages name it.
pub(super) const SECTION: &str = "ingestion.postgres";
/// Parameters of a URL that mean something here; sqlx would log any other with its value.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// PostgreSQL for documents and jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// The database, `postgres://user:password@host:5432/database`; empty: SQLite in `data_dir`. `?sslmode=verify-full`
    /// demands TLS and checks the server's certificate and name, with `sslrootcert=` against a file instead of the system's
    /// authorities; `require` demands TLS only; the default `prefer` uses it where the server offers it. Never printed.
    pub url: Secret,
    /// A read replica of the same database; empty: none. Documents, versions, lists of documents and jobs, keyword searches
    /// and backups are read from it, so that what was just written shows there only after the replica's delay; single jobs,
    /// and whatever a decision rests on, are read from `url`. While the replica does not answer, `url` is read. Never printed.
    pub read_url: Secret,
    /// The most connections of one process, to each of both. At least 2.
    pub max_connections: u32,
    /// How long connecting may take at start and in the readiness check, in milliseconds. At least 1.
    pub connect_timeout_ms: u64,
    /// How long a call may wait for a connection, in milliseconds. At least 1.
    pub acquire_timeout_ms: u64,
    /// How long one statement may take, in milliseconds; a process that hangs in the middle of a transaction loses its locks
    /// after the same time. Backups, restores and changes of indexes are exempt. At least 1.
    pub statement_timeout_ms: u64,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            read_url: Secret::default(),
            max_connections: 10,
            connect_timeout_ms: 5_000,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
        }
    }
}

impl PostgresConfig {
    /// Checks every value; without `url` there is nothing to check but that `read_url` is not there either.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key below `ingestion.postgres`, never a URL's content.
    pub fn validate(&self) -> Result<()> {
        let invalid = |key: &str, problem: &str| Err(Error::invalid(format!("{SECTION}.{key} {problem}")));
        for (key, url) in [("url", &self.url), ("read_url", &self.read_url)] {
            if !url.is_empty()
                && let Err(problem) = check_url(url.expose())
            {
                return invalid(key, &problem);
            }
        }
        if self.url.is_empty() && !self.read_url.is_empty() {
            return invalid("read_url", "needs url");
        }
        if self.max_connections < 2 {
            return invalid("max_connections", "must be at least 2");
        }
        for (key, millis) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
        ] {
            if millis == 0 {
                return invalid(key, "must be at least 1");
            }
        }
        Ok(())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub(super) fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }
}

/// What is wrong with a URL, without saying what is in it.
fn check_url(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|e| format!("is not a URL: {e}"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err("must begin with postgres://".to_owned());
    }
    match url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
        Some((name, _)) => Err(format!("has the unknown parameter '{name}'")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn with_url(url: &str) -> PostgresConfig {
        PostgresConfig { url: url.to_owned().into(), ..PostgresConfig::default() }
    }

    #[test]
    fn good_urls_pass() {
        PostgresConfig::default().validate().unwrap();
        for url in [
            "postgres://u:p@h/db",
            "postgresql://u@h:1/db?sslmode=verify-full&sslrootcert=/a/b.pem",
            "postgres:///db?host=/run/postgresql",
        ] {
            with_url(url).validate().unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_secret() {
        for (url, says) in [
            ("hush", "not a URL"),
            ("mysql://u:hush@h/db", "postgres://"),
            ("postgres://u:hush@h:99999/db", "not a URL"),
            ("postgres://u@h/db?pasword=hush", "'pasword'"),
        ] {
            let error = with_url(url).validate().unwrap_err();
            assert!(error.message.starts_with("ingestion.postgres.url") && error.message.contains(says), "{error}");
            assert!(!error.chain().contains("hush"), "{error}");
        }
        let only_read = PostgresConfig { read_url: "postgres://h/d".to_owned().into(), ..PostgresConfig::default() };
        assert!(only_read.validate().unwrap_err().message.contains("read_url"));
        let none = PostgresConfig { max_connections: 1, ..PostgresConfig::default() };
        assert!(none.validate().unwrap_err().message.contains("max_connections"));
        let zero = PostgresConfig { statement_timeout_ms: 0, ..PostgresConfig::default() };
        assert!(zero.validate().unwrap_err().message.contains("statement_timeout_ms"));
    }

    #[test]
    fn nothing_prints_a_url() {
        let config = with_url("postgres://u:hush@h/db");
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
        let unknown = serde_json::from_str::<PostgresConfig>(r#"{"max_conections": 3}"#).unwrap_err();
        assert!(unknown.to_string().contains("max_conections"));
    }
}
