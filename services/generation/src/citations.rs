//! Takes markers `[n]` that cite nothing out of an answer while it streams.

/// The longest number that can be a marker.
const MAX_DIGITS: usize = 9;

/// Removes `[n]`, with one space before it, where there is no passage `n`.
///
/// Other text in brackets stays: `[see 3]`, a link `[3](url)`, and an index like `a[7]`, recognised by the letter or
/// digit before it.
#[derive(Debug)]
pub(crate) struct CitationFilter {
    passages: usize,
    /// What may be the beginning of a marker: not passed on yet.
    held: String,
    /// The character before `held`.
    before: Option<char>,
}

/// What stands at the beginning of a text.
enum Start {
    /// A character to pass on.
    Plain,
    /// A marker of this many bytes, to be removed.
    Dangling(usize),
    /// Perhaps a marker: the text is too short to tell.
    Open,
}

impl CitationFilter {
    /// A filter for an answer over `passages` passages.
    pub(crate) fn new(passages: usize) -> Self {
        Self { passages, held: String::new(), before: None }
    }

    /// Takes more text; what can be passed on now, perhaps nothing.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        self.drain(false)
    }

    /// The rest, when no more text follows. The filter is then as new.
    pub(crate) fn finish(&mut self) -> String {
        let rest = self.drain(true);
        self.reset();
        rest
    }

    /// Forgets everything: the answer starts over.
    pub(crate) fn reset(&mut self) {
        self.held.clear();
        self.before = None;
    }

    fn drain(&mut self, end: bool) -> String {
        let mut passed = String::with_capacity(self.held.len());
        let mut rest = self.held.as_str();
        while let Some(first) = rest.chars().next() {
            match start(rest, self.before, self.passages, end) {
                Start::Open => break,
                Start::Dangling(length) => {
                    rest = &rest[length..];
                    self.before = Some(']');
                }
                Start::Plain => {
                    passed.push(first);
                    rest = &rest[first.len_utf8()..];
                    self.before = Some(first);
                }
            }
        }
        self.held = rest.to_owned();
        passed
    }
}

/// What `text` begins with; `end`: nothing follows it.
fn start(text: &str, before: Option<char>, passages: usize, end: bool) -> Start {
    let open = if end { Start::Plain } else { Start::Open };
    let (marker, before) = match text.strip_prefix(' ') {
        Some("") => return open,
        Some(rest) => (rest, Some(' ')),
        None => (text, before),
    };
    let Some(inner) = marker.strip_prefix('[') else { return Start::Plain };
    if before.is_some_and(char::is_alphanumeric) {
        return Start::Plain;
    }
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    if digits > MAX_DIGITS {
        return Start::Plain;
    }
    let (number, rest) = inner.split_at(digits);
    if rest.is_empty() {
        return open;
    }
    let Some(after) = rest.strip_prefix(']').filter(|_| digits > 0) else { return Start::Plain };
    let exists = !number.starts_with('0') && number.parse().is_ok_and(|number: usize| number <= passages);
    if exists || after.starts_with('(') {
        return Start::Plain;
    }
    if after.is_empty() && !end { Start::Open } else { Start::Dangling(text.len() - after.len()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str, passages: usize) -> String {
        let mut filter = CitationFilter::new(passages);
        filter.push(text) + &filter.finish()
    }

    #[test]
    fn only_markers_that_cite_nothing_go() {
        for (text, expected) in [
            ("So it is [1]. And so [3].", "So it is [1]. And so."),
            ("[9] first, last [0]", " first, last"),
            ("both [1][9][2] and [12] [2]", "both [1][2] and [2]"),
            ("none [9][8].", "none."),
            ("list[7] = a[0]; x1[9]", "list[7] = a[0]; x1[9]"),
            ("[see 3] [link](u) [9](u) [-3] [3.5] [] [1, 9]", "[see 3] [link](u) [9](u) [-3] [3.5] [] [1, 9]"),
            ("[99999999999] [01] [٣]", "[99999999999] [٣]"),
            ("nothing [ here [1", "nothing [ here [1"),
            ("ends with a space ", "ends with a space "),
            ("", ""),
        ] {
            assert_eq!(whole(text, 2), expected);
        }
    }

    #[test]
    fn text_is_held_back_only_where_it_may_be_a_marker() {
        let mut filter = CitationFilter::new(1);
        assert_eq!(filter.push("It is so"), "It is so");
        assert_eq!(filter.push(" [1"), "");
        assert_eq!(filter.push("] and"), " [1] and");
        assert_eq!(filter.push(" [2"), "");
        assert_eq!(filter.push("]"), "");
        assert_eq!(filter.push("!"), "!");
        assert_eq!(filter.push("\n["), "\n");
        filter.reset();
        assert_eq!(filter.push("x]"), "x]");
    }

    proptest! {
        /// However a text is cut into pieces, the result is that of the whole text.
        #[test]
        fn pieces_make_no_difference(
            pieces in proptest::collection::vec("[\\[\\]() a0-9é]{0,4}|\\[[0-9]{1,2}\\]", 0..20),
            passages in 0usize..12,
        ) {
            let mut filter = CitationFilter::new(passages);
            let mut streamed: String = pieces.iter().map(|piece| filter.push(piece)).collect();
            streamed.push_str(&filter.finish());
            prop_assert_eq!(streamed, whole(&pieces.concat(), passages));
        }

        /// No marker is left that cites nothing, and what exists stays.
        #[test]
        fn what_is_left_exists(numbers in proptest::collection::vec(0u32..20, 0..10), passages in 0usize..12) {
            let text: String = numbers.iter().map(|number| format!(", so [{number}]")).collect();
            let exists = |number: &u32| (1..=passages).contains(&(*number as usize));
            let expected: String = numbers
                .iter()
                .map(|number| if exists(number) { format!(", so [{number}]") } else { ", so".to_owned() })
                .collect();
            prop_assert_eq!(whole(&text, passages), expected);
        }
    }
}
