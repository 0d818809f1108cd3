//! Words of a text in the form in which question and passages are compared.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// Letters of a long word that count: cutting off the end joins inflected forms in most European languages without a
/// stemmer for each of them.
const STEM_LETTERS: usize = 6;

/// Words that carry no subject: question words, articles, pronouns, prepositions, auxiliaries, in the languages most
/// often met. A language that is missing loses little: words that many sentences share weigh little anyway.
static STOP_WORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("stop_words.txt").split_whitespace().collect());

/// A word with the form it is compared in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'t> {
    /// As it stands in the text.
    pub(super) text: &'t str,
    /// Lower case, without accents, cut to the stem.
    pub(super) stem: String,
    /// Whether it carries a subject, unlike "the" or "which".
    pub(super) content: bool,
}

/// The words of a text in order, split at apostrophes too (`l'église`, `Tesla's`).
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.unicode_words().flat_map(|word| word.split(['\'', '’'])).filter(|word| !word.is_empty()).map(|text| {
        let lower = text.to_lowercase();
        // The letter of an elision or a genitive, unlike the one of "vitamin C".
        let particle = text.len() == 1 && text.starts_with(|c: char| c.is_ascii_lowercase());
        Word { text, stem: stem(&lower), content: !particle && !STOP_WORDS.contains(lower.as_str()) }
    })
}

/// The form in which two words, in lower case already, are compared.
fn stem(word: &str) -> String {
    let folded: String = word.chars().map(fold).collect();
    if folded.chars().any(|c| c.is_ascii_digit()) {
        return folded;
    }
    suffixless(&folded).chars().take(STEM_LETTERS).collect()
}

/// Without the commonest inflection of words too short to be cut.
fn suffixless(word: &str) -> &str {
    let suffixes = ["ing", "ed", "es", "en", "er", "em", "s", "e", "n"];
    suffixes
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix).filter(|rest| rest.chars().count() >= 3))
        .unwrap_or(word)
}

/// The base letter of an accented Latin one.
fn fold(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ī' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' => 'o',
        'ś' | 'š' | 'ş' => 's',
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}
