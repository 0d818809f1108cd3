//! Measures of a ranking and of an answer.

use std::collections::HashSet;

use serde::Serialize;

/// Means over all questions, each with one right document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Ranking {
    /// Normalised discounted cumulative gain within the first k documents (Järvelin and Kekäläinen 2002).
    pub(super) ndcg_at_k: f64,
    /// Share of questions whose right document comes first.
    pub(super) recall_at_1: f64,
    /// Share of questions whose right document is among the first five.
    pub(super) recall_at_5: f64,
    /// Mean reciprocal rank within the first k documents.
    pub(super) mrr: f64,
}

impl Ranking {
    /// The means over the ranks, from 1, at which the right documents were found; `None` where they were not.
    pub(super) fn of(ranks: &[Option<usize>], k: usize) -> Self {
        let mean = |gain: fn(usize) -> f64| {
            let found = ranks.iter().flatten().filter(|rank| **rank <= k);
            found.map(|rank| gain(*rank)).sum::<f64>() / ranks.len().max(1) as f64
        };
        Self {
            // With one right document the ideal gain is 1.
            ndcg_at_k: mean(|rank| 1.0 / (rank as f64 + 1.0).log2()),
            recall_at_1: mean(|rank| f64::from(u8::from(rank <= 1))),
            recall_at_5: mean(|rank| f64::from(u8::from(rank <= 5))),
            mrr: mean(|rank| 1.0 / rank as f64),
        }
    }
}

/// The rank, from 1, of `right` among the documents of hits in order; a document counts where it comes first.
pub(super) fn rank<'a>(hits: impl IntoIterator<Item = &'a str>, right: &str) -> Option<usize> {
    let mut seen = HashSet::new();
    hits.into_iter().filter(|document| seen.insert(*document)).position(|document| document == right).map(|i| i + 1)
}

/// Whether `answer` holds `gold` word for word, both normalised as the SQuAD evaluation does it (Rajpurkar et al.
/// 2016): lower case, without ASCII punctuation, English articles and surplus space. Citation markers are left out.
pub(super) fn contains(answer: &str, gold: &str) -> bool {
    let gold = normalise(gold);
    !gold.is_empty() && format!(" {} ", normalise(&without_markers(answer))).contains(&format!(" {gold} "))
}

fn normalise(text: &str) -> String {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = text.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

/// The text without `[1]`, which would otherwise become a number beside the words.
fn without_markers(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        match after.split_once(']') {
            Some((marker, tail)) if !marker.is_empty() && marker.bytes().all(|b| b.is_ascii_digit()) => {
                kept.push(' ');
                rest = tail;
            }
            _ => {
                kept.push('[');
                rest = after;
            }
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let one = |rank| Ranking::of(&[rank], 10);
        assert!(close(one(Some(1)).ndcg_at_k, 1.0));
        assert!(close(one(Some(2)).ndcg_at_k, 0.630_929_753_571_457_4));
        assert!(close(one(Some(3)).ndcg_at_k, 0.5));
        assert!(close(one(Some(7)).ndcg_at_k, 1.0 / 3.0));
        assert_eq!(one(Some(11)), Ranking::default());
        assert_eq!(one(None), Ranking::default());
        let all = Ranking::of(&[Some(1), Some(4), None, Some(6)], 10);
        assert!(close(all.recall_at_1, 0.25));
        assert!(close(all.recall_at_5, 0.5));
        assert!(close(all.mrr, (1.0 + 0.25 + 1.0 / 6.0) / 4.0));
        assert_eq!(Ranking::of(&[], 10), Ranking::default());
    }

    #[test]
    fn chunks_of_one_document_count_once() {
        assert_eq!(rank(["a", "a", "b", "a", "c"], "c"), Some(3));
        assert_eq!(rank(["a", "b"], "c"), None);
    }

    #[test]
    fn containment_is_word_for_word_after_normalising() {
        assert!(contains("It was The Panthers' defense.[1] Really", "panthers defense"));
        assert!(contains("in 1990 [12].", "1990"));
        assert!(contains("the U.S. Army", "US army"));
        assert!(contains("an array [i] of 24 [1] things", "24 things"));
        assert!(!contains("in 1308", "308"));
        assert!(!contains("anything", "the"));
        assert!(contains("Über Größe und mehr", "größe"));
    }
}
