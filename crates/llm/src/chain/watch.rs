//! Looks for texts in an answer while it streams: those at which it ends, and those it must never contain.

/// The most characters that may stand between two letters of a secret that was written with gaps.
const MAX_GAP: usize = 8;

/// Watches one answer.
#[derive(Debug)]
pub(super) struct Watch {
    secrets: Needles,
    stop: Needles,
}

/// What came of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// So much of it can be passed on, perhaps nothing.
    Text(String),
    /// So much can be, and there the answer ends.
    Stopped(String),
    /// A secret is in it.
    Leaked,
}

impl Watch {
    /// An answer that ends before the first of `stop` and may contain none of `secrets`, in whatever case and however
    /// its letters are set apart.
    pub(super) fn new(secrets: &[String], stop: &[String]) -> Self {
        Self { secrets: Needles::new(secrets, true), stop: Needles::new(stop, false) }
    }

    /// Takes more text.
    pub(super) fn push(&mut self, text: &str) -> Seen {
        self.take(text, false)
    }

    /// The rest, when no more text follows.
    pub(super) fn finish(&mut self) -> Seen {
        self.take("", true)
    }

    fn take(&mut self, text: &str, end: bool) -> Seen {
        let (text, leaked) = self.secrets.take(text, end);
        if leaked {
            return Seen::Leaked;
        }
        let (text, stopped) = self.stop.take(&text, end);
        if stopped { Seen::Stopped(text) } else { Seen::Text(text) }
    }
}

/// Texts to be found in a stream.
#[derive(Debug)]
struct Needles {
    needles: Vec<Vec<char>>,
    /// Whether only letters and digits count, in any case.
    loose: bool,
    /// What may be the beginning of one: not passed on yet.
    held: String,
}

/// How the beginning of a text compares with what is looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// The text is too short to tell.
    Open,
    Full,
}

impl Needles {
    fn new(needles: &[String], loose: bool) -> Self {
        let counts = |c: &char| !loose || c.is_alphanumeric();
        let needles = needles.iter().map(|needle| needle.chars().filter(counts).map(|c| plain(c, loose)).collect());
        Self { needles: needles.filter(|needle: &Vec<char>| !needle.is_empty()).collect(), loose, held: String::new() }
    }

    /// What comes before the first of the texts and whether there is one. `end`: no more text follows.
    fn take(&mut self, text: &str, end: bool) -> (String, bool) {
        let mut passed = std::mem::take(&mut self.held);
        passed.push_str(text);
        let found =
            passed.char_indices().map(|(at, _)| (at, self.compare(&passed[at..]))).find(|(_, found)| match found {
                Match::No => false,
                Match::Open => !end,
                Match::Full => true,
            });
        let Some((at, found)) = found else { return (passed, false) };
        let rest = passed.split_off(at);
        if found == Match::Open {
            self.held = rest;
        }
        (passed, found == Match::Full)
    }

    fn compare(&self, text: &str) -> Match {
        self.needles.iter().map(|needle| self.compare_one(needle, text)).max().unwrap_or(Match::No)
    }

    fn compare_one(&self, needle: &[char], text: &str) -> Match {
        let mut expected = needle;
        let mut gap = 0;
        for c in text.chars() {
            if self.loose && !c.is_alphanumeric() {
                gap += 1;
                if gap > MAX_GAP || expected.len() == needle.len() {
                    return Match::No;
                }
                continue;
            }
            gap = 0;
            match expected.split_first() {
                Some((first, rest)) if *first == plain(c, self.loose) => expected = rest,
                _ => return Match::No,
            }
            if expected.is_empty() {
                return Match::Full;
            }
        }
        Match::Open
    }
}

