//! The end of a transaction.

use sqlx::Transaction;

use super::dialect::Db;
use super::failure::Failure;

/// Commits what went well and takes everything else back, at once: a transaction that is only dropped keeps its locks
/// until its connection is used again.
pub(super) async fn end<T>(tx: Transaction<'static, Db>, outcome: Result<T, Failure>) -> Result<T, Failure> {
    match outcome {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(failure) => {
            // When this fails the connection is gone, and the transaction with it; what went wrong first matters.
            let _ = tx.rollback().await;
            Err(failure)
        }
    }
}
