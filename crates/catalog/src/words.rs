//! How texts become words for keyword search: the same for what is stored and for what is asked.

use ragstone_core::{Chunk, TenantId};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation as _;

/// The most bytes of one text that are searchable; a chunk is far shorter, but PostgreSQL refuses over 1 MiB of words.
const MAX_BYTES: usize = 256 << 10;
/// The most different words of a question that are looked for.
const MAX_ASKED: usize = 64;

/// What is searchable of a chunk, beside the document's title.
pub(crate) struct ChunkWords {
    pub(crate) headings: String,
    pub(crate) content: String,
}

impl ChunkWords {
    pub(crate) fn of(chunk: &Chunk) -> Self {
        Self { headings: searchable(&chunk.heading_path.join(" ")), content: searchable(&chunk.content) }
    }
}

/// The words of `text` in lower case, separated by blanks. Scripts that do not put blanks between words are cut into characters.
pub(crate) fn searchable(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_BYTES);
    let mut words = String::with_capacity(end);
    for word in text[..end].unicode_words() {
        if !words.is_empty() {
            words.push(' ');
        }
        // Here, as a server with the locale "C" knows only ASCII's capitals.
        words.push_str(&word.to_lowercase());
    }
    words
}

/// The different words of a question.
pub(crate) fn asked(question: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in question.unicode_words() {
        let word = word.to_lowercase();
        if !words.contains(&word) {
            words.push(word);
            if words.len() == MAX_ASKED {
                break;
            }
        }
    }
    words
}

/// Those of `words`, separated by blanks, that are written with accents, without them: `élève Haus` gives `eleve`.
pub(crate) fn without_accents(words: &str) -> String {
    let mut plain = String::new();
    for word in words.split(' ') {
        let bare: String = word.nfd().filter(|c| !is_combining_mark(*c)).nfc().collect();
        if bare != word {
            plain.push_str(&bare);
            plain.push(' ');
        }
    }
    plain
}

/// One word that stands for the tenant in the index, so that a search does not read other tenants' entries.
pub(crate) fn tenant_word(tenant: &TenantId) -> String {
    let hash = blake3::hash(tenant.as_str().as_bytes());
    format!("t{}", hex::encode(&hash.as_bytes()[..12]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn words_of_any_script() {
        assert_eq!(searchable("C++ costs 3.14 €, \"Grüße\"!"), "c costs 3.14 grüße");
        assert_eq!(searchable("東京は大きい"), "東 京 は 大 き い");
        assert_eq!(searchable(" ?! … "), "");
        assert!(searchable(&"ä ".repeat(MAX_BYTES)).len() <= MAX_BYTES);
    }

    #[test]
    fn questions_are_cut_to_their_different_words() {
        assert_eq!(asked("The pump, the PUMP?"), ["the", "pump"]);
        assert!(asked("\"* -'").is_empty());
        let long: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(asked(&long).len(), MAX_ASKED);
    }

    #[test]
    fn accents_are_taken_off_composed_and_decomposed() {
        assert_eq!(without_accents("élève Haus e\u{301}te"), "eleve ete ");
        assert_eq!(without_accents("plain"), "");
    }

    #[test]
    fn a_tenants_word_is_one_word() {
        let word = tenant_word(&TenantId::new("Größe & Söhne/1").unwrap());
        assert_eq!(asked(&word), [word.as_str()]);
        assert_ne!(word, tenant_word(&TenantId::new("other").unwrap()));
    }
}
