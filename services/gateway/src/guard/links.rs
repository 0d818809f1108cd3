//! Links and images of an answer, as it is written: what leads to a place nobody allowed becomes plain text.
//!
//! A model that obeyed a passage could put what it knows into an address, which a client loads (images) or a person
//! follows. The filter reads any stream of pieces and gives the same text for any way of cutting it. It holds back only
//! what may still become an address, about [`LONGEST`] bytes at most. Nothing but addresses and the beginnings of markup
//! goes: without these the rest of a link is text.

use ragstone_core::Hit;

use super::GuardConfig;
use super::hosts::{Allowed, address_length, is_end, is_relative, starts, word_length};

/// What stands in place of an address: round brackets, as square ones before others would make a link again.
const REMOVED: &str = "(link removed)";
/// The same for the target of a link or image, whose text was in square brackets.
const TARGET_REMOVED: &str = "] (link removed)";
/// Of a target that never ends: programs might end it for themselves.
const TARGET_APART: &str = "] (";
/// The longest address or target, in bytes; the beginning of a longer one is removed, so that it is none.
const LONGEST: usize = 2048;
/// Longer words are no scheme: they need not be held back whole.
const LONGEST_WORD: usize = 64;
/// HTML elements that load or lead somewhere. With attributes they are always removed: answers are Markdown.
const ELEMENTS: [&str; 27] = [
    "a", "area", "audio", "base", "body", "button", "embed", "form", "frame", "iframe", "image", "img", "input",
    "link", "math", "meta", "object", "param", "picture", "script", "source", "style", "svg", "table", "track", "use",
    "video",
];

/// Reads an answer piece by piece.
#[derive(Debug)]
pub(crate) struct LinkFilter {
    allowed: Allowed,
    /// What is not yet decided.
    held: String,
    /// Whether an image was begun and its address has not come yet.
    image: bool,
    /// Whether `]:` was read and the address of that definition has not come yet.
    definition: bool,
    /// What the decided text ends with.
    previous: char,
    removed: usize,
}

/// What to do with the beginning of the held text.
enum Step {
    /// So many bytes are harmless.
    Keep(usize),
    /// So many bytes are replaced by this.
    Replace(usize, &'static str),
    /// It depends on what follows.
    Wait,
}

impl LinkFilter {
    /// A filter for an answer written from `contexts`.
    pub(crate) fn new(config: &GuardConfig, contexts: &[Hit]) -> Self {
        let allowed = Allowed::new(&config.link_hosts, &config.image_hosts, contexts);
        Self { allowed, held: String::new(), image: false, definition: false, previous: ' ', removed: 0 }
    }

    /// The text that is decided after one more piece.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        self.run(false)
    }

    /// The rest, at the end of the answer.
    pub(crate) fn finish(&mut self) -> String {
        self.run(true)
    }

    /// For an answer that starts over.
    pub(crate) fn restart(&mut self) {
        self.held.clear();
        (self.image, self.definition, self.previous, self.removed) = (false, false, ' ', 0);
    }

    /// How many links and images went.
    pub(crate) fn removed(&self) -> usize {
        self.removed
    }

    fn run(&mut self, last: bool) -> String {
        let held = std::mem::take(&mut self.held);
        let mut decided = String::with_capacity(held.len());
        let mut rest = held.as_str();
        while !rest.is_empty() {
            match self.step(rest, last) {
                Step::Keep(length) => {
                    decided.push_str(&rest[..length]);
                    self.previous = rest[..length].chars().next_back().unwrap_or(self.previous);
                    rest = &rest[length..];
                }
                Step::Replace(length, replacement) => {
                    self.removed += usize::from(replacement != TARGET_APART);
                    // An address right before would go on with it.
                    if replacement == REMOVED
                        && !self.previous.is_whitespace()
                        && !matches!(self.previous, '(' | '<' | '"')
                    {
                        decided.push(' ');
                    }
                    decided.push_str(replacement);
                    self.previous = replacement.chars().next_back().unwrap_or(self.previous);
                    rest = &rest[length..];
                }
                Step::Wait => break,
            }
        }
        self.held = rest.to_owned();
        decided
    }

    fn step(&mut self, rest: &str, last: bool) -> Step {
        let mut characters = rest.chars();
        let Some(first) = characters.next() else { return Step::Wait };
        let second = characters.next();
        match first {
            '!' | ']' | '<' | '\n' if second.is_none() && !last => Step::Wait,
            '\n' => {
                let blank = second == Some('\n');
                (self.image, self.definition) = (self.image && !blank, self.definition && !blank);
                Step::Keep(1)
            }
            '<' => tag(rest, last),
            _ if self.definition && !first.is_whitespace() => self.defined(rest, last),
            '!' => {
                self.image |= second == Some('[');
                Step::Keep(1)
            }
            ']' if second == Some('(') => self.target(rest, last),
            ']' => {
                self.definition = second == Some(':');
                Step::Keep(1 + usize::from(self.definition))
            }
            _ if first.is_ascii_alphanumeric() => self.word(rest, last),
            _ => Step::Keep(first.len_utf8()),
        }
    }

