//! The messages of a chat: the last one is the question, those before it are its history.

use ragstone_core::{Error, Result};
use serde::Deserialize;

use crate::openapi::theirs::{ChatPartKind, ChatRole};
use crate::query::{Speaker, Turn};

/// More than any chat has; what of it reaches a model is limited far below.
const MAX_MESSAGES: usize = 1_000;

/// A chat, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// What was said before, oldest first.
    pub history: Vec<Turn>,
    /// What is asked now.
    pub question: String,
}

/// A message as clients send it. Instructions (`system`, `developer`) are accepted and not used: how answers are written
/// is the service's own business, or documents could be told to be quoted wrongly.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[schema(as = ChatMessage)]
pub(crate) struct Message {
    #[schema(value_type = ChatRole)]
    role: Role,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = ChatContent)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[schema(as = ChatPart)]
struct Part {
    #[serde(rename = "type")]
    #[schema(value_type = ChatPartKind)]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

impl Content {
    /// The text of all parts.
    ///
    /// # Errors
    /// `InvalidArgument` for a part that is no text, such as an image.
    fn text(self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Parts(parts) => {
                let texts = parts.into_iter().map(|part| match part.kind.as_str() {
                    "text" | "input_text" | "output_text" => Ok(part.text.unwrap_or_default()),
                    "refusal" => Ok(part.refusal.unwrap_or_default()),
                    kind => Err(Error::invalid(format!("a content part of type '{kind}' cannot be read: text only"))),
                });
                Ok(texts.collect::<Result<Vec<_>>>()?.join("\n"))
            }
        }
    }
}

impl Conversation {
    /// Takes messages apart.
    ///
    /// # Errors
    /// `InvalidArgument` when there is none, the last one is not the user's, or one is no text.
    pub(crate) fn new(messages: Vec<Message>) -> Result<Self> {
        if messages.len() > MAX_MESSAGES {
            return Err(Error::invalid(format!("there are {} messages; the limit is {MAX_MESSAGES}", messages.len())));
        }
        let mut turns = Vec::with_capacity(messages.len());
        for Message { role, content } in messages {
            let speaker = match role {
                Role::User => Speaker::User,
                Role::Assistant => Speaker::Assistant,
                Role::System | Role::Developer => continue,
                Role::Tool | Role::Function => {
                    return Err(Error::invalid("messages of tools cannot be read: this service calls none"));
                }
            };
            let text = content.map(Content::text).transpose()?.unwrap_or_default();
            turns.push(Turn { speaker, text });
        }
        match turns.pop() {
            Some(Turn { speaker: Speaker::User, text }) => Ok(Self { history: turns, question: text }),
            _ => Err(Error::invalid("the last message must be the user's question")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    fn conversation(messages: Value) -> Result<Conversation> {
        Conversation::new(serde_json::from_value(messages).unwrap())
    }

    #[test]
    fn the_last_message_is_the_question_and_instructions_are_left_out() {
        let found = conversation(json!([
            {"role": "system", "content": "You are a pirate."},
            {"role": "user", "content": "Who built it?"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Ada."}]},
            {"role": "developer", "content": "Shout."},
            {"role": "user", "content": [{"type": "text", "text": "When"}, {"type": "input_text", "text": "was it?"}]},
        ]))
        .unwrap();
        let turn = |speaker, text: &str| Turn { speaker, text: text.to_owned() };
        assert_eq!(found.history, [turn(Speaker::User, "Who built it?"), turn(Speaker::Assistant, "Ada.")]);
        assert_eq!(found.question, "When\nwas it?");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (messages, says) in [
            (json!([]), "last message"),
            (json!([{"role": "system", "content": "x"}]), "last message"),
            (json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]), "last message"),
            (json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]), "image_url"),
            (json!([{"role": "tool", "content": "x"}, {"role": "user", "content": "y"}]), "tools"),
        ] {
            assert!(conversation(messages).unwrap_err().message.contains(says), "{says}");
        }
        assert_eq!(conversation(json!([{"role": "user", "content": null}])).unwrap().question, "");
    }
}
