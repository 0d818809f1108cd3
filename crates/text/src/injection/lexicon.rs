//! The words that stand for an idea, in all languages, and where they occur in a text.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::view::{View, fold};

const WORDS: &str = include_str!("lexicon.txt");
/// Shorter words are found in too much when the spaces between words are not known.
const SHORTEST_GLUED: usize = 4;

macro_rules! concepts {
    ($($name:ident = $key:literal),* $(,)?) => {
        /// An idea that words of every language express.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Concept { $($name),* }

        impl Concept {
            /// How many there are.
            pub(super) const COUNT: usize = [$($key),*].len();

            fn named(key: &str) -> Option<Self> {
                match key { $($key => Some(Self::$name),)* _ => None }
            }
        }
    };
}

concepts! {
    Ignore = "ignore", Prior = "prior", Own = "own", All = "all", Instr = "instr", Told = "told", NewTask = "new_task",
    OnlyMe = "only_me", Act = "act", NoLimits = "no_limits", Jailbreak = "jailbreak", AnythingNow = "anything_now",
    Ask = "ask", SystemPrompt = "system_prompt", AboveText = "above_text", Send = "send", Data = "data", Link = "link",
    Ai = "ai", Reading = "reading", Must = "must", IfAi = "if_ai", Hide = "hide", Decode = "decode", Obey = "obey",
    Meta = "meta", Negation = "negation", Invalid = "invalid", HowTo = "how_to",
}

/// Where a word of an idea stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mention {
    pub(super) concept: Concept,
    /// From where, in bytes of the view.
    pub(super) from: usize,
    /// To where, in bytes of the view.
    pub(super) to: usize,
    /// The same in characters.
    pub(super) start: usize,
    /// The same in characters.
    pub(super) end: usize,
    /// In which sentence, from 0.
    pub(super) sentence: usize,
    /// Whether an order begins with it, by its language's grammar: elsewhere verbs may also come last.
    pub(super) leads: bool,
}

struct Matcher {
    automaton: Option<AhoCorasick>,
    concepts: Vec<(Concept, bool)>,
}

/// With spaces around words.
static SPACED: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(entries(false)));
/// For words whose spaces are lost.
static GLUED: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(entries(true)));

/// Every mention of an idea in `view`, in the order of their ends.
pub(super) fn mentions(view: &View) -> Vec<Mention> {
    let mut found = if view.glued { GLUED.find(&view.words) } else { SPACED.find(&view.words) };
    let about: Vec<_> = found.iter().filter(|m| m.concept == Concept::Meta).map(|m| m.from..m.to).collect();
    // Part of a name such as "prompt injection" is no mention of its own.
    found.retain(|m| {
        let name = about.get(about.partition_point(|name| name.end <= m.from + 1));
        m.concept == Concept::Meta || name.is_none_or(|name| m.from < name.start)
    });
    found
}

/// The patterns of the word list.
fn entries(glued: bool) -> Vec<(String, (Concept, bool))> {
    let mut concept = None;
    let mut entries = Vec::new();
    for line in WORDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(key) = line.strip_prefix('[') {
            concept = Concept::named(key.trim_end_matches(']'));
        } else if let (Some(concept), Some((language, words))) = (concept, line.split_once(": ")) {
            let anywhere = matches!(language, "zh" | "ja");
            let leads = concept == Concept::Ignore && matches!(language, "en" | "fr" | "es" | "it" | "pt");
            let patterns =
                words.split("; ").map(|word| if glued { without_spaces(word) } else { pattern(word, anywhere) });
            let fits = |pattern: &String| !glued || pattern.chars().count() >= SHORTEST_GLUED;
            entries.extend(patterns.filter(fits).map(|pattern| (pattern, (concept, leads))));
        }
    }
    entries
}

fn pattern(word: &str, anywhere: bool) -> String {
    let folded = fold(word.trim_end_matches('*'));
    match (anywhere, word.ends_with('*')) {
        (true, _) => folded.trim().to_owned(),
        (false, true) => folded.trim_end().to_owned(),
        (false, false) => folded,
    }
}

fn without_spaces(word: &str) -> String {
    fold(word.trim_end_matches('*')).replace(' ', "")
}

impl Matcher {
    fn new(entries: Vec<(String, (Concept, bool))>) -> Self {
        let (patterns, concepts): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let built = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns);
        if let Err(error) = &built {
            tracing::error!(%error, "the words of injections cannot be searched; nothing will be found");
        }
        Self { automaton: built.ok(), concepts }
    }

    fn find(&self, words: &str) -> Vec<Mention> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let mut found = Vec::new();
        let (mut byte, mut character, mut sentence) = (0, 0, 0);
        for hit in automaton.find_overlapping_iter(words) {
            for c in words[byte..hit.end()].chars() {
                character += 1;
                sentence += usize::from(matches!(c, '|' | '?'));
            }
            byte = hit.end();
            let (concept, leads) = self.concepts[hit.pattern().as_usize()];
            found.push(Mention {
                concept,
                leads,
                from: hit.start(),
                to: hit.end(),
                start: character - words[hit.range()].chars().count(),
                end: character,
                sentence,
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_word_list_is_understood() {
        let mut seen = 0;
        for line in WORDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[') {
                Some(key) => assert!(Concept::named(key.trim_end_matches(']')).is_some(), "{line}"),
                None => seen += line.split_once(": ").map(|(_, words)| words.split("; ").count()).unwrap_or_default(),
            }
        }
        let entries = entries(false);
        assert_eq!(entries.len(), seen);
        assert!(SPACED.automaton.is_some() && GLUED.automaton.is_some());
        for (pattern, (concept, _)) in &entries {
            assert!(pattern.trim().len() >= 2 || *concept == Concept::Link, "{pattern:?} is too short");
        }
    }

    #[test]
    fn the_automata_stay_small() {
        let bytes = |matcher: &Matcher| matcher.automaton.as_ref().map(AhoCorasick::memory_usage).unwrap_or_default();
        assert!(bytes(&SPACED) + bytes(&GLUED) < 4 << 20, "{} {}", bytes(&SPACED), bytes(&GLUED));
    }
}
