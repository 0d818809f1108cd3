//! Picks the few sentences to quote from the scored ones.

use super::rank::Candidate;

/// How much is quoted.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The most sentences.
    pub(super) sentences: usize,
    /// The most bytes in all; the first sentence is quoted whatever its length.
    pub(super) bytes: usize,
    /// A further sentence needs this share of the best one's score.
    pub(super) share_of_best: f32,
    /// The best sentence and its surroundings must hold this share of the question's words, by weight.
    pub(super) coverage: f32,
    /// Two sentences that share more of their words than this say the same.
    pub(super) alike: f32,
}

/// Found with the weights of `rank.rs`. A lower `coverage` answers slightly more questions rightly and many more that the
/// passages do not answer: at 0.25, 2 % of XQuAD's questions are refused wrongly and two thirds of those whose article was
/// taken away rightly.
impl Default for Limits {
    fn default() -> Self {
        Self { sentences: 3, bytes: 700, share_of_best: 0.6, coverage: 0.25, alike: 0.7 }
    }
}

/// The sentences to quote, best passage first and each passage's in reading order; empty: nothing answers.
pub(super) fn select(mut candidates: Vec<Candidate>, limits: &Limits) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let Some(best) = candidates.first().map(|best| (best.score, best.coverage)) else { return Vec::new() };
    if best.1 < limits.coverage {
        return Vec::new();
    }
    let mut chosen: Vec<Candidate> = Vec::new();
    let mut bytes = 0;
    for candidate in candidates {
        if chosen.len() == limits.sentences || candidate.score < best.0 * limits.share_of_best {
            break;
        }
        let fits = chosen.is_empty() || bytes + candidate.span.len() <= limits.bytes;
        if fits && !chosen.iter().any(|other| same(other, &candidate, limits.alike)) {
            bytes += candidate.span.len();
            chosen.push(candidate);
        }
    }
    let first = chosen.first().map(|best| best.passage);
    chosen.sort_by_key(|candidate| (Some(candidate.passage) != first, candidate.passage, candidate.span.start));
    chosen
}

/// Whether two sentences overlap in the text or say nearly the same.
fn same(a: &Candidate, b: &Candidate, alike: f32) -> bool {
    let overlap = a.passage == b.passage && a.span.start < b.span.end && b.span.start < a.span.end;
    let shared = a.stems.intersection(&b.stems).count() as f32;
    overlap || shared > alike * a.stems.len().min(b.stems.len()).max(1) as f32
}
