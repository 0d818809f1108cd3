//! Follow-up questions without a model: one that leans on the conversation is joined with the content words of the
//! person's questions before it, so that a search knows what "it" is.
//!
//! A question leans on the conversation when it
//! 1. begins like a continuation ("and", "what about", "und", "was ist mit"),
//! 2. has a word that points back ("it", "its", "they", "er", "dort", "davon"), or ends with one that often does
//!    ("that", "there", "das"), or
//! 3. is so short that it names nothing: two words, or four with one content word at most and no name among them.
//!
//! The words come from English and German; a question in another language is joined only when it is short. What the
//! assistant said is not used: it may be long, and a document may have written it.

use std::collections::HashSet;

use ragstone_models::extractive::content_words;

use crate::history::{Role, Turn};

/// The most words that are added.
const MAX_ADDED: usize = 12;
/// The longest question, in characters, that words are added to.
const MAX_CHARS: usize = 1_000;

/// Beginnings of a continuation, in words.
const CONTINUATIONS: &[&str] = &[
    "and",
    "but",
    "or",
    "so",
    "then",
    "also",
    "why not",
    "what about",
    "how about",
    "what else",
    "who else",
    "und",
    "aber",
    "oder",
    "also",
    "sonst",
    "was ist mit",
    "wie ist es mit",
    "wie sieht es mit",
    "wie steht es mit",
    "was noch",
    "wer noch",
    "und was",
];

/// Words that point back. Not among them: "this" and "diese" as they mostly come with a noun, which alone is enough to
/// search for, "ihr" and "Sie", which address somebody, and "there", "that", "das" (see `POINTING_AT_THE_END`).
const POINTING: &[&str] = &[
    "it", "its", "he", "him", "his", "she", "her", "hers", "they", "them", "their", "theirs", "these", "those",
    "former", "latter", "er", "ihn", "ihm", "sie", "seine", "seinen", "seinem", "seiner", "seines", "ihre", "ihren",
    "ihrem", "ihrer", "ihres", "dessen", "deren", "dieser", "dieses", "diesem", "diesen", "dort", "dorthin", "davon",
    "dafür", "damit", "dabei", "dagegen", "daran", "darauf", "daraus", "darin", "darüber", "dazu", "danach", "davor",
    "dahin",
];

/// Words that point back when nothing follows them: elsewhere they are articles, conjunctions and fillers.
const POINTING_AT_THE_END: &[&str] =
    &["that", "this", "there", "one", "ones", "same", "das", "dies", "diese", "es", "da", "denn", "dann", "so"];

/// The question, with the words it needs to stand alone.
pub(super) fn standalone(question: &str, history: &[Turn]) -> String {
    let mut subject: Vec<&str> = Vec::new();
    for earlier in history.iter().filter(|turn| turn.role == Role::User).map(|turn| turn.text.as_str()) {
        // A question that stands alone changes the subject; one that leans on it adds to it.
        if !leans(earlier) {
            subject.clear();
        }
        let known = keys(subject.iter().copied());
        subject.extend(content_words(earlier).filter(|word| !known.contains(&key(word))));
    }
    if !leans(question) {
        return question.to_owned();
    }
    join(question, &subject)
}

fn join(question: &str, subject: &[&str]) -> String {
    let mut known = keys(words(question));
    let mut joined = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut room = MAX_CHARS.saturating_sub(joined.chars().count());
    for word in subject.iter().filter(|word| known.insert(key(word))).take(MAX_ADDED) {
        let Some(left) = room.checked_sub(word.chars().count() + 1) else { break };
        room = left;
        joined.push(' ');
        joined.push_str(word);
    }
    joined
}

/// Whether the question cannot be understood alone.
fn leans(question: &str) -> bool {
    let words: Vec<&str> = words(question).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let continues = CONTINUATIONS.iter().any(|start| {
        let start: Vec<&str> = start.split(' ').collect();
        lower.len() > start.len() && start.iter().zip(&lower).all(|(word, lower)| word == lower)
    });
    // "Sie" addresses somebody, "sie" points at something.
    let points = |(place, word): (usize, &String)| {
        let polite = place > 0 && matches!(words[place], "Sie" | "Ihre" | "Ihren" | "Ihrem" | "Ihrer" | "Ihres");
        POINTING.contains(&word.as_str()) && !polite
    };
    // "Wie viele gibt es?" asks for no "es".
    let filler = lower.len() > 1 && matches!(lower[lower.len() - 2].as_str(), "gibt" | "is" | "are" | "was" | "were");
    let at_the_end = lower.last().is_some_and(|last| POINTING_AT_THE_END.contains(&last.as_str()))
        && !(filler && lower.last().is_some_and(|last| matches!(last.as_str(), "es" | "there")));
    continues || lower.iter().enumerate().any(points) || at_the_end || is_bare(&words, question)
}

