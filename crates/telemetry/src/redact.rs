//! Personal data and secrets out of what is logged and traced.
//!
//! Found are e-mail addresses, phone numbers, IBANs and card numbers whose check digits are right, bearer tokens, JSON web
//! tokens and API keys. Everything else stays, so that dates, versions, hashes, ids, ports and durations can be read.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

mod checks;

/// What may be found, the most telling first. Each is bounded in length, so that a search is linear in the text.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Token, r"(?:[Bb]earer|[Bb]asic|BEARER) [A-Za-z0-9._~+/=-]{8,4096}"),
    (Kind::Token, r"eyJ[A-Za-z0-9_-]{5,4096}\.[A-Za-z0-9_-]{2,8192}(?:\.[A-Za-z0-9_-]{0,4096})?"),
    (Kind::Key, r"(?:rsk_|sk-)[A-Za-z0-9_-]{8,256}"),
    (
        Kind::Email,
        r#"[^\x00-\x20@<>()\[\]{}"'`,;:\\/|=?&*!#\x7f]{1,64}(?:@|%40)[A-Za-z0-9\u{a1}-\u{10ffff}][A-Za-z0-9.\u{a1}-\u{10ffff}-]{0,253}\.[A-Za-z\u{a1}-\u{10ffff}][A-Za-z0-9\u{a1}-\u{10ffff}-]{1,62}"#,
    ),
    (Kind::Iban, r"(?:[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}|[a-z]{2}[0-9]{2}(?: [a-z0-9]{4}){2,7}(?: [a-z0-9]{1,3})?)"),
    (
        Kind::Card,
        r"[2-6][0-9]{12,18}|[2-6][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,4}(?:[ -][0-9]{3})?|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}",
    ),
    (
        Kind::Phone,
        r"\+[1-9](?:[ ()./-]{0,2}[0-9]){7,14}|00[1-9][0-9]{0,2}[ /-](?:[0-9][ /-]?){6,12}[0-9]|\(?0[1-9][0-9]{1,4}\)?[ /-](?:[0-9][ -]?){4,9}[0-9]|0[1-9](?:[ .-][0-9]{2}){4}|\(?[2-9][0-9]{2}\)?[ -][2-9][0-9]{2}-[0-9]{4}",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Key,
    Email,
    Iban,
    Card,
    Phone,
}

impl Kind {
    fn placeholder(self) -> &'static str {
        match self {
            Self::Token => "[token]",
            Self::Key => "[key]",
            Self::Email => "[email]",
            Self::Iban => "[iban]",
            Self::Card => "[card]",
            Self::Phone => "[phone]",
        }
    }
}

/// All kinds in one, each a group of its own; `None` never happens, as a test tells.
static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let groups: Vec<String> = KINDS.iter().map(|(_, pattern)| format!("({pattern})")).collect();
    Regex::new(&groups.join("|")).ok()
});

/// `text` with a placeholder such as `[email]` in place of each piece of personal data or secret; borrowed when there is
/// none.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some(pattern) = &*PATTERN else {
        return Cow::Borrowed("[not shown]");
    };
    let mut redacted = String::new();
    let (mut kept, mut from) = (0, 0);
    while let Some(found) = pattern.find_at(text, from) {
        match confirm(pattern, text, found.range()) {
            Some((kind, start, end)) => {
                redacted.push_str(&text[kept..start]);
                redacted.push_str(kind.placeholder());
                (kept, from) = (end, end);
            }
            // What was no find may still hide one that begins a little later.
            None => from = text.ceil_char_boundary(found.start() + 1),
        }
    }
    if redacted.is_empty() {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[kept..]);
    Cow::Owned(redacted)
}

