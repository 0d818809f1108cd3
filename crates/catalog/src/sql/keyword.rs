//! Keyword search over the chunk texts of live versions, for when the vector store is gone.

use ragstone_core::{Hit, KeywordQuery, Result};
use sqlx::Row as _;

use super::Store;
use super::dialect::{Question, Row, matches};
use super::failure::Failure;
use super::rows::{self, prose, unsigned};
use crate::words;

/// Ranked chunks read at first when a filter has to be applied to them; each further read is this many times larger.
const FIRST_READ: i64 = 100;
const GROWTH: i64 = 4;

pub(super) async fn search(store: &Store, query: KeywordQuery) -> Result<Vec<Hit>, Failure> {
    query.filter.validate()?;
    let asked = words::asked(&query.text);
    if asked.is_empty() || query.k == 0 {
        return Ok(Vec::new());
    }
    let question = Question::new(&asked, &query.access)?;
    // One snapshot, so that a document that changes meanwhile is neither seen twice nor missed.
    let mut tx = store.snapshot().await?;
    let wanted = i64::try_from(query.k).unwrap_or(i64::MAX);
    let mut limit = if query.filter.is_empty() { wanted } else { wanted.max(FIRST_READ) };
    let (mut hits, mut offset) = (Vec::new(), 0);
    loop {
        let rows = matches(&mut tx, &question, limit, offset).await?;
        for row in &rows {
            let hit = hit(row)?;
            if query.filter.matches(&hit.document_id, &hit.title, &hit.metadata) {
                hits.push(hit);
                if hits.len() == query.k {
                    return Ok(hits);
                }
            }
        }
        if (rows.len() as i64) < limit {
            return Ok(hits);
        }
        offset += limit;
        limit *= GROWTH;
    }
}

fn hit(row: &Row) -> Result<Hit, Failure> {
    let chunk = rows::chunk(row)?;
    Ok(Hit {
        document_id: rows::document_id(row)?,
        version: unsigned(row, "version")?,
        chunk_index: chunk.index,
        #[expect(clippy::cast_possible_truncation, reason = "a rank needs no more precision")]
        score: row.try_get::<f64, _>("score")? as f32,
        similarity: None,
        content: chunk.content,
        title: prose(row, "title")?,
        heading_path: chunk.heading_path,
        start: chunk.start,
        end: chunk.end,
        metadata: rows::json(row, "metadata")?,
    })
}
