//! Sentences and words of a text, by the Unicode rules (UAX #29).

use unicode_segmentation::UnicodeSegmentation as _;

/// The sentences of `text`, trimmed, as slices of it; white space alone is none. A single line break inside a sentence
/// is a wrapped line, not its end.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let unwrapped = unwrap_lines(text);
    unwrapped
        .split_sentence_bound_indices()
        .map(|(start, sentence)| text[start..start + sentence.len()].trim())
        .filter(|sentence| !sentence.is_empty())
        .collect()
}

/// The one of `sentences` (slices of `text`) that a marker at byte `position` speaks about: the one that ends before
/// it, or, at the beginning of the text, the first.
pub(crate) fn sentence_at<'t>(text: &'t str, sentences: &[&'t str], position: usize) -> &'t str {
    let before = text[..position].trim_end().len();
    let begins_before = |sentence: &&&str| sentence.as_ptr().addr() - text.as_ptr().addr() < before;
    sentences.iter().rev().find(begins_before).or(sentences.first()).copied().unwrap_or_default()
}

/// The words of `text` in lower case.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().map(str::to_lowercase)
}

/// `text` with a space for each line break that only wraps a line: one that a letter or digit follows. The bytes keep
/// their places.
fn unwrap_lines(text: &str) -> String {
    let mut previous = '\n';
    let mut chars = text.chars().peekable();
    let mut unwrapped = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        let wraps = c == '\n' && previous != '\n' && chars.peek().is_some_and(|next| next.is_alphanumeric());
        unwrapped.push(if wraps { ' ' } else { c });
        previous = c;
    }
    unwrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wrapped_lines_belong_together_and_blocks_do_not() {
        let text = "# Title\n\nOne sentence over\ntwo lines. Another!\n- an item\n- another item";
        assert_eq!(
            sentences(text),
            ["# Title", "One sentence over\ntwo lines.", "Another!", "- an item", "- another item"]
        );
    }

    #[test]
    fn other_scripts_end_their_sentences_too() {
        assert_eq!(sentences("東京は首都です。大阪は違います。"), ["東京は首都です。", "大阪は違います。"]);
    }

    #[test]
    fn a_place_belongs_to_the_sentence_that_ends_before_it() {
        let text = "One. Two. Three";
        let all = sentences(text);
        for (position, expected) in [(0, "One."), (4, "One."), (5, "One."), (6, "Two."), (15, "Three")] {
            assert_eq!(sentence_at(text, &all, position), expected, "{position}");
        }
        assert_eq!(sentence_at("", &[], 0), "");
    }

    proptest! {
        #[test]
        fn no_visible_character_is_lost(text in r"[a-zé中。.!?\-\n ]{0,60}") {
            let visible = |s: &str| s.split_whitespace().collect::<String>();
            prop_assert_eq!(visible(&sentences(&text).concat()), visible(&text));
        }
    }
}
