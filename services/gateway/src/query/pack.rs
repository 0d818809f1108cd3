//! Step 8 of a query: the best passages that fit the token budget.

use ragstone_core::Hit;

/// Bytes of a token, taken low, so that estimates are high: English has about four, German three and a half; Chinese
/// has one token or less for the three bytes of a character.
const BYTES_PER_TOKEN: usize = 3;
/// What the frame around a passage (its delimiters, number and title) costs beside its text.
const FRAME_TOKENS: usize = 24;

/// How many tokens a passage takes at most, for any usual tokenizer.
fn estimate(hit: &Hit) -> usize {
    (hit.content.len() + hit.title.len()).div_ceil(BYTES_PER_TOKEN) + FRAME_TOKENS
}

/// The leading `hits` that fit `budget` tokens. The lowest ranked are left out; none is ever cut. The best one stays
/// even when it is larger than the budget: an answer from nothing would be worse.
pub(crate) fn pack(mut hits: Vec<Hit>, budget: usize) -> Vec<Hit> {
    let mut used = 0_usize;
    let fitting = hits.iter().take_while(|hit| {
        used = used.saturating_add(estimate(hit));
        used <= budget
    });
    let keep = fitting.count().max(1);
    if keep < hits.len() {
        tracing::debug!(kept = keep, found = hits.len(), "passages beyond the context budget are left out");
        hits.truncate(keep);
    }
    hits
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use ragstone_core::{DocumentId, Metadata};

    pub(crate) fn hit(content: &str, score: f32) -> Hit {
        Hit {
            document_id: DocumentId::new("doc").unwrap(),
            version: 1,
            chunk_index: 0,
            score,
            similarity: None,
            content: content.to_owned(),
            title: String::new(),
            heading_path: Vec::new(),
            start: 0,
            end: content.chars().count() as u64,
            metadata: Metadata::new(),
        }
    }

    #[test]
    fn the_lowest_ranked_go_first() {
        let hits = vec![hit(&"a".repeat(30), 3.0), hit(&"b".repeat(30), 2.0), hit(&"c".repeat(30), 1.0)];
        let packed = pack(hits, 2 * (10 + FRAME_TOKENS));
        assert_eq!(packed.iter().map(|hit| hit.score).collect::<Vec<_>>(), [3.0, 2.0]);
    }

    #[test]
    fn the_best_one_stays_whole_and_nothing_stays_nothing() {
        assert_eq!(pack(vec![hit(&"a".repeat(9000), 1.0)], 10)[0].content.len(), 9000);
        assert!(pack(Vec::new(), 10).is_empty());
    }

    proptest! {
        #[test]
        fn a_prefix_within_the_budget(lengths in prop::collection::vec(0usize..400, 0..12), budget in 1usize..500) {
            let hits: Vec<_> = lengths.iter().map(|n| hit(&"x".repeat(*n), 1.0)).collect();
            let packed = pack(hits.clone(), budget);
            prop_assert_eq!(&packed[..], &hits[..packed.len()]);
            prop_assert!(packed.len() <= 1 || packed.iter().map(estimate).sum::<usize>() <= budget);
            prop_assert!(packed.len() == hits.len() || hits[..=packed.len()].iter().map(estimate).sum::<usize>() > budget
                || packed.len() == 1);
        }
    }
}
