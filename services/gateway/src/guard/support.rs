//! Citations whose passage does not say what they are cited for.

use std::collections::HashSet;

use ragstone_core::{Citation, Hit};
use ragstone_text::detect_language;

use crate::query::sentences::{sentence_at, sentences, words};

/// Shorter words of alphabets say nothing of their own.
const SHORTEST: usize = 4;

/// A claim of fewer words (`Yes`, `In 1822`) says too little to be compared.
const FEWEST: usize = 3;

/// An answer whose citations were looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// The text, without the markers that are not supported.
    pub(crate) text: String,
    /// The citations that are left.
    pub(crate) citations: Vec<Citation>,
    /// How many markers went.
    pub(crate) unsupported: usize,
}

/// Takes away markers before which a sentence stands that shares less than `least` of its words with the passage cited.
/// A short sentence, and one in another language than its passage, cannot be compared this way and keep their markers.
pub(crate) fn check_support(answer: &str, citations: Vec<Citation>, contexts: &[Hit], least: f32) -> Checked {
    let (plain, markers) = without_markers(answer, &citations);
    let claims = sentences(&plain);
    let mut text = String::with_capacity(answer.len());
    let (mut copied, mut unsupported, mut kept) = (0, 0, HashSet::new());
    for marker in &markers {
        let claim = sentence_at(&plain, &claims, marker.place);
        let passage = usize::try_from(marker.number - 1).ok().and_then(|index| contexts.get(index));
        if passage.is_none_or(|passage| is_supported(claim, &passage.content, least)) {
            kept.insert(marker.number);
            continue;
        }
        unsupported += 1;
        text.push_str(answer[copied..marker.start].trim_end_matches(' '));
        copied = marker.end;
    }
    text.push_str(&answer[copied..]);
    let citations = citations.into_iter().filter(|citation| kept.contains(&citation.marker)).collect();
    Checked { text, citations, unsupported }
}

/// `[n]` of an answer.
struct Marker {
    number: u32,
    start: usize,
    end: usize,
    /// Where it stood in the text without markers.
    place: usize,
}

/// The answer without the markers of `citations`, and these markers.
fn without_markers(answer: &str, citations: &[Citation]) -> (String, Vec<Marker>) {
    let (mut plain, mut markers) = (String::with_capacity(answer.len()), Vec::new());
    let mut copied = 0;
    for (start, _) in answer.match_indices('[') {
        let Some((digits, after)) = answer[start + 1..].split_once(']') else { break };
        let number = digits.parse().ok().filter(|number| citations.iter().any(|citation| citation.marker == *number));
        if let Some(number) = number.filter(|_| !after.starts_with('(')) {
            plain.push_str(&answer[copied..start]);
            copied = start + digits.len() + 2;
            markers.push(Marker { number, start, end: copied, place: plain.len() });
        }
    }
    plain.push_str(&answer[copied..]);
    (plain, markers)
}

fn is_supported(claim: &str, passage: &str, least: f32) -> bool {
    let claimed: HashSet<String> = telling(claim).collect();
    if claimed.len() < FEWEST {
        return true;
    }
    let said: HashSet<String> = telling(passage).collect();
    let share = claimed.intersection(&said).count() as f32 / claimed.len() as f32;
    share >= least || speak_differently(claim, passage)
}

/// The words that carry meaning: longer ones, numbers, and the characters of scripts without spaces.
fn telling(text: &str) -> impl Iterator<Item = String> {
    words(text).filter(|word| {
        let first = word.chars().next().unwrap_or_default();
        word.chars().count() >= SHORTEST || first.is_numeric() || first >= '\u{2e80}'
    })
}

fn speak_differently(claim: &str, passage: &str) -> bool {
    matches!((detect_language(claim), detect_language(passage)), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use ragstone_core::{DocumentId, Metadata};

    const TRAM: &str = "The tram opened in 1901. It has twelve stops.";
    const BRIDGE: &str = "The bridge was built of stone in 1822.";

    fn hit(content: &str) -> Hit {
        Hit {
            document_id: DocumentId::new("d").unwrap(),
            version: 1,
            chunk_index: 0,
            score: 1.0,
            similarity: None,
            content: content.to_owned(),
            title: String::new(),
            heading_path: Vec::new(),
            start: 0,
            end: 0,
            metadata: Metadata::new(),
        }
    }

    fn citation(marker: u32) -> Citation {
        let document_id = DocumentId::new("d").unwrap();
        Citation { marker, document_id, chunk_index: 0, quote: String::new(), score: 1.0 }
    }

    fn check(answer: &str, least: f32) -> (String, Vec<u32>, usize) {
        let checked = check_support(answer, vec![citation(1), citation(2)], &[hit(TRAM), hit(BRIDGE)], least);
        (checked.text, checked.citations.iter().map(|citation| citation.marker).collect(), checked.unsupported)
    }

    #[test]
    fn a_marker_stays_where_its_passage_speaks_of_the_claim() {
        let answer = "The tram opened in 1901 [1]. The bridge is of stone [2].";
        assert_eq!(check(answer, 0.3), (answer.to_owned(), vec![1, 2], 0));
    }

    #[test]
    fn a_marker_goes_where_its_passage_says_nothing_of_it_and_its_citation_with_the_last() {
        let (text, left, unsupported) = check("The tram opened in 1901 [1]. Cats hate swimming pools [1] [2].", 0.3);
        assert_eq!(text, "The tram opened in 1901 [1]. Cats hate swimming pools.");
        assert_eq!((left, unsupported), (vec![1], 2));
    }

    #[test]
    fn nothing_goes_without_a_limit_or_without_words() {
        assert_eq!(check("Cats hate swimming pools [2].", 0.0).2, 0);
        assert_eq!(check("[1] [2]", 1.0).2, 0);
    }

    #[test]
    fn a_claim_in_another_language_cannot_be_compared() {
        let passage = "The lighthouse keeper wrote every evening about the weather, the ships that passed and the birds \
            that rested on the railing before they went on to the south.";
        let claim = "Der Leuchtturmwärter schrieb jeden Abend über das Wetter, über die vorbeifahrenden Schiffe und über \
            die Vögel, die auf dem Geländer rasteten [1].";
        let checked = check_support(claim, vec![citation(1)], &[hit(passage)], 0.5);
        assert_eq!((checked.unsupported, checked.citations.len()), (0, 1));
    }

    proptest! {
        #[test]
        fn only_markers_go_and_every_citation_left_is_in_the_text(
            answer in r"([a-zé中。.! \n]|\[[0-9]{0,2}\]?){0,30}",
            least in 0.0_f32..1.0,
        ) {
            let (text, left, _) = check(&answer, least);
            for marker in left {
                let shown = [format!("[{marker}]"), format!("[0{marker}]")];
                prop_assert!(shown.iter().any(|shown| text.contains(shown)));
            }
            let visible = |text: &str| text.replace(' ', "").replace("[1]", "").replace("[2]", "").replace("[01]", "").replace("[02]", "");
            prop_assert_eq!(visible(&text), visible(&answer));
        }
    }
}
