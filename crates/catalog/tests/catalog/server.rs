//! The PostgreSQL server of this test binary: started once, a database for each test.

use std::io::Write as _;

use ragstone_catalog::{PostgresCatalog, PostgresConfig};
use ragstone_core::ports::Catalog as _;
use ragstone_testkit::postgres::PostgresServer;
use tokio::sync::OnceCell;

static SERVER: OnceCell<Shared> = OnceCell::const_new();

struct Shared {
    server: PostgresServer,
    /// A database with the schema in it: a copy is made faster than a new one.
    template: String,
}

/// The server.
pub(crate) async fn server() -> &'static PostgresServer {
    &shared().await.server
}

async fn shared() -> &'static Shared {
    SERVER
        .get_or_init(|| async {
            let server = PostgresServer::start().await.unwrap();
            let version = server.sql("postgres", "SHOW server_version").await.unwrap();
            // Not captured: whoever runs the suite sees what it ran against.
            let _ = writeln!(std::io::stderr(), "catalog suite: SQLite and PostgreSQL {version}");
            let template = server.create_database().await.unwrap();
            PostgresCatalog::open(&config(&server.url(&template))).await.unwrap().close().await;
            Shared { server, template }
        })
        .await
}

pub(crate) fn config(url: &str) -> PostgresConfig {
    PostgresConfig { url: url.to_owned().into(), ..PostgresConfig::default() }
}

/// How to open a new empty catalog.
pub(crate) async fn new_catalog() -> PostgresConfig {
    let Shared { server, template } = shared().await;
    config(&server.url(&server.create_database_from(template).await.unwrap()))
}
