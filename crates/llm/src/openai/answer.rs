//! An answer as it streams in: limits of tokens, bytes, silence and time, and a definite end.

use std::time::Duration;

use async_openai::types::stream::StreamResponse;
use futures::{StreamExt, stream};
use ragstone_core::{ChatEvent, ChatStream, Degraded, Error, FinishReason, Result, Usage};
use tokio::time::{Instant, timeout_at};

use super::chunk::Chunk;
use super::transport;
use crate::ProviderConfig;

/// How long the token counts may take after the text has ended.
const USAGE_WAIT: Duration = Duration::from_millis(500);

/// A rough number of bytes in a token, where the server does not count.
const TOKEN_BYTES: usize = 4;

/// How long and how slow an answer may be.
pub(super) struct Limits {
    /// The first token must be there by then.
    pub(super) first_token: Instant,
    /// All of it must.
    total: Instant,
    idle: Duration,
    bytes: usize,
    tokens: usize,
}

impl Limits {
    pub(super) fn new(config: &ProviderConfig, max_tokens: u32, now: Instant) -> Self {
        Self {
            first_token: now + config.first_token_timeout(),
            total: now + config.total_timeout(),
            idle: config.idle_timeout(),
            bytes: config.max_answer_bytes,
            tokens: max_tokens as usize,
        }
    }
}

/// An answer under way.
pub(super) struct Answer {
    chunks: StreamResponse<Chunk>,
    limits: Limits,
    model: String,
    usage: Option<Usage>,
    bytes_read: usize,
    bytes: usize,
    /// Pieces of text so far. A piece is at least one token.
    tokens: usize,
    last_heard: Instant,
    finish: Option<(FinishReason, Instant)>,
    cut: bool,
}

impl Answer {
    pub(super) fn new(chunks: StreamResponse<Chunk>, limits: Limits, model: String, bytes_read: usize) -> Self {
        let last_heard = Instant::now();
        let (usage, finish) = (None, None);
        Self { chunks, limits, model, usage, bytes_read, bytes: 0, tokens: 0, last_heard, finish, cut: false }
    }

    /// Its events; after the last one the connection is let go.
    pub(super) fn into_stream(self) -> ChatStream {
        stream::unfold(Some(self), |answer| async {
            let mut answer = answer?;
            let event = answer.next().await;
            let over = !matches!(event, Ok(ChatEvent::Delta(_)));
            Some((event, (!over).then_some(answer)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<ChatEvent> {
        loop {
            if self.cut {
                return Ok(self.limited());
            }
            if self.finish.is_some() && (self.usage.is_some() || self.tokens == 0) {
                return self.ended();
            }
            let chunk = match timeout_at(self.patience(), self.chunks.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) if self.finish.is_none() => return Err(transport::error(error)),
                Ok(None | Some(Err(_))) => return self.ended(),
                Err(_) if self.finish.is_some() => return self.ended(),
                Err(_) if self.tokens == 0 => return Err(too_slow()),
                Err(_) => return Ok(self.limited()),
            };
            if let Some(text) = self.take(chunk)? {
                return Ok(ChatEvent::Delta(text));
            }
        }
    }

    /// Until when to wait for the next chunk.
    fn patience(&self) -> Instant {
        match self.finish {
            Some((_, since)) => since + USAGE_WAIT,
            None if self.tokens == 0 => self.limits.first_token,
            None => self.limits.total.min(self.last_heard + self.limits.idle),
        }
    }

    /// Takes a chunk in; its text, if it has any that still counts.
    fn take(&mut self, mut chunk: Chunk) -> Result<Option<String>> {
        self.last_heard = Instant::now();
        if chunk.error.is_some() && self.finish.is_none() {
            return Err(Error::unavailable("the model's server reported a failure midway"));
        }
        if let Some(counts) = chunk.usage.take() {
            let (prompt_tokens, completion_tokens) = (counts.prompt_tokens, counts.completion_tokens);
            // Zeros are what a server says that does not count.
            if prompt_tokens > 0 || completion_tokens > 0 {
                self.usage = Some(Usage { prompt_tokens, completion_tokens });
            }
        }
        let (mut text, reason) = chunk.into_first_choice();
        if self.finish.is_some() {
            return Ok(None);
        }
        if let Some(reason) = reason {
            let incomplete = matches!(reason.as_str(), "length" | "content_filter");
            let finish = if incomplete { FinishReason::Length } else { FinishReason::Stop };
            self.finish = Some((finish, self.last_heard));
        }
        if text.is_empty() {
            return Ok(None);
        }
        let room = if self.tokens < self.limits.tokens { self.limits.bytes - self.bytes } else { 0 };
        if text.len() > room {
            text.truncate(text.floor_char_boundary(room));
            self.cut = true;
        }
        self.tokens += 1;
        self.bytes += text.len();
        Ok((!text.is_empty()).then_some(text))
    }

    /// The stream is over: well, if the model said that it had finished and wrote something.
    fn ended(&mut self) -> Result<ChatEvent> {
        match self.finish {
            None => Err(Error::unavailable("the model's stream broke off")),
            Some(_) if self.tokens == 0 => Err(Error::unavailable("the model's answer is empty")),
            Some((finish, _)) => Ok(self.done(finish, Vec::new())),
        }
    }

    fn limited(&mut self) -> ChatEvent {
        self.done(FinishReason::Length, vec![Degraded::LlmStreamLimit])
    }

    fn done(&mut self, finish: FinishReason, degraded: Vec<Degraded>) -> ChatEvent {
        let estimate = |bytes: usize| u32::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX);
        let counted = self.usage.take().unwrap_or_default();
        let or_estimate = |counted, bytes| if counted > 0 { counted } else { estimate(bytes) };
        let usage = Usage {
            prompt_tokens: or_estimate(counted.prompt_tokens, self.bytes_read),
            completion_tokens: or_estimate(counted.completion_tokens, self.bytes),
        };
        ChatEvent::Done { model: std::mem::take(&mut self.model), usage, finish, degraded }
    }
}

/// No token in time.
pub(super) fn too_slow() -> Error {
    Error::unavailable("the model wrote nothing in time")
}