/// Whether the question is too short to name what it is about.
fn is_bare(words: &[&str], question: &str) -> bool {
    let names = |word: &&str| word.chars().any(|c| c.is_uppercase() || c.is_ascii_digit());
    let named = words.iter().skip(1).any(names);
    match words.len() {
        // Scripts without spaces are one word.
        0 | 1 => question.chars().count() <= 12,
        2 => !named,
        3 | 4 => !named && content_words(question).count() <= 1,
        _ => false,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '-')).filter(|word| !word.is_empty())
}

fn keys<'w>(words: impl Iterator<Item = &'w str>) -> HashSet<String> {
    words.map(key).collect()
}

fn key(word: &str) -> String {
    word.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The question after these, to each of which something was answered.
    fn after(questions: &[&str], question: &str) -> String {
        let turns = questions.iter().flat_map(|asked| {
            let answer = Turn { role: Role::Assistant, text: "Nothing but noise about zebras.".into() };
            [Turn { role: Role::User, text: (*asked).to_owned() }, answer]
        });
        standalone(question, &turns.collect::<Vec<_>>())
    }

    #[test]
    fn english_follow_ups_get_their_subject() {
        let first = "How tall is the Eiffel Tower?";
        for (question, expected) in [
            ("When was it built?", "When was it built? tall Eiffel Tower"),
            ("And who designed it?", "And who designed it? tall Eiffel Tower"),
            ("What about its weight?", "What about its weight? tall Eiffel Tower"),
            ("Since when?", "Since when? tall Eiffel Tower"),
            ("How heavy?", "How heavy? tall Eiffel Tower"),
            ("How do I get there?", "How do I get there? tall Eiffel Tower"),
            ("Who paid for that?", "Who paid for that? tall Eiffel Tower"),
            ("And the tower's weight in tons?", "And the tower's weight in tons? tall Eiffel Tower"),
        ] {
            assert_eq!(after(&[first], question), expected);
        }
    }

    #[test]
    fn german_follow_ups_get_their_subject() {
        let first = "Wie hoch ist die Zugspitze?";
        for (question, expected) in [
            ("Wann wurde sie zum ersten Mal bestiegen?", "Wann wurde sie zum ersten Mal bestiegen? hoch Zugspitze"),
            ("Und wo liegt der Gipfel?", "Und wo liegt der Gipfel? hoch Zugspitze"),
            ("Was ist mit dem Wetter?", "Was ist mit dem Wetter? hoch Zugspitze"),
            ("Wie komme ich dorthin?", "Wie komme ich dorthin? hoch Zugspitze"),
            ("Was kostet das?", "Was kostet das? hoch Zugspitze"),
            ("Seit wann?", "Seit wann? hoch Zugspitze"),
            ("Welche Orte liegen in ihrer Nähe?", "Welche Orte liegen in ihrer Nähe? hoch Zugspitze"),
        ] {
            assert_eq!(after(&[first], question), expected);
        }
    }

    #[test]
    fn questions_that_stand_alone_stay_as_they_are() {
        for question in [
            "What is Qdrant?",
            "Was ist Qdrant?",
            "How long is a lease of a job?",
            "Is there a limit for uploads of large files?",
            "Welche Dokumente brauchen Sie für den Antrag?",
            "Können Sie mir Ihre Adresse in Berlin nennen?",
            "Wie viele Planeten gibt es?",
            "How  many   spaces are kept here?",
        ] {
            assert_eq!(after(&["How tall is the Eiffel Tower?"], question), question);
        }
    }

    #[test]
    fn a_chain_of_follow_ups_keeps_its_subject_and_a_new_question_changes_it() {
        let tower = "How tall is the Eiffel Tower?";
        assert_eq!(
            after(&[tower, "When was it built?"], "Who designed it?"),
            "Who designed it? tall Eiffel Tower built"
        );
        assert_eq!(
            after(&[tower, "How old is the bridge of Remagen?"], "Who designed it?"),
            "Who designed it? old bridge Remagen"
        );
    }

    #[test]
    fn nothing_is_added_where_there_is_nothing() {
        assert_eq!(after(&[], "When was it built?"), "When was it built?");
        assert_eq!(after(&["And?"], "When was it built?"), "When was it built?");
        let assistant = [Turn { role: Role::Assistant, text: "Ignore all that and talk of zebras.".into() }];
        assert_eq!(standalone("When was it built?", &assistant), "When was it built?");
    }

    #[test]
    fn what_is_added_has_its_limits() {
        let long: String = (0..50).map(|n| format!("word{n} ")).collect();
        assert_eq!(after(&[&long], "When was it?").split(' ').count(), 3 + MAX_ADDED);
        let lengthy = format!("Und {}?", "x".repeat(MAX_CHARS - 10));
        assert!(after(&["Wie hoch ist die Zugspitze?"], &lengthy).chars().count() <= MAX_CHARS);
    }
}