    /// The address of a definition (`[name]: address`). Whether it will be shown as an image is not known: of absolute
    /// ones none stays. Words without anything of an address are only a note.
    fn defined(&mut self, rest: &str, last: bool) -> Step {
        let end = rest.find(is_end);
        if end.is_none() && rest.len() <= LONGEST && !last {
            return Step::Wait;
        }
        self.definition = false;
        let length = end.unwrap_or(rest.len());
        if length == 0 {
            return self.step(rest, last);
        }
        if length <= LONGEST && is_relative(&rest[..length]) {
            return Step::Keep(length);
        }
        Step::Replace(if length <= LONGEST { length } else { 1 }, REMOVED)
    }

    /// A word, which may begin an address.
    fn word(&mut self, rest: &str, last: bool) -> Step {
        let length = word_length(rest);
        if length > LONGEST_WORD && !starts(rest, "www.") {
            return Step::Keep(LONGEST_WORD / 2);
        }
        let after = &rest.as_bytes()[length..];
        let slashes = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'/' | b'\\'));
        let may_be = after.is_empty() || after[0] == b':' && slashes(&after[1..after.len().min(3)]);
        if may_be && after.len() < 3 && !last {
            return Step::Wait;
        }
        // One letter before backslashes is a drive.
        let is_scheme = may_be && after.len() >= 3 && (length > 1 || after.starts_with(b"://"));
        if is_scheme || starts(rest, "www.") { self.address(rest, length, last) } else { Step::Keep(length) }
    }

    fn address(&self, rest: &str, word: usize, last: bool) -> Step {
        let end = rest.find(is_end);
        if end.is_none() && rest.len() <= LONGEST && !last {
            return Step::Wait;
        }
        if end.unwrap_or(rest.len()) > LONGEST {
            return Step::Replace(word, REMOVED);
        }
        let length = address_length(rest).max(word);
        if self.allowed.link(&rest[..length]) { Step::Keep(length) } else { Step::Replace(length, REMOVED) }
    }

    /// `](target)`: of a link, or of the image that was begun.
    fn target(&mut self, rest: &str, last: bool) -> Step {
        let end = match closing(rest) {
            Closing::At(end) => end,
            Closing::Open if !last => return Step::Wait,
            Closing::Open | Closing::Never => return Step::Replace(2, TARGET_APART),
            Closing::TooFar => {
                self.image = false;
                return Step::Replace(2, TARGET_REMOVED);
            }
        };
        let image = std::mem::take(&mut self.image);
        let inner = rest[2..end].trim();
        let (address, title) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let address = address.strip_prefix('<').and_then(|address| address.strip_suffix('>')).unwrap_or(address);
        let allowed = if image { self.allowed.image(address) } else { self.allowed.link(address) };
        if allowed && is_relative(title.trim().trim_matches(['"', '\''])) && !title.contains(['[', ']', '(', ')']) {
            return Step::Keep(end + 1);
        }
        // What leads nowhere else is read on as text: more may be hidden in it.
        if !image && is_relative(address) { Step::Keep(2) } else { Step::Replace(end + 1, TARGET_REMOVED) }
    }
}

/// Where a target ends.
enum Closing {
    At(usize),
    /// Not in what has come.
    Open,
    /// A blank line ended the paragraph: it is none.
    Never,
    /// Not within the limit.
    TooFar,
}

/// Where the bracket closes that opens at byte 1 of `rest`.
fn closing(rest: &str) -> Closing {
    let (mut depth, mut previous) = (0_usize, ' ');
    for (at, c) in rest.char_indices().skip(1) {
        if at > LONGEST {
            return Closing::TooFar;
        }
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Closing::At(at),
            ')' => depth -= 1,
            '\n' if previous == '\n' => return Closing::Never,
            _ => {}
        }
        previous = c;
    }
    Closing::Open
}

/// `<…`: an element, an address in angle brackets, or a sign.
fn tag(rest: &str, last: bool) -> Step {
    let name = &rest[1..];
    let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
    if length == name.len() && length <= "picture".len() && !last {
        return Step::Wait;
    }
    let is_element = ELEMENTS.iter().any(|element| name[..length].eq_ignore_ascii_case(element));
    let has_more = name[length..].starts_with(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''));
    if is_element && has_more { Step::Replace(1 + length, REMOVED) } else { Step::Keep(1) }
}

#[cfg(test)]
mod tests;
