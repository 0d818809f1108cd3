//! What a model is asked, what it streams back, and what an answer cites.

use futures::stream::BoxStream;

use crate::{Degraded, DocumentId, Result};

/// A passage given to a model; its place in the list, from 1, is the marker an answer cites.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Where it comes from.
    pub document_id: DocumentId,
    /// Which chunk of that document.
    pub chunk_index: u32,
    /// The document's title.
    pub title: String,
    /// The text.
    pub content: String,
    /// The search's score.
    pub score: f32,
}

/// A rendered, versioned prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Template and version, for example `answer/2`.
    pub version: String,
    /// The system role's text.
    pub system: String,
    /// The user role's text: history, passages and question, each in a nonce-delimited block.
    pub user: String,
    /// What no answer may contain: the blocks' nonce and the canary of the system role's text.
    pub secrets: Vec<String>,
}

/// What a chat model gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The caller's question.
    pub question: String,
    /// What the answer may draw on, best first.
    pub passages: Vec<Passage>,
    /// The same as a prompt, for models that read one.
    pub prompt: Prompt,
    /// The most tokens to write.
    pub max_tokens: u32,
    /// Sampling temperature, 0 to 2.
    pub temperature: f32,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
    /// The same seed may give the same answer, where the model knows seeds.
    pub seed: Option<i64>,
}

/// Tokens counted by the model, or estimated where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// It reached a limit of tokens, bytes or time.
    Length,
}

/// One step of a streamed answer. A stream ends with `Done` or with an error, never silently.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// More text.
    Delta(String),
    /// Forget the text so far: another model starts over.
    Restart {
        /// Why.
        degraded: Degraded,
    },
    /// The end.
    Done {
        /// Which model wrote the answer.
        model: String,
        /// What it cost.
        usage: Usage,
        /// Why it stopped.
        finish: FinishReason,
        /// In what ways this is less than what was configured.
        degraded: Vec<Degraded>,
    },
}

/// A stream of events; dropping it cancels the work behind it.
pub type ChatStream = BoxStream<'static, Result<ChatEvent>>;

/// A marker `[n]` of an answer, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Citation {
    /// The `n` of `[n]`: a place in the contexts, from 1.
    pub marker: u32,
    /// The cited document.
    pub document_id: DocumentId,
    /// The cited chunk.
    pub chunk_index: u32,
    /// The words of the passage that the answer rests on.
    pub quote: String,
    /// The passage's search score.
    pub score: f32,
}
