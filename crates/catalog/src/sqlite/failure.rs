//! What can go wrong inside, and how it looks outside.

use ragstone_core::{Error, ErrorCode};

/// SQLite's primary result codes that mean something to callers.
const BUSY: i32 = 5;
const FULL: i32 = 13;

/// A failure inside the SQLite catalog.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The database said no.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A rule of the catalog said no.
    #[error(transparent)]
    Rule(#[from] Error),
    /// A stored JSON column cannot be read or written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rule(error) => error,
            Failure::Sql(error) => sql_error(error),
            Failure::Json(error) => Self::internal("the catalog holds unreadable data").with_source(error),
        }
    }
}

/// A database error with the code that tells the caller what to do.
pub(super) fn sql_error(error: sqlx::Error) -> Error {
    let primary = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
    let (code, message) = match (&error, primary.map(|code| code & 0xff)) {
        (_, Some(FULL)) => (ErrorCode::StorageFull, "the disk is full: the catalog cannot be written"),
        (_, Some(BUSY)) | (sqlx::Error::PoolTimedOut, _) => (ErrorCode::Unavailable, "the catalog is busy"),
        (sqlx::Error::PoolClosed, _) => (ErrorCode::Unavailable, "the catalog is closed"),
        _ => (ErrorCode::Internal, "the catalog failed"),
    };
    Error::new(code, message).with_source(error)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use ragstone_core::ports::{Catalog, NewVersion};
    use ragstone_core::{DocumentId, Metadata, TenantId};

    use super::*;
    use crate::SqliteCatalog;

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
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_said_to_be_full_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 60").execute(&catalog.writer).await.unwrap();
        let mut refused = None;
        for n in 0..1_000 {
            refused = catalog.accept(version(n)).await.err();
            if refused.is_some() {
                break;
            }
        }
        let refused = refused.unwrap();
        assert_eq!(refused.code, ErrorCode::StorageFull, "{}", refused.chain());
        let first = catalog.document(&TenantId::new("t").unwrap(), &DocumentId::new("d0").unwrap()).await.unwrap();
        assert!(first.is_some(), "reads go on");
        // The limit was that connection's own: the next one has room again.
        catalog.accept(version(1_000_000)).await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_catalog_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).await.unwrap();
        catalog.close().await;
        assert_eq!(catalog.check().await.unwrap_err().code, ErrorCode::Unavailable);
    }
}