/// The kind of a find and where it begins and ends, if it is what it looks like.
fn confirm(pattern: &Regex, text: &str, found: Range<usize>) -> Option<(Kind, usize, usize)> {
    let captures = pattern.captures_at(text, found.start)?;
    let kind = (0..KINDS.len()).find(|group| captures.get(group + 1).is_some()).map(|group| KINDS[group].0)?;
    let Range { start, end } = found;
    let piece = &text[start..end];
    match kind {
        Kind::Email => {
            let start = after_escape(text, start);
            (start < end).then_some((kind, start, end))
        }
        Kind::Token => {
            begins_word(text, start).then(|| (kind, start + piece.find(' ').map_or(0, |space| space + 1), end))
        }
        Kind::Key => {
            let telling =
                piece.starts_with("rsk_") || piece.len() > 19 && piece.bytes().any(|byte| byte.is_ascii_digit());
            (telling && begins_word(text, start)).then_some((kind, start, end))
        }
        Kind::Iban => {
            let end = start + checks::iban(piece)?;
            (begins_word(text, start) && ends_word(text, end)).then_some((kind, start, end))
        }
        Kind::Card => (stands_alone(text, start, end) && checks::is_card(piece)).then_some((kind, start, end)),
        Kind::Phone => {
            let digits = piece.bytes().filter(u8::is_ascii_digit).count();
            (stands_alone(text, start, end) && (8..=15).contains(&digits)).then_some((kind, start, end))
        }
    }
}

/// Where the word at `start` really begins: log lines write line breaks and the like as `\n` and `\u00e9`, whose last
/// letter is no part of it.
fn after_escape(text: &str, start: usize) -> usize {
    let slashes = text[..start].bytes().rev().take_while(|byte| *byte == b'\\').count();
    if slashes % 2 == 0 {
        return start;
    }
    let length = if text[start..].starts_with('u') { 5 } else { 1 };
    if text.is_char_boundary(start + length) { start + length } else { start }
}

/// Whether no letter or digit stands before `start`. The end of an escape (`\n`, a terminal's colour) is none.
fn begins_word(text: &str, start: usize) -> bool {
    let before = &text[..start];
    let Some(last) = before.chars().next_back() else { return true };
    if !last.is_alphanumeric() && last != '_' {
        return true;
    }
    let tail = &before[before.ceil_char_boundary(before.len().saturating_sub(8))..];
    let colour = last == 'm' && tail.contains("\u{1b}[");
    let escaped = tail.rfind('\\').is_some_and(|slash| {
        let slashes =
            before[..before.len() - tail.len() + slash + 1].bytes().rev().take_while(|byte| *byte == b'\\').count();
        let rest = &tail[slash + 1..];
        slashes % 2 == 1 && (rest.len() == 1 || rest.len() == 5 && rest.starts_with('u'))
    });
    colour || escaped
}

/// Whether no letter or digit stands at `end`.
fn ends_word(text: &str, end: usize) -> bool {
    !text[end..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
}

/// Whether the number is whole: not a part of a word, a date, a version, an id or a longer number.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let mut before = text[..start].chars().rev();
    let joined_before = before.next().is_some_and(|c| matches!(c, '-' | '.' | '+' | ','))
        && before.next().is_some_and(|c| c.is_ascii_digit());
    let mut after = text[end..].chars();
    let joined_after = after.next().is_some_and(|c| matches!(c, '-' | '.' | ',' | ':'))
        && after.next().is_some_and(|c| c.is_ascii_digit());
    begins_word(text, start) && ends_word(text, end) && !joined_before && !joined_after
}

#[cfg(test)]
mod tests {
    #![expect(clippy::print_stdout, reason = "tests")]
    use super::*;

    fn is(text: &str, expected: &str) {
        assert_eq!(redact(text), expected, "{text}");
    }

