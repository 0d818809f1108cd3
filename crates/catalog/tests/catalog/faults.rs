//! Settings and servers that cannot be right: each is told in one sentence that names the setting and no secret.

use std::time::{Duration, Instant};

use ragstone_catalog::{PostgresCatalog, PostgresConfig};
use ragstone_core::ErrorCode;
use ragstone_testkit::ports::free_port;
use ragstone_testkit::postgres::{PASSWORD, PostgresServer, USER};
use ragstone_testkit::tls::server_certificate;

use crate::server::{config, new_catalog, server};

/// Opens, which must fail like this.
async fn refused(config: &PostgresConfig, code: ErrorCode, setting: &str, says: &str) {
    let error = PostgresCatalog::open(config).await.unwrap_err();
    let chain = error.chain();
    assert_eq!(error.code, code, "{chain}");
    assert!(error.message.contains(&format!("ingestion.postgres.{setting}")), "{chain}");
    assert!(error.message.contains(says), "{says}: {chain}");
    for secret in [PASSWORD, "wrong-horse", "hush"] {
        assert!(!chain.contains(secret) && !format!("{error:?}").contains(secret), "{chain}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said() {
    let server = server().await;
    let database = new_catalog().await;
    let port = server.port;
    let closed = free_port().unwrap();
    let at = |rest: &str| format!("postgres://{USER}:{PASSWORD}@{rest}");
    use ErrorCode::{InvalidArgument, Unavailable};
    for (url, code, says) in [
        ("hush".to_owned(), InvalidArgument, "not a URL"),
        (at(&format!("127.0.0.1:{port}/db?sslmode=hush")), InvalidArgument, "sslmode is disable, allow"),
        (at(&format!("127.0.0.1:{port}/db?sslmod=hush")), InvalidArgument, "'sslmod'"),
        (
            format!("postgres://{USER}:wrong-horse@127.0.0.1:{port}/postgres"),
            InvalidArgument,
            "the password of user 'ragstone'",
        ),
        (format!("postgres://nobody:{PASSWORD}@127.0.0.1:{port}/postgres"), InvalidArgument, "user 'nobody'"),
        (at(&format!("127.0.0.1:{port}/nowhere")), InvalidArgument, "no database 'nowhere'"),
        (at(&format!("127.0.0.1:{port}/postgres?sslmode=require")), InvalidArgument, "does not offer it"),
        (at(&format!("127.0.0.1:{closed}/db")), Unavailable, &format!("127.0.0.1:{closed} does not answer")),
        (at("nowhere.invalid/db"), Unavailable, "nowhere.invalid:5432 does not answer"),
    ] {
        refused(&config(&url), code, "url", says).await;
        let reading = PostgresConfig { read_url: url.into(), ..database.clone() };
        refused(&reading, code, "read_url", says).await;
    }
    let empty = server.create_database().await.unwrap();
    let reading = PostgresConfig { read_url: server.url(&empty).into(), connect_timeout_ms: 500, ..database };
    refused(&reading, InvalidArgument, "read_url", "has no such catalog").await;
}

#[tokio::test]
async fn a_server_that_takes_a_connection_and_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://{USER}:{PASSWORD}@{}/db", silent.local_addr().unwrap());
    let config = PostgresConfig { connect_timeout_ms: 300, ..config(&url) };
    let asked = Instant::now();
    refused(&config, ErrorCode::Unavailable, "url", "does not answer").await;
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn tls_is_checked_as_far_as_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = server_certificate(dir.path(), &["localhost"]).unwrap();
    let server = PostgresServer::start_with_tls(&certificate).await.unwrap();
    let database = server.create_database().await.unwrap();
    let ca = certificate.ca.display();
    let url =
        |host: &str, options: &str| format!("postgres://{USER}:{PASSWORD}@{host}:{}/{database}?{options}", server.port);
    let full = format!("sslmode=verify-full&sslrootcert={ca}");
    let unknown_file = "sslmode=verify-full&sslrootcert=/nowhere/ca.pem";
    for (url, says) in [
        (url("127.0.0.1", &full), "certificate"),
        (url("localhost", "sslmode=verify-full"), "certificate"),
        (url("localhost", unknown_file), "not there"),
    ] {
        refused(&config(&url), ErrorCode::InvalidArgument, "url", says).await;
    }
    for url in [
        url("localhost", &full),
        url("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={ca}")),
        url("127.0.0.1", "sslmode=require"),
        url("127.0.0.1", "sslmode=prefer"),
    ] {
        let catalog = PostgresCatalog::open(&config(&url)).await.unwrap();
        ragstone_core::ports::Catalog::check(&catalog).await.unwrap();
        let encrypted = server
            .sql(
                &database,
                "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND state IS NOT NULL",
            )
            .await
            .unwrap();
        assert_ne!(encrypted, "0", "{url}");
        ragstone_core::ports::Catalog::close(&catalog).await;
    }
}

#[tokio::test]
async fn another_schema_is_named() {
    let server = server().await;
    let changed = async |change: &str| {
        let database = server.create_database().await.unwrap();
        let config = config(&server.url(&database));
        ragstone_core::ports::Catalog::close(&PostgresCatalog::open(&config).await.unwrap()).await;
        server.sql(&database, change).await.unwrap();
        config
    };
    use ErrorCode::InvalidArgument;
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '', 0)";
    refused(&changed(newer).await, InvalidArgument, "url", "newer Ragstone (its schema has step 9999)").await;
    let other = "UPDATE _sqlx_migrations SET checksum = ''";
    refused(&changed(other).await, InvalidArgument, "url", "another schema").await;
    let foreign = "DROP TABLE _sqlx_migrations";
    refused(&changed(foreign).await, InvalidArgument, "url", "in the way").await;
}

#[tokio::test]
async fn a_user_that_may_not_make_tables_is_told_so() {
    let server = server().await;
    let database = server.create_database().await.unwrap();
    let role = format!("guest_{database}");
    server.sql(&database, &format!("CREATE ROLE {role} LOGIN PASSWORD 'hush'")).await.unwrap();
    let url = format!("postgres://{role}:hush@127.0.0.1:{}/{database}", server.port);
    let says = format!("does not let user '{role}' make tables");
    refused(&config(&url), ErrorCode::InvalidArgument, "url", &says).await;
    // A replica, or a database that is set to read only.
    server.sql(&database, &format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await.unwrap();
    refused(&config(&server.url(&database)), ErrorCode::InvalidArgument, "url", "takes no writes").await;
}
