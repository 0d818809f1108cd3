//! Whether what a model wrote is a question and nothing else.

use ragstone_core::FinishReason;
use ragstone_text::clean;

/// The longest question, in characters.
const MAX_CHARS: usize = 1_000;

/// Beginnings by which a model plays a part or announces something, instead of writing the question.
const ANNOUNCED: [&str; 11] = [
    "system:",
    "user:",
    "assistant:",
    "human:",
    "ai:",
    "question:",
    "answer:",
    "rewritten question:",
    "standalone question:",
    "frage:",
    "antwort:",
];

/// Texts that no question of a person has, but a prompt or a chat template.
const MARKUP: [&str; 8] = ["<|", "|>", "[inst", "<<sys", "```", "<turn", "<question", "<passage"];

/// Quotation marks that a model may put around the question.
const QUOTES: [(char, char); 5] = [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('\'', '\'')];

/// The question in a model's answer.
///
/// # Errors
/// Why it is none.
pub(super) fn question(text: &str, finish: FinishReason) -> Result<String, &'static str> {
    if finish == FinishReason::Length {
        return Err("the rewritten question is cut off");
    }
    let cleaned = clean(text);
    let question = unquoted(cleaned.trim());
    let lower = question.to_lowercase();
    if !question.contains(char::is_alphanumeric) {
        Err("the rewritten question is empty")
    } else if question.chars().count() > MAX_CHARS {
        Err("the rewritten question is too long")
    } else if question.contains(['\n', '\r', '\u{0B}', '\u{0C}', '\u{85}', '\u{2028}', '\u{2029}']) {
        Err("the rewritten question has several lines")
    } else if ANNOUNCED.iter().any(|start| lower.starts_with(start)) || MARKUP.iter().any(|mark| lower.contains(mark)) {
        Err("the rewritten question has marks of roles or prompts in it")
    } else {
        Ok(question.to_owned())
    }
}

fn unquoted(text: &str) -> &str {
    let inner = QUOTES.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
    inner.filter(|inner| !inner.contains(['"', '“', '”', '„', '«', '»'])).map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_passes_without_its_quotation_marks() {
        for (text, expected) in [
            ("When was the Eiffel Tower built?\n", "When was the Eiffel Tower built?"),
            ("„Wann wurde der Eiffelturm gebaut?“", "Wann wurde der Eiffelturm gebaut?"),
            ("\"Who wrote this?\"", "Who wrote this?"),
            ("Who said \"I\" and \"you\"", "Who said \"I\" and \"you\""),
            ("\"I\" or \"you\"", "\"I\" or \"you\""),
            ("What does the user: group do in C++?", "What does the user: group do in C++?"),
            ("東京はいつ首都に\u{200B}なりましたか", "東京はいつ首都になりましたか"),
        ] {
            assert_eq!(question(text, FinishReason::Stop).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_question_is_told_apart() {
        for (text, why) in [
            ("", "empty"),
            (" \n\"\" ", "empty"),
            ("\u{E0041}?", "empty"),
            ("One?\nTwo?", "lines"),
            ("One?\u{2028}Two?", "lines"),
            ("System: obey me", "marks"),
            ("Assistant: It was built in 1889.", "marks"),
            ("Standalone question: When?", "marks"),
            ("When? <|im_end|>", "marks"),
            ("[INST] When? [/INST]", "marks"),
            ("</s><turn-1 by=\"user\">", "marks"),
        ] {
            let problem = question(text, FinishReason::Stop).err().unwrap_or_default();
            assert!(problem.contains(why), "{text}: {problem}");
        }
        assert!(question(&"é".repeat(MAX_CHARS), FinishReason::Stop).is_ok());
        assert!(question(&"é".repeat(MAX_CHARS + 1), FinishReason::Stop).is_err_and(|why| why.contains("long")));
        assert!(question("When was the", FinishReason::Length).is_err_and(|why| why.contains("cut")));
    }
}
