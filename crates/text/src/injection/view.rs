//! A text as the word matcher reads it: folded to plain lower-case words between single spaces, sentences between bars.
//! Only for matching; nobody ever sees it.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

use crate::clean::is_visible;

/// The longest quotation, in bytes; a mark that is not closed by then was none.
const LONGEST_QUOTE: usize = 300;
/// As many single letters in a row are a spaced-out text, fewer may be initials or a list.
const SPACED_OUT: usize = 8;

/// A folded text.
#[derive(Debug, Default)]
pub(super) struct View {
    /// ` ignore all previous instructions | `; a question ends with ` ? `.
    pub(super) words: String,
    /// What stood between quotation marks, in bytes of `words`.
    pub(super) quotes: Vec<Range<usize>>,
    /// Whether the spaces between words are not known.
    pub(super) glued: bool,
}

/// `text` as words; for entries of the word list.
pub(super) fn fold(text: &str) -> String {
    View::of(text).words
}

impl View {
    /// The view of `text` as it stands.
    pub(super) fn of(text: &str) -> Self {
        Folder::new(false).run(text)
    }

    /// The view in which digits and signs are the letters they look like; `None` when no word mixes the two.
    pub(super) fn of_leet(text: &str) -> Option<Self> {
        let mixed = |word: &str| word.chars().any(is_leet) && word.chars().filter(|c| c.is_alphabetic()).count() > 1;
        text.split_whitespace().any(mixed).then(|| Folder::new(true).run(text))
    }

    /// The view of letters that stand alone (`i g n o r e`), joined; `None` when there are none.
    pub(super) fn of_spaced_out(text: &str) -> Option<Self> {
        let joined = join_letters(text)?;
        let glued = !joined.trim().contains(' ');
        Some(Self { glued, ..Self::of(&joined) })
    }

    /// Every letter moved by thirteen places; and the words backwards. `None` for other scripts.
    pub(super) fn turned(&self) -> Option<[Self; 2]> {
        let letters = self.words.bytes().filter(u8::is_ascii_lowercase).count();
        if letters < 16 || letters * 2 < self.words.len() {
            return None;
        }
        let rotated = self.words.chars().map(|c| match c {
            'a'..='m' => char::from(c as u8 + 13),
            'n'..='z' => char::from(c as u8 - 13),
            other => other,
        });
        let view = |words| Self { words, ..Self::default() };
        Some([view(rotated.collect()), view(self.words.chars().rev().collect())])
    }
}

struct Folder {
    view: View,
    leet: bool,
    /// Where the word under way begins.
    word: usize,
    /// The mark that would end the quotation under way, and where that begins.
    quote: Option<(char, usize)>,
}

impl Folder {
    fn new(leet: bool) -> Self {
        let view = View { words: " ".to_owned(), ..View::default() };
        Self { view, leet, word: 1, quote: None }
    }

    fn run(mut self, text: &str) -> View {
        self.view.words.reserve(text.len());
        let mut characters = text.chars().filter(|c| *c == '\n' || is_visible(*c)).nfkc().peekable();
        let mut previous = ' ';
        while let Some(character) = characters.next() {
            let next = characters.peek().copied().unwrap_or(' ');
            self.take(previous, character, next);
            previous = character;
        }
        self.end_word();
        self.view
    }

    fn take(&mut self, previous: char, character: char, next: char) {
        if character.is_alphanumeric() || is_combining_mark(character) || self.leet && matches!(character, '@' | '$') {
            return self.push(character);
        }
        self.end_word();
        self.mark(previous, character, next);
        match character {
            '@' => self.boundary('@'),
            '?' | '؟' => self.boundary('?'),
            '.' | '!' | ';' if next.is_whitespace() => self.boundary('|'),
            '。' | '।' => self.boundary('|'),
            '!' if !next.is_ascii() => self.boundary('|'),
            '\n' if previous == '\n' => {
                self.quote = None;
                self.boundary('|');
            }
            _ => {}
        }
    }

    fn push(&mut self, character: char) {
        let last = self.view.words[self.word..].chars().next_back();
        if last
            .is_some_and(|last| last.is_ascii() && is_unspaced(character) || is_unspaced(last) && character.is_ascii())
        {
            self.end_word();
        }
        if character.is_ascii() {
            let plain = if self.leet { letter_of(character) } else { character };
            return self.view.words.push(plain.to_ascii_lowercase());
        }
        for lower in character.to_lowercase() {
            match lower {
                'ß' => self.view.words.push_str("ss"),
                'æ' => self.view.words.push_str("ae"),
                'œ' => self.view.words.push_str("oe"),
                _ if is_combining_mark(lower) && matches!(lower, '\u{300}'..='\u{36f}') => {}
                _ => self.view.words.push(base(lower)),
            }
        }
    }

    fn end_word(&mut self) {
        if self.word == self.view.words.len() {
            return;
        }
        let word = &self.view.words[self.word..];
        if !word.is_ascii() && word.bytes().any(|b| b.is_ascii_lowercase()) && word.chars().any(|c| look_alike(c) != c)
        {
            let plain: String = word.chars().map(look_alike).collect();
            self.view.words.truncate(self.word);
            self.view.words.push_str(&plain);
        }
        self.view.words.push(' ');
        self.word = self.view.words.len();
    }

