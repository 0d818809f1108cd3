//! The parts of a streamed chat completion that matter, read leniently: servers leave out what they do not know.

use serde::Deserialize;
use serde_json::Value;

/// One server-sent event.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    /// Token counts; in the last event, if at all.
    pub(super) usage: Option<Counts>,
    /// Some servers report a failure midway as an event.
    pub(super) error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

/// Token counts as the server reports them.
#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    pub(super) prompt_tokens: u32,
    #[serde(default)]
    pub(super) completion_tokens: u32,
}

impl Chunk {
    /// New text, perhaps empty, and why the model stopped, if it did.
    pub(super) fn into_first_choice(self) -> (String, Option<String>) {
        let Some(choice) = self.choices.into_iter().next() else { return (String::new(), None) };
        (choice.delta.and_then(|delta| delta.content).unwrap_or_default(), choice.finish_reason)
    }
}