    #[test]
    fn personal_data_and_secrets_go() {
        assert!(PATTERN.is_some());
        for (text, expected) in [
            ("write to anna.müller+x@mail.example.org.", "write to [email]."),
            ("<mailto:jörg@exämple.de?x>", "<mailto:[email]?x>"),
            ("GET /v1?q=anna%40example.org HTTP", "GET /v1?q=[email] HTTP"),
            ("call +49 (0)30 1234-5678 now", "call [phone] now"),
            ("+441632960961", "[phone]"),
            ("0049 30 12345678, 030/12345678 (030) 1234567", "[phone], [phone] [phone]"),
            ("06 12 34 56 78 or (555) 234-5678", "[phone] or [phone]"),
            ("IBAN DE89 3704 0044 0532 0130 00 PLEASE", "IBAN [iban] PLEASE"),
            ("GB29NWBK60161331926819;", "[iban];"),
            ("de89 3704 0044 0532 0130 00", "[iban]"),
            ("card 4111 1111 1111 1111!", "card [card]!"),
            ("5500-0000-0000-0004 and 378282246310005", "[card] and [card]"),
            ("3782 822463 10005", "[card]"),
            ("authorization: Bearer abc.DEF-123456", "authorization: Bearer [token]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln x", "[token] x"),
            ("key=rsk_7f3k2_Zm9vYmFyYmF6 ok", "key=[key] ok"),
            ("sk-proj-a1b2c3d4e5f6g7h8", "[key]"),
        ] {
            is(text, expected);
        }
    }

    #[test]
    fn other_numbers_and_words_stay() {
        for text in [
            "2026-11-25T16:26:35.123456+01:00 took 1234567.89 ms",
            "version 1.2.3-rc.4+20260101 on 127.0.0.1:8080 and [::1]:9090",
            "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
            "id 550e8400-e29b-41d4-a716-446655440000",
            "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "1732550000000000000 1732550000000 4111111111111112",
            "ratio 0.4111111111111111 or 4111111111111111.25, 12-4111111111111111",
            "DE89370400440532013001 DE12 is no account",
            "page 12 of 3456, chunk 0, port 7101, 50 000 000 bytes, 05-12-2026",
            "@decorator a@b x@localhost user@",
            "risk-assessment-of-a-long-name sk-learn-something-without-any eyJ.x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "The bearer of bad news",
            "C++ 3.14 Grüße élève 中文 😀",
        ] {
            is(text, text);
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn escapes_of_log_lines_are_no_letters_of_the_find() {
        is(
            r#"{"m":"x\nanna@example.org","n":"\t4111111111111111\u00e9"}"#,
            r#"{"m":"x\n[email]","n":"\t[card]\u00e9"}"#,
        );
        is(r#"{"m":"\u00e9+441632960961"}"#, r#"{"m":"\u00e9[phone]"}"#);
        is("\u{1b}[3mto\u{1b}[0m\u{1b}[2m=\u{1b}[0m+441632960961", "\u{1b}[3mto\u{1b}[0m\u{1b}[2m=\u{1b}[0m[phone]");
    }

    #[test]
    fn long_texts_take_time_in_proportion() {
        for part in
            ["4111 1111 ", "a@b", "AA11 ", "eyJaaaaa.", "+1 2 3 4 5 6", "0123456789", "Bearer aaaaaaaa ", "aaaaaaaaaa"]
        {
            let time = |length: usize| {
                let text = part.repeat(length / part.len());
                let started = std::time::Instant::now();
                assert!(!redact(&text).is_empty());
                started.elapsed()
            };
            let long = time(100_000);
            assert!(long < std::time::Duration::from_secs(2), "{part}: {long:?}");
        }
    }

    /// What every log line costs; printed, as it depends on the machine.
    #[test]
    fn a_line_without_finds_is_cheap() {
        let line = r#"{"timestamp":"2026-11-25T16:26:35.123456Z","level":"INFO","message":"answered","target":"ragstone_gateway::query","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","ms":1234}"#;
        let started = std::time::Instant::now();
        for _ in 0..1000 {
            assert!(matches!(redact(line), Cow::Borrowed(_)));
        }
        let each = started.elapsed() / 1000;
        println!("{} bytes: {each:?}", line.len());
        assert!(each < std::time::Duration::from_millis(1), "{each:?}");
    }
}
