//! The model that is answering: its events, watched for the texts at which it ends and for those it must not tell.

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatStream, Degraded, Error, FinishReason, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::bill::Bill;
use super::link::Link;
use super::watch::{Seen, Watch};

/// The model that is answering.
pub(super) struct Speaker {
    pub(super) link: Link,
    pub(super) first: Option<ChatEvent>,
    pub(super) rest: ChatStream,
    /// When it was asked.
    pub(super) since: Instant,
    pub(super) bill: Bill,
    pub(super) watch: Watch,
    /// What comes after the text that was passed on last.
    pub(super) then: Option<ChatEvent>,
}

/// Why a model's answer is of no use.
pub(super) enum Broken {
    /// It failed midway.
    Failed(Error),
    /// It wrote what it must not tell.
    Leaked,
}

impl Speaker {
    /// The next event.
    pub(super) async fn next(&mut self, deadline: Option<Deadline>) -> Result<ChatEvent, Broken> {
        loop {
            if let Some(event) = self.then.take() {
                return Ok(event);
            }
            let (seen, end) = match self.hear(deadline).await.map_err(Broken::Failed)? {
                ChatEvent::Delta(text) => (self.watch.push(&text), None),
                end @ ChatEvent::Done { .. } => (self.watch.finish(), Some(end)),
                restart @ ChatEvent::Restart { .. } => return Ok(restart),
            };
            let (text, then) = match seen {
                Seen::Text(text) => (text, end),
                Seen::Stopped(text) => (text, end.or_else(|| Some(self.end(FinishReason::Stop, Vec::new())))),
                Seen::Leaked => return Err(Broken::Leaked),
            };
            self.then = then;
            if !text.is_empty() {
                return Ok(ChatEvent::Delta(text));
            }
        }
    }

    /// What the model itself says next.
    async fn hear(&mut self, deadline: Option<Deadline>) -> Result<ChatEvent> {
        let event = match (self.first.take(), deadline) {
            (Some(first), _) => Some(Ok(first)),
            (None, None) => self.rest.next().await,
            (None, Some(deadline)) => {
                let left = deadline.remaining();
                match tokio::time::timeout(left, self.rest.next()).await {
                    Ok(event) => event,
                    Err(_) => Some(Ok(self.end(FinishReason::Length, vec![Degraded::LlmStreamLimit]))),
                }
            }
        };
        let event = event.unwrap_or_else(|| Err(Error::unavailable("the model's stream ended without an end")));
        if let Ok(ChatEvent::Delta(text)) = &event {
            self.bill.wrote(text.len());
        }
        event
    }

    /// The end of an answer that the model did not end itself.
    fn end(&self, finish: FinishReason, degraded: Vec<Degraded>) -> ChatEvent {
        ChatEvent::Done { model: self.link.name().to_owned(), usage: self.bill.estimate(), finish, degraded }
    }
}
