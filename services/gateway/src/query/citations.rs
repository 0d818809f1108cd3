//! Step 10 of a query: markers `[n]` of the answer become citations with the words they rest on.

use std::collections::{BTreeMap, HashSet};

use ragstone_core::{Citation, Hit};

use super::sentences::{sentence_at, sentences, words};

/// The answer's text with only those markers that name a passage, and one citation for each of these, in the order of
/// their first appearance.
pub(crate) fn resolve(answer: &str, contexts: &[Hit]) -> (String, Vec<Citation>) {
    let marked = Marked::read(answer, contexts.len());
    let plain_sentences = sentences(&marked.plain);
    let mut claims: Vec<(usize, Vec<&str>)> = Vec::new();
    for (number, position) in &marked.markers {
        let claim = sentence_at(&marked.plain, &plain_sentences, *position);
        match claims.iter_mut().find(|(known, _)| known == number) {
            Some((_, texts)) => texts.push(claim),
            None => claims.push((*number, vec![claim])),
        }
    }
    let citations = claims
        .into_iter()
        .filter_map(|(number, texts)| {
            let hit = contexts.get(number.checked_sub(1)?)?;
            Some(Citation {
                marker: u32::try_from(number).ok()?,
                document_id: hit.document_id.clone(),
                chunk_index: hit.chunk_index,
                quote: best_quote(&hit.content, &texts).to_owned(),
                score: hit.score,
            })
        })
        .collect();
    (marked.text, citations)
}

/// The sentence of `passage` that shares most words with one of `claims`: overlap by the Dice coefficient, rare words
/// of the passage counting more. Ties go to the first.
fn best_quote<'p>(passage: &'p str, claims: &[&str]) -> &'p str {
    let candidates: Vec<_> = sentences(passage).into_iter().map(|s| (s, words(s).collect::<HashSet<_>>())).collect();
    let mut frequency: BTreeMap<String, f32> = BTreeMap::new();
    for word in candidates.iter().flat_map(|(_, words)| words) {
        *frequency.entry(word.clone()).or_default() += 1.0;
    }
    let weigh = |word: &String| 1.0 / frequency.get(word).copied().unwrap_or(1.0);
    let mut best = ("", -1.0_f32);
    for claim in claims {
        let claim: HashSet<_> = words(claim).collect();
        for (sentence, own) in &candidates {
            let shared: f32 = own.intersection(&claim).map(weigh).sum();
            let all: f32 = own.iter().chain(&claim).map(weigh).sum();
            let overlap = if all > 0.0 { 2.0 * shared / all } else { 0.0 };
            if overlap > best.1 {
                best = (sentence, overlap);
            }
        }
    }
    best.0
}

/// An answer taken apart.
struct Marked {
    /// With the markers that hold.
    text: String,
    /// Without any marker.
    plain: String,
    /// Number of each marker that holds and its place in `plain`, in bytes.
    markers: Vec<(usize, usize)>,
}

impl Marked {
    fn read(answer: &str, contexts: usize) -> Self {
        let mut marked = Self { text: String::new(), plain: String::new(), markers: Vec::new() };
        let mut rest = answer;
        while let Some(open) = rest.find('[') {
            let (before, from) = rest.split_at(open);
            marked.push(before);
            let Some((raw, number)) = marker(from) else {
                marked.push("[");
                rest = &from[1..];
                continue;
            };
            let after = &from[raw.len()..];
            match number.filter(|number| (1..=contexts).contains(number)) {
                // A link's text or an index such as `a[7]`, by the generation service's rule: no marker at all.
                _ if after.starts_with('(') => marked.push(raw),
                None if before_bracket(before, &marked.plain) => marked.push(raw),
                Some(number) => {
                    marked.markers.push((number, marked.plain.len()));
                    marked.text.push_str(&format!("[{number}]"));
                }
                None => {
                    tracing::warn!(marker = raw, contexts, "an answer cites a passage it was not given");
                    marked.text.truncate(marked.text.trim_end_matches(' ').len());
                }
            }
            rest = after;
        }
        marked.push(rest);
        marked
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.plain.push_str(text);
    }
}

/// Whether a letter or digit stands right before the bracket.
fn before_bracket(before: &str, plain: &str) -> bool {
    before.chars().next_back().or_else(|| plain.chars().next_back()).is_some_and(char::is_alphanumeric)
}

/// The marker at the beginning of `text`, and its number where that fits a machine word.
fn marker(text: &str) -> Option<(&str, Option<usize>)> {
    let digits = text.strip_prefix('[')?.split_once(']')?.0;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (&text[..digits.len() + 2], digits.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::hit;
    use super::*;
    use proptest::prelude::*;

    const TRAM: &str =
        "The tram opened in 1901. It has twelve stops, and Dr. Weiss drove it.\nTickets cost two crowns.";
    const BRIDGE: &str = "A bridge crosses the river. The bridge was built of stone in 1822.";

    fn quotes(answer: &str) -> Vec<(u32, String)> {
        let (_, citations) = resolve(answer, &[hit(TRAM, 2.0), hit(BRIDGE, 1.0)]);
        citations.into_iter().map(|citation| (citation.marker, citation.quote)).collect()
    }

    #[test]
    fn a_marker_quotes_the_sentence_that_supports_its_claim() {
        let quote = |n, text: &str| vec![(n, text.to_owned())];
        assert_eq!(quotes("Tickets cost two crowns [1]."), quote(1, "Tickets cost two crowns."));
        assert_eq!(quotes("The stone bridge is from 1822. [2]"), quote(2, "The bridge was built of stone in 1822."));
        assert_eq!(quotes("It opened in 1901.[1] And so on."), quote(1, "The tram opened in 1901."));
        assert_eq!(quotes("[2] A bridge crosses it."), quote(2, "A bridge crosses the river."));
    }

    #[test]
    fn a_marker_used_twice_is_one_citation_with_the_strongest_quote() {
        let both = quotes("There is a bridge [2] and a tram [1]. The bridge was built of stone in 1822 [2].");
        assert_eq!(both.len(), 2);
        assert_eq!(both[0], (2, "The bridge was built of stone in 1822.".to_owned()));
        assert_eq!(both[1].0, 1);
    }

    #[test]
    fn markers_without_a_passage_go_and_other_brackets_stay() {
        let (text, citations) = resolve("One [3] two [0], a[x] a[7] [9](url) [01][9] [ ] [", &[hit(TRAM, 1.0)]);
        assert_eq!(text, "One two, a[x] a[7] [9](url) [1] [ ] [");
        assert_eq!(citations.len(), 1);
    }

    #[test]
    fn no_markers_no_citations() {
        assert_eq!(resolve("Nothing.", &[hit(TRAM, 1.0)]), ("Nothing.".to_owned(), Vec::new()));
        assert_eq!(resolve("", &[]), (String::new(), Vec::new()));
    }

    proptest! {
        #[test]
        fn every_citation_names_a_passage_and_quotes_it(
            answer in r"([a-zé中。.! \n]|\[[0-9]{0,3}\]?){0,30}",
            passages in prop::collection::vec("[a-zé中。.! \n]{0,40}", 0..4),
        ) {
            let contexts: Vec<_> = passages.iter().map(|text| hit(text, 1.0)).collect();
            let (text, citations) = resolve(&answer, &contexts);
            for citation in &citations {
                let passage = &contexts[citation.marker as usize - 1];
                prop_assert!(passage.content.contains(&citation.quote));
                let marker = format!("[{}]", citation.marker);
                prop_assert!(text.contains(&marker));
            }
            let again = resolve(&text, &contexts);
            prop_assert_eq!(again.0, text);
        }
    }
}
