//! What a request asks for, checked.

use std::time::Duration;

use ragstone_core::{ChatRequest, DocumentId, Error, Passage, Result};
use ragstone_proto::v1;
use ragstone_text::clean;

use crate::history::{Budget, Turn, recent};
use crate::{Config, prompt};

/// The most passages of one request.
const MAX_PASSAGES: usize = 100;
/// The most texts that an answer may end at, as OpenAI has it.
const MAX_STOPS: usize = 4;
/// The longest of them, in characters.
const MAX_STOP_CHARS: usize = 64;

/// What a request may ask for, and what it gets where it does not say.
pub(crate) struct Limits {
    max_tokens: u32,
    max_tokens_limit: u32,
    temperature: f32,
    history: Budget,
    pub(crate) timeout: Duration,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            max_tokens: config.max_tokens,
            max_tokens_limit: config.max_tokens_limit,
            temperature: config.temperature,
            history: Budget { turns: config.history_turns, tokens: config.history_tokens },
            timeout: config.request_timeout(),
        }
    }
}

impl Limits {
    /// What the models get for a request.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field.
    pub(crate) fn chat_request(&self, request: v1::GenerateRequest) -> Result<ChatRequest> {
        let question = question(&request.question)?;
        if request.passages.len() > MAX_PASSAGES {
            let count = request.passages.len();
            return Err(Error::invalid(format!("{count} passages are too many: {MAX_PASSAGES} at most")));
        }
        if request.max_tokens > self.max_tokens_limit {
            return Err(Error::invalid(format!("max_tokens must be at most {}", self.max_tokens_limit)));
        }
        let temperature = request.temperature.unwrap_or(self.temperature);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(Error::invalid("temperature must be 0 to 2"));
        }
        check_stop(&request.stop)?;
        let history = recent(request.history, self.history)?;
        let passages = request.passages.into_iter().map(passage).collect::<Result<Vec<_>>>()?;
        Ok(ChatRequest {
            prompt: prompt::answer(&question, &passages, &history),
            question,
            passages,
            max_tokens: if request.max_tokens == 0 { self.max_tokens } else { request.max_tokens },
            temperature,
            stop: request.stop,
            seed: request.seed,
        })
    }

    /// The question to be rewritten and what was said before it.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field.
    pub(crate) fn follow_up(&self, request: v1::RewriteRequest) -> Result<(String, Vec<Turn>)> {
        Ok((question(&request.question)?, recent(request.history, self.history)?))
    }
}

fn question(text: &str) -> Result<String> {
    let question = clean(text);
    if question.trim().is_empty() {
        return Err(Error::invalid("field 'question' is missing"));
    }
    Ok(question)
}

fn check_stop(stop: &[String]) -> Result<()> {
    if stop.len() > MAX_STOPS {
        return Err(Error::invalid(format!("{} stop texts are too many: {MAX_STOPS} at most", stop.len())));
    }
    if stop.iter().any(|text| text.is_empty() || text.chars().count() > MAX_STOP_CHARS) {
        return Err(Error::invalid(format!("a stop text must have 1 to {MAX_STOP_CHARS} characters")));
    }
    Ok(())
}

fn passage(passage: v1::GenerationPassage) -> Result<Passage> {
    Ok(Passage {
        document_id: DocumentId::new(passage.document_id)?,
        chunk_index: passage.chunk_index,
        title: passage.title,
        content: passage.content,
        score: passage.score,
    })
}
