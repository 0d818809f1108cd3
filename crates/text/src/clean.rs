//! From bytes to clean text: decoding, line ends, and removal of characters that nobody can see.

use ragstone_core::{Error, Result};

/// Decodes text that says it is text: UTF-8 (with or without a byte order mark), or UTF-16 with one.
///
/// # Errors
/// `Unprocessable`, saying where the bytes are not text.
pub(crate) fn decode(bytes: &[u8]) -> Result<String> {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        [0xEF, 0xBB, 0xBF, rest @ ..] => decode_utf8(rest, 3)?,
        _ => decode_utf8(bytes, 0)?,
    };
    if let Some(position) = text.find('\0') {
        let line = line_of(text.as_bytes(), position);
        return Err(Error::unprocessable(format!("not text: there is a NUL character in line {line}")));
    }
    Ok(text)
}

fn decode_utf8(bytes: &[u8], skipped: usize) -> Result<String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let position = error.valid_up_to();
        let line = line_of(bytes, position);
        Error::unprocessable(format!("not valid UTF-8 at byte {} (line {line})", position + skipped))
    })
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::unprocessable("not valid UTF-16: the number of bytes is odd"));
    }
    let mut text = String::with_capacity(bytes.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let decoded = decoded.map_err(|_| {
            let line = line_of(text.as_bytes(), text.len());
            Error::unprocessable(format!("not valid UTF-16: half a surrogate pair in line {line}"))
        })?;
        text.push(decoded);
    }
    Ok(text)
}

fn line_of(bytes: &[u8], position: usize) -> usize {
    1 + bytes[..position].iter().filter(|byte| **byte == b'\n').count()
}

/// Turns CRLF into LF and drops characters that cannot be seen but can carry hidden orders or reorder what is seen:
/// control, zero-width, bidirectional-control and tag characters. Joiners and variation selectors stay where a script
/// or an emoji needs them. Everything else stays exactly as it is.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        if is_visible(character) || previous.is_some_and(|base| modifies(character, base)) {
            cleaned.push(character);
            previous = Some(character);
        }
    }
    cleaned
}

/// Whether `character` shows, spaces, or breaks a line.
pub(crate) fn is_visible(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | '\u{0C}' | '\u{85}' => true,
        _ if character.is_control() => false,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' => false,
        '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => false,
        '\u{FE00}'..='\u{FE0F}' | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' => false,
        '\u{E0000}'..='\u{E0FFF}' => false,
        _ => true,
    }
}

/// Whether an invisible `character` changes how `base`, right before it, looks or joins. One may follow a base, never a
/// run of them: runs are how text is hidden.
fn modifies(character: char, base: char) -> bool {
    if !is_visible(base) || base.is_whitespace() {
        return false;
    }
    match character {
        // Joiners: Persian, Indic scripts, emoji families.
        '\u{200C}' | '\u{200D}' => !base.is_ascii(),
        // Variation selectors: emoji and text style, keycaps (1️⃣).
        '\u{FE00}'..='\u{FE0F}' => !base.is_ascii() || matches!(base, '0'..='9' | '#' | '*'),
        '\u{180B}'..='\u{180F}' => matches!(base, '\u{1800}'..='\u{18AF}'),
        // Variants of ideographs, as in Japanese names.
        '\u{E0100}'..='\u{E01EF}' => {
            matches!(base, '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
        }
        _ => false,
    }
}

/// `text` as one line of at most 300 characters, for titles and headings; `None` when nothing is left.
pub(crate) fn one_line(text: &str) -> Option<String> {
    let cleaned = clean(text);
    let line: String = cleaned.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use ragstone_core::ErrorCode;

    use super::*;

    #[test]
    fn decodes_utf8_and_utf16_with_their_marks() {
        assert_eq!(decode("Grüße".as_bytes()).unwrap(), "Grüße");
        assert_eq!(decode("\u{FEFF}Grüße".as_bytes()).unwrap(), "Grüße");
        let units: Vec<u16> = "élève 😀".encode_utf16().collect();
        let le: Vec<u8> = [0xFF, 0xFE].into_iter().chain(units.iter().flat_map(|unit| unit.to_le_bytes())).collect();
        let be: Vec<u8> = [0xFE, 0xFF].into_iter().chain(units.iter().flat_map(|unit| unit.to_be_bytes())).collect();
        assert_eq!(decode(&le).unwrap(), "élève 😀");
        assert_eq!(decode(&be).unwrap(), "élève 😀");
    }

    #[test]
    fn says_where_bytes_are_not_text() {
        let error = decode(b"one\ntwo \xFF three").unwrap_err();
        assert_eq!(error.code, ErrorCode::Unprocessable);
        assert!(error.message.contains("byte 8") && error.message.contains("line 2"), "{error}");
        assert!(decode(b"a\nb\0c").unwrap_err().message.contains("NUL character in line 2"));
        assert!(decode(b"\xFF\xFEa").unwrap_err().message.contains("odd"));
        assert!(decode(b"\xFF\xFE\x00\xD8").unwrap_err().message.contains("surrogate"));
    }

    #[test]
    fn keeps_what_can_be_seen() {
        for text in [
            "C++ 3.14 Grüße élève snake_case <b>&amp;</b> $x^2$ \t tab",
            "می\u{200C}خواهم",
            "👨\u{200D}👩\u{200D}👧 ❤\u{FE0F} 1\u{FE0F}\u{20E3}",
            "क\u{94D}\u{200D}ष",
            "葛\u{E0100}城",
            "non\u{A0}breaking\u{2009}spaces\u{2028}line",
            "old\rmac\u{0C}page",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn drops_what_cannot_be_seen() {
        assert_eq!(clean("a\r\nb"), "a\nb");
        assert_eq!(clean("pass\u{200B}word"), "password");
        assert_eq!(clean("a\u{202E}txt.exe\u{202C}"), "atxt.exe");
        assert_eq!(clean("hi\u{E0049}\u{E0067}\u{E006E}!"), "hi!");
        assert_eq!(clean("x\u{FE01}\u{FE02}y"), "xy");
        assert_eq!(clean("😀\u{FE01}\u{FE02}\u{E0101}"), "😀\u{FE01}");
        assert_eq!(clean("Donau\u{AD}dampf\u{1B}[0m\u{FEFF}"), "Donaudampf[0m");
    }

    proptest! {
        #[test]
        fn cleaning_only_removes_and_is_stable(text in any::<String>()) {
            let cleaned = clean(&text);
            let mut rest = text.chars();
            prop_assert!(cleaned.chars().all(|kept| rest.any(|character| character == kept)));
            prop_assert!(!cleaned.contains("\r\n"));
            prop_assert_eq!(clean(&cleaned), cleaned);
        }

        #[test]
        fn ordinary_text_is_untouched(text in "[ -~äöüßéàçñøłđ中文字кириллицаع\n]{0,200}") {
            prop_assert_eq!(clean(&text), text);
        }
    }
}
