//! Cuts a passage into the pieces an answer may quote: sentences, list items, table rows.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::blocks::{Block, BlockKind, blocks};

/// The most bytes of a list or of code that are quoted together with the sentence announcing them.
const ANNOUNCED_BYTES: usize = 400;

/// Endings after which a sentence goes on although a capital letter follows.
const ABBREVIATIONS: &str = include_str!("abbreviations.txt");

/// A piece that can be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Where it stands in the passage, in bytes; without surrounding white space.
    pub(super) span: Range<usize>,
    /// The heading it stands under; empty: none in this passage.
    pub(super) heading: Range<usize>,
    /// Whether it is too bare to be quoted by itself: a heading, a table's ruler.
    pub(super) context_only: bool,
}

/// The pieces of a passage, in order.
pub(super) fn sentences(text: &str) -> Vec<Sentence> {
    let blocks = blocks(text);
    let mut found = Vec::new();
    let mut heading = 0..0;
    for (place, block) in blocks.iter().enumerate() {
        match block.kind {
            BlockKind::Heading => heading = block.span.clone(),
            BlockKind::Ruler => continue,
            BlockKind::Prose | BlockKind::Item => {
                let mut spans = prose(text, block.span.clone());
                if let Some(last) = spans.last_mut().filter(|last| text[(*last).clone()].ends_with([':', '：'])) {
                    last.end = announced_end(last, &blocks[place + 1..]);
                }
                found.extend(spans.into_iter().map(|span| piece(span, &heading, false)));
                continue;
            }
            BlockKind::Row | BlockKind::Code => {}
        }
        found.push(piece(block.span.clone(), &heading, block.kind == BlockKind::Heading));
    }
    found
}

fn piece(span: Range<usize>, heading: &Range<usize>, context_only: bool) -> Sentence {
    Sentence { span, heading: heading.clone(), context_only }
}

/// Where a sentence ends that announces (with a colon) the list or code after it.
fn announced_end(sentence: &Range<usize>, following: &[Block]) -> usize {
    following
        .iter()
        .take_while(|block| matches!(block.kind, BlockKind::Item | BlockKind::Code))
        .map(|block| block.span.end)
        .take_while(|end| end - sentence.start <= ANNOUNCED_BYTES)
        .last()
        .unwrap_or(sentence.end)
}

/// Sentences of running text by Unicode's rules (UAX 29), with the breaks taken back that are none.
fn prose(text: &str, block: Range<usize>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (start, part) in joined_lines(&text[block.clone()]).split_sentence_bound_indices() {
        let span = block.start + start..block.start + start + part.len();
        match spans.last_mut() {
            Some(last) if !ends_sentence(&text[last.clone()], &text[span.clone()]) => last.end = span.end,
            _ => spans.push(span),
        }
    }
    spans.iter().map(|span| trimmed(text, span)).filter(|span| !span.is_empty()).collect()
}

/// The same text, byte for byte as long, with line ends as spaces: UAX 29 would end a sentence at each.
fn joined_lines(block: &str) -> String {
    block.replace(['\n', '\r'], " ")
}

/// The span without white space at its ends.
pub(super) fn trimmed(text: &str, span: &Range<usize>) -> Range<usize> {
    let part = &text[span.clone()];
    let start = span.start + (part.len() - part.trim_start().len());
    start..start.max(span.start + part.trim_end().len())
}

/// Whether a break that Unicode's rules propose between two parts is one.
fn ends_sentence(before: &str, after: &str) -> bool {
    let Some(stem) = before.trim_end().strip_suffix('.') else { return true };
    let word = stem
        .rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '„' | '“' | '«'))
        .next()
        .unwrap_or(stem);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let abbreviation = ABBREVIATIONS.split_whitespace().any(|known| known == word.to_lowercase());
    !(initial || abbreviation || is_ordinal(word, after))
}

/// `3. Oktober`, `19. Jahrhundert`: in German and Scandinavian dates the point makes an ordinal.
fn is_ordinal(word: &str, after: &str) -> bool {
    const FOLLOWERS: [&str; 18] = [
        "januar",
        "februar",
        "märz",
        "april",
        "mai",
        "juni",
        "juli",
        "august",
        "september",
        "oktober",
        "november",
        "dezember",
        "jahrhundert",
        "jahrhunderts",
        "jh",
        "klasse",
        "auflage",
        "platz",
    ];
    let next = after.split_word_bounds().next().unwrap_or_default().to_lowercase();
    (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit()) && FOLLOWERS.contains(&next.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|sentence| &text[sentence.span]).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        for expected in [
            &["Dr. Smith met J. R. R. Tolkien in the U.S. Senate.", "He left at 3.14 p.m. sharp!", "Why?"][..],
            &["It costs e.g. 5 dollars, i.e. little.", "See Fig. 3 and No. 7.", "Version 1.2.3 is out."],
            &["Am 3. Oktober 1990, im 20. Jahrhundert, z.B. in Berlin.", "Es gab u.a. Bier.", "Schluss."],
            &["L'église fut bâtie av. J.-C. par M. Dupont.", "Elle est belle."],
            &["He said \"Stop.\"", "Then he went (as ever) home."],
            &["東京は日本の首都です。", "人口は多い。"],
        ] {
            assert_eq!(cut(&expected.join(" ")), expected);
        }
    }

    #[test]
    fn line_ends_do_not_end_sentences_but_paragraphs_do() {
        assert_eq!(cut("One goes\non here. Two\r\nends.\n\nThree"), ["One goes\non here.", "Two\r\nends.", "Three"]);
    }

    #[test]
    fn headings_are_context_and_reach_down() {
        let text = "# Leases\n\nThirty seconds.";
        let found = sentences(text);
        assert!(found[0].context_only && !found[1].context_only);
        assert_eq!(&text[found[1].heading.clone()], "Leases");
    }

    #[test]
    fn a_colon_takes_what_it_announces_along() {
        assert_eq!(cut("Do this. Run:\n\n- a\n- b\n\nDone.")[..2], ["Do this.", "Run:\n\n- a\n- b"]);
        let long = format!("Run:\n\n- {}\n", "x".repeat(500));
        assert_eq!(cut(&long)[0], "Run:");
    }
}