fn plain(c: char, loose: bool) -> char {
    if loose { c.to_ascii_lowercase() } else { c }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "5f0e93b7a1";

    fn watch(secret: &str, stop: &[&str]) -> Watch {
        let stop: Vec<String> = stop.iter().map(|text| (*text).to_owned()).collect();
        Watch::new(&[secret.to_owned()], &stop)
    }

    /// All that was passed on, and how it ended.
    fn read<'t>(watch: &mut Watch, pieces: impl IntoIterator<Item = &'t str>) -> (String, &'static str) {
        let mut text = String::new();
        for piece in pieces {
            match watch.push(piece) {
                Seen::Text(more) => text.push_str(&more),
                Seen::Stopped(more) => return (text + &more, "stopped"),
                Seen::Leaked => return (text, "leaked"),
            }
        }
        match watch.finish() {
            Seen::Text(more) => (text + &more, "whole"),
            Seen::Stopped(more) => (text + &more, "stopped"),
            Seen::Leaked => (text, "leaked"),
        }
    }

    #[test]
    fn an_answer_ends_before_the_first_stop_text() {
        for (text, stops, expected) in [
            ("one\n\ntwo", vec!["\n\n"], ("one", "stopped")),
            ("one END two", vec!["###", "END"], ("one ", "stopped")),
            ("abcx bc", vec!["abcd", "bc"], ("a", "stopped")),
            ("abc", vec!["abcd", "bc"], ("a", "stopped")),
            ("ab", vec!["abc"], ("ab", "whole")),
            ("aab", vec!["ab"], ("a", "stopped")),
            ("Grüße", vec!["ß"], ("Grü", "stopped")),
            ("End", vec!["END"], ("End", "whole")),
            ("a-b", vec!["ab", ""], ("a-b", "whole")),
        ] {
            for pieces in [vec![text], text.split_inclusive(|_: char| true).collect()] {
                let (read, how) = read(&mut watch(SECRET, &stops), pieces);
                assert_eq!((read.as_str(), how), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_secret_is_seen_however_it_is_written() {
        let upper = SECRET.to_uppercase();
        let apart: String = SECRET.chars().flat_map(|c| [c, '-', ' ']).collect();
        for text in [SECRET, upper.as_str(), apart.as_str(), "5f0e\n93b7\n**a1**"] {
            let told = format!("It is 5f5f0 and {text}!");
            for pieces in [vec![told.as_str()], told.split_inclusive(|_: char| true).collect()] {
                let (read, how) = read(&mut watch(SECRET, &["never"]), pieces);
                assert_eq!(how, "leaked", "{told}");
                assert!("It is 5f5f0 and ".starts_with(&read), "{read}");
            }
        }
        for harmless in ["5f0e93b7a", "5f0e93b7 a2", "5f0e 93b7          a1", "", "--- 5"] {
            assert_eq!(read(&mut watch(SECRET, &[]), [harmless]), (harmless.to_owned(), "whole"));
        }
    }

    #[test]
    fn text_is_held_back_only_where_it_may_be_the_beginning_of_something() {
        let mut watch = watch(SECRET, &["END"]);
        assert_eq!(watch.push("It is E"), Seen::Text("It is ".into()));
        assert_eq!(watch.push("asy. 5F"), Seen::Text("Easy. ".into()));
        assert_eq!(watch.push(" of 5"), Seen::Text("5F of ".into()));
        assert_eq!(watch.finish(), Seen::Text("5".into()));
    }

    proptest! {
        /// However a text is cut into pieces, the result is that of the whole text.
        #[test]
        fn pieces_make_no_difference(pieces in proptest::collection::vec("[5f0é -]{0,3}", 0..12)) {
            let whole = pieces.concat();
            let stops = ["é0", "--f"];
            let cut = read(&mut watch("5f0f", &stops), pieces.iter().map(String::as_str));
            let uncut = read(&mut watch("5f0f", &stops), [whole.as_str()]);
            // A whole text with a secret after a stop text is a leak in one piece and ends before it in several.
            if uncut.1 != "leaked" {
                prop_assert_eq!(cut, uncut);
            } else {
                prop_assert!(cut.1 != "whole");
            }
        }
    }
}