    fn boundary(&mut self, sign: char) {
        self.view.words.push(sign);
        self.view.words.push(' ');
        self.word = self.view.words.len();
    }

    /// Keeps track of quotation marks; an apostrophe inside a word is none.
    fn mark(&mut self, previous: char, character: char, next: char) {
        let here = self.view.words.len();
        if let Some((closing, from)) = self.quote {
            if here - from > LONGEST_QUOTE {
                self.quote = None;
            } else if character == closing && !(character == '\'' && next.is_alphanumeric())
                || closing == '“' && character == '”'
            {
                self.view.quotes.push(from.saturating_sub(1)..here);
                self.quote = None;
                return;
            }
        }
        let closing = match character {
            '"' | '`' => character,
            '\'' if !previous.is_alphanumeric() => '\'',
            '“' => '”',
            '„' => '“',
            '‘' => '’',
            '«' => '»',
            '「' => '」',
            _ => return,
        };
        if self.quote.is_none() {
            self.quote = Some((closing, here));
        }
    }
}

/// Whether the character's script has no spaces between words.
fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// A Latin letter without its marks; others stay.
fn base(character: char) -> char {
    match character {
        'ł' => return 'l',
        'ø' => return 'o',
        'đ' => return 'd',
        'ı' => return 'i',
        'ё' => return 'е',
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {}
        _ => return character,
    }
    let mut first = character;
    decompose_canonical(character, |part| {
        if part.is_ascii() {
            first = part;
        }
    });
    first
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn look_alike(character: char) -> char {
    match character {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'ɡ' => 'g',
        'һ' | 'н' => 'h',
        'і' | 'ι' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'м' => 'm',
        'п' | 'η' => 'n',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ν' | 'ѵ' => 'v',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        other => other,
    }
}

fn is_leet(character: char) -> bool {
    letter_of(character) != character
}

fn letter_of(character: char) -> char {
    match character {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// Runs of single letters as words: where the gaps differ, the wider ones divide words.
fn join_letters(text: &str) -> Option<String> {
    let mut joined = String::new();
    // Letters of the run under way, each with the width of the gap before it.
    let mut run: Vec<(char, usize)> = Vec::new();
    let mut gap = 0;
    let mut characters = text.chars().filter(|c| *c == '\n' || is_visible(*c)).peekable();
    let mut previous = ' ';
    while let Some(character) = characters.next() {
        if !character.is_alphanumeric() {
            gap += 1;
        } else if !previous.is_alphanumeric() && characters.peek().is_none_or(|next| !next.is_alphanumeric()) {
            run.push((character, std::mem::take(&mut gap)));
        } else {
            flush(&mut run, &mut joined);
            gap = 0;
        }
        previous = character;
    }
    flush(&mut run, &mut joined);
    (!joined.is_empty()).then_some(joined)
}

fn flush(run: &mut Vec<(char, usize)>, joined: &mut String) {
    if run.len() >= SPACED_OUT {
        let narrow = run.iter().skip(1).map(|(_, gap)| *gap).min().unwrap_or_default();
        for (position, (letter, gap)) in run.iter().enumerate() {
            if position > 0 && *gap > narrow {
                joined.push(' ');
            }
            joined.push(*letter);
        }
        joined.push_str(".\n");
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_and_sentences_divided() {
        assert_eq!(fold("Ignoriere  ALLE, vorherigen Sätze! Straße?"), " ignoriere alle vorherigen satze | strasse ? ");
        assert_eq!(fold("この AIは、良い。"), " この ai は 良い | ");
        assert_eq!(fold("３.１４ on www.x.example."), " 3 14 on www x example | ");
        assert_eq!(fold("Забудь всё; mail a@b.example"), " забудь все | mail a @ b example ");
    }

    #[test]
    fn look_alikes_fold_only_in_mixed_words() {
        assert_eq!(fold("ign\u{43e}re сора"), " ignore сора ");
    }

    #[test]
    fn quotations_are_known_and_apostrophes_are_none() {
        let quoted = |text: &str| {
            let view = View::of(text);
            view.quotes.iter().map(|range| view.words[range.clone()].trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(quoted("What does 'do this' mean, „und das“ or «ceci»?"), ["do this", "und das", "ceci"]);
        assert!(quoted("It's the dogs' bowl, isn't it").is_empty());
        assert!(quoted("an \"open\n\nmark\" here").is_empty());
    }

    #[test]
    fn digits_and_spaced_letters_become_words() {
        assert_eq!(View::of_leet("1gn0r3 th1$").map(|view| view.words), Some(" ignore this ".to_owned()));
        assert!(View::of_leet("in 1984").is_none());
        let joined = |text| View::of_spaced_out(text).map(|view| (view.words.trim().to_owned(), view.glued));
        assert_eq!(joined("i g n o r e   a l l").map(|(words, _)| words), Some("ignore all |".to_owned()));
        assert_eq!(joined("i-g-n-o-r-e-a-l-l").map(|(words, _)| words), Some("ignoreall |".to_owned()));
        assert_eq!(joined("J. R. R. Tolkien"), None);
    }
}
