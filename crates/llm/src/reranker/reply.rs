//! A reranker's answer read into scores: one for each passage, each a number.

use ragstone_core::{Error, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Bare(Vec<Item>),
    Named { results: Vec<Item> },
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    #[serde(alias = "relevance_score")]
    score: f32,
}

/// Scores in the order of the passages.
///
/// # Errors
/// `Unavailable` for an answer that is not whole; `Internal` for scores that are no numbers.
pub(super) fn scores(body: &[u8], count: usize) -> Result<Vec<f32>> {
    let reply: Reply = serde_json::from_slice(body).map_err(|e| {
        Error::unavailable("the reranker's server sent something that is no list of scores").with_source(e)
    })?;
    let (Reply::Bare(items) | Reply::Named { results: items }) = reply;
    let mut scores: Vec<Option<f32>> = vec![None; count];
    for item in items {
        match scores.get_mut(item.index) {
            Some(free @ None) if item.score.is_finite() => *free = Some(item.score),
            Some(None) => return Err(Error::internal("a score of the reranker is no finite number")),
            _ => return Err(Error::unavailable(format!("the reranker's server sent score {} twice", item.index))),
        }
    }
    let found: Vec<f32> = scores.into_iter().flatten().collect();
    if found.len() != count {
        let told = format!("the reranker's server sent {} scores for {count} passages", found.len());
        return Err(Error::unavailable(told));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use ragstone_core::ErrorCode;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read_into_the_passages_order() {
        let bare = json!([{"index": 1, "score": 0.9, "text": "x"}, {"index": 0, "score": -2.5}]);
        assert_eq!(scores(bare.to_string().as_bytes(), 2).unwrap(), [-2.5, 0.9]);
        let named = json!({"id": "x", "results": [{"index": 0, "relevance_score": 0.1}], "usage": {"total_tokens": 9}});
        assert_eq!(scores(named.to_string().as_bytes(), 1).unwrap(), [0.1]);
    }

    #[test]
    fn what_is_no_score_for_each_passage_is_refused() {
        for (reply, code) in [
            (json!([{"index": 0, "score": 1.0}]), ErrorCode::Unavailable),
            (json!([{"index": 0, "score": 1.0}, {"index": 0, "score": 1.0}]), ErrorCode::Unavailable),
            (json!([{"index": 0, "score": 1.0}, {"index": 2, "score": 1.0}]), ErrorCode::Unavailable),
            (json!([{"index": 0, "score": 1.0}, {"index": 1, "score": 1e39}]), ErrorCode::Internal),
            (json!([{"index": 0, "score": null}, {"index": 1, "score": 1.0}]), ErrorCode::Unavailable),
            (json!({"error": "x"}), ErrorCode::Unavailable),
        ] {
            assert_eq!(scores(reply.to_string().as_bytes(), 2).unwrap_err().code, code, "{reply}");
        }
    }
}
