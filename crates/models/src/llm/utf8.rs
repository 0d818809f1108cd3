//! Puts the bytes of tokens together to whole characters.

/// Bytes of which some may be the beginning of a character. A token may end in the middle of one.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    held: Vec<u8>,
}

impl Utf8 {
    /// Takes the bytes of one more token; the text that is whole now, perhaps empty. Bytes that can be no character
    /// become U+FFFD. What is still held when no more tokens follow is part of no whole character and is given up.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let open = done + chunk.invalid().len() == self.held.len() && is_beginning(chunk.invalid());
            if !open && !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                done += chunk.invalid().len();
            }
        }
        self.held.drain(..done);
        text
    }
}

/// Whether more bytes could make `bytes` a character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_come_whole_and_rubbish_is_marked() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.push(b"Gr\xc3"), "Gr");
        assert_eq!(utf8.push(b"\xbc\xc3\x9fe \xf0\x9f"), "üße ");
        assert_eq!(utf8.push(b"\x98"), "");
        assert_eq!(utf8.push(b"\x80!"), "😀!");
        assert_eq!(utf8.push(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(utf8.push(b"c"), "\u{fffd}c");
        assert_eq!(utf8.push(b"\xe2\x82\xac\xe2"), "€");
    }

    proptest! {
        /// However bytes are cut into tokens, the text is that of all bytes together.
        #[test]
        fn cuts_make_no_difference(text in "\\PC{0,40}", cuts in proptest::collection::vec(1usize..5, 0..80)) {
            let mut utf8 = Utf8::default();
            let (mut rest, mut streamed) = (text.as_bytes(), String::new());
            for cut in cuts {
                let (token, after) = rest.split_at(cut.min(rest.len()));
                streamed.push_str(&utf8.push(token));
                rest = after;
            }
            streamed.push_str(&utf8.push(rest));
            prop_assert_eq!(streamed, text);
        }
    }
}
