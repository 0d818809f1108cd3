//! Ratings of answers.

use std::time::SystemTime;

use ragstone_core::{Caller, Error, Feedback, FeedbackCounts, Result, TenantId};

use super::Store;
use super::dialect::{Connection, stored};
use super::end::end;
use super::failure::Failure;
use super::rows::unsigned;
use crate::clock::to_millis;

/// The longest comment, in characters.
const MAX_COMMENT: usize = 2_000;

pub(super) async fn give(store: &Store, caller: &Caller, feedback: Feedback) -> Result<(), Failure> {
    let chars = feedback.comment.chars().count();
    if chars > MAX_COMMENT {
        return Err(Error::invalid(format!("comment is {chars} characters long; the limit is {MAX_COMMENT}")).into());
    }
    let mut tx = store.begin().await?;
    let outcome = give_in(store, &mut tx, caller, &feedback).await;
    end(tx, outcome).await
}

async fn give_in(store: &Store, tx: &mut Connection, caller: &Caller, feedback: &Feedback) -> Result<(), Failure> {
    let (tenant, query) = (caller.tenant().as_str(), stored(&feedback.query_id));
    let answered: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM audit_log WHERE tenant = $1 AND query_id = $2)")
            .bind(tenant)
            .bind(&*query)
            .fetch_one(&mut *tx)
            .await?;
    if !answered {
        return Err(Error::not_found(format!("there is no answer '{}'", feedback.query_id)).into());
    }
    let now = store.now(tx).await?;
    sqlx::query(
        "INSERT INTO feedback (tenant, query_id, subject, rating, comment, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant, query_id, subject) DO UPDATE SET rating = excluded.rating, comment = excluded.comment, \
         created_at = excluded.created_at",
    )
    .bind(tenant)
    .bind(&*query)
    .bind(stored(&caller.subject))
    .bind(feedback.rating.as_str())
    .bind(stored(&feedback.comment))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn count(
    store: &Store,
    tenant: Option<&TenantId>,
    since: SystemTime,
) -> Result<FeedbackCounts, Failure> {
    let mut connection = store.reads().await?;
    let row = sqlx::query(
        "SELECT count(CASE WHEN rating = 'up' THEN 1 END) AS up, count(CASE WHEN rating = 'down' THEN 1 END) AS down \
         FROM feedback WHERE created_at >= $1 AND ($2 = '' OR tenant = $2)",
    )
    .bind(to_millis(since))
    .bind(tenant.map_or("", TenantId::as_str))
    .fetch_one(&mut *connection)
    .await?;
    Ok(FeedbackCounts { up: unsigned(&row, "up")?, down: unsigned(&row, "down")? })
}
