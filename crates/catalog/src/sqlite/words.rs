//! Fills in the words of chunks that were stored before there was a keyword search.

use futures::TryStreamExt as _;
use ragstone_core::Result;
use sqlx::{Row as _, SqlitePool};

use super::dialect::insert_words;
use super::failure::Failure;
use super::rows;
use crate::words::{ChunkWords, searchable, tenant_word};

/// In one transaction: either all chunks have their words or the next start does it again.
pub(super) async fn fill(writer: &SqlitePool) -> Result<(), Failure> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let missing: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM chunks) AND NOT EXISTS (SELECT 1 FROM chunk_words)")
            .fetch_one(&mut *tx)
            .await?;
    if !missing {
        return Ok(());
    }
    let mut after = 0_i64;
    loop {
        // Page by page, as one connection cannot read and write at the same time.
        let page: Vec<_> = sqlx::query(
            "SELECT c.id, c.tenant, v.title, c.chunk_index, c.content, c.heading_path, c.start_char, c.end_char, \
             c.tokens FROM chunks c JOIN versions v USING (tenant, document_id, version) \
             WHERE c.id > $1 ORDER BY c.id LIMIT 200",
        )
        .bind(after)
        .fetch(&mut *tx)
        .try_collect()
        .await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            after = row.try_get("id")?;
            let (tenant, title) = (tenant_word(&rows::tenant(row)?), searchable(row.try_get("title")?));
            insert_words(&mut tx, after, &tenant, &title, &ChunkWords::of(&rows::chunk(row)?)).await?;
        }
    }
    Ok(tx.commit().await?)
}
