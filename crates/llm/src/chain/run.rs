//! One answer of the chain, event by event.

use std::sync::Arc;

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Degraded, Error, ErrorCode, FinishReason, Result, Usage};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::attempt::{Begun, begin};
use super::{ChainPolicy, Link};

/// A rough number of bytes in a token, where a model was cut off before it counted.
const TOKEN_BYTES: usize = 4;

/// The model that is answering.
struct Speaker {
    link: Link,
    first: Option<ChatEvent>,
    rest: ChatStream,
    since: Instant,
    bytes: usize,
}

/// An answer under way.
pub(super) struct Run {
    links: Arc<[Link]>,
    policy: ChainPolicy,
    request: ChatRequest,
    /// The caller's deadline less the reserve.
    deadline: Option<Deadline>,
    next: usize,
    speaker: Option<Speaker>,
    degraded: Vec<Degraded>,
}

impl Run {
    pub(super) fn new(
        links: Arc<[Link]>,
        policy: ChainPolicy,
        request: ChatRequest,
        deadline: Option<Deadline>,
    ) -> Self {
        let deadline = deadline.map(|deadline| {
            let left = deadline.remaining();
            Deadline::after(left - policy.reserve.min(left / 4))
        });
        Self { links, policy, request, deadline, next: 0, speaker: None, degraded: Vec::new() }
    }

    /// The next event; after an error or `Done` there is none.
    pub(super) async fn next(&mut self) -> Result<ChatEvent> {
        let speaker = match &mut self.speaker {
            Some(speaker) => speaker,
            None => {
                let speaker = self.next_speaker().await?;
                self.speaker.insert(speaker)
            }
        };
        let event = match speaker.next(self.deadline).await {
            Ok(event) => event,
            Err(error) => return self.broken_off(error),
        };
        Ok(match event {
            ChatEvent::Done { model, usage, finish, degraded } => self.done(model, usage, finish, degraded),
            other => other,
        })
    }

    /// The first of the remaining models that begins to answer.
    async fn next_speaker(&mut self) -> Result<Speaker> {
        let mut last = None;
        while let Some(link) = self.links.get(self.next).cloned() {
            self.next += 1;
            // The stand-in is quick and has what the others left of the caller's time.
            let deadline = self.deadline.filter(|_| !link.stand_in);
            match begin(&link, &self.policy, &self.request, deadline).await {
                Ok(Begun { first, rest, since }) => {
                    if self.next > 1 && last.is_some() && !link.stand_in {
                        self.degraded.push(Degraded::LlmFallback);
                    }
                    metrics::histogram!("rag_llm_first_token_seconds").record(since.elapsed());
                    return Ok(Speaker { link, first: Some(first), rest, since, bytes: 0 });
                }
                Err(error) => {
                    report(&link, &error);
                    last = Some(error);
                }
            }
        }
        let nobody = Error::unavailable("no language model answered");
        Err(match last {
            Some(error) => Error { retry_after: error.retry_after, ..nobody }.with_source(error),
            None => nobody,
        })
    }

    /// The speaker failed midway: the next model starts over, if there is one.
    fn broken_off(&mut self, error: Error) -> Result<ChatEvent> {
        if let Some(speaker) = self.speaker.take() {
            report(&speaker.link, &error);
        }
        if self.next == self.links.len() {
            return Err(error);
        }
        let degraded = Degraded::LlmStreamRestarted;
        if !self.degraded.contains(&degraded) {
            self.degraded.push(degraded);
        }
        Ok(ChatEvent::Restart { degraded })
    }

    fn done(&mut self, model: String, usage: Usage, finish: FinishReason, own: Vec<Degraded>) -> ChatEvent {
        let mut degraded = std::mem::take(&mut self.degraded);
        if let Some(speaker) = &self.speaker {
            speaker.count(usage);
            // Alone it is what was configured, not a stand-in.
            if speaker.link.stand_in && self.links.len() > 1 {
                degraded.push(Degraded::GenerationExtractive);
            }
        }
        degraded.extend(own);
        ChatEvent::Done { model, usage, finish, degraded }
    }
}

impl Speaker {
    async fn next(&mut self, deadline: Option<Deadline>) -> Result<ChatEvent> {
        let event = match (self.first.take(), deadline) {
            (Some(first), _) => Some(Ok(first)),
            (None, None) => self.rest.next().await,
            (None, Some(deadline)) => {
                let left = deadline.remaining();
                match tokio::time::timeout(left, self.rest.next()).await {
                    Ok(event) => event,
                    Err(_) => Some(Ok(self.cut())),
                }
            }
        };
        let event = event.unwrap_or_else(|| Err(Error::unavailable("the model's stream ended without an end")));
        if let Ok(ChatEvent::Delta(text)) = &event {
            self.bytes += text.len();
        }
        event
    }

    /// The end of an answer for which the time ran out.
    fn cut(&self) -> ChatEvent {
        let completion_tokens = u32::try_from(self.bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX);
        ChatEvent::Done {
            model: self.link.model.name().to_owned(),
            usage: Usage { prompt_tokens: 0, completion_tokens },
            finish: FinishReason::Length,
            degraded: vec![Degraded::LlmStreamLimit],
        }
    }

    fn count(&self, usage: Usage) {
        let provider = self.link.model.name().to_owned();
        metrics::histogram!("rag_llm_latency_seconds", "provider" => provider.clone()).record(self.since.elapsed());
        for (kind, tokens) in [("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)] {
            let counter = metrics::counter!("rag_tokens_total", "provider" => provider.clone(), "kind" => kind);
            counter.increment(u64::from(tokens));
        }
    }
}

/// A model's failure, for the operator. One that is configured wrongly will never answer: that is an error.
fn report(link: &Link, error: &Error) {
    let (provider, code) = (link.model.name(), error.code.as_str());
    if error.code == ErrorCode::Internal {
        tracing::error!(provider, code, error = error.chain(), "the model refuses what is configured");
    } else {
        tracing::warn!(provider, code, error = error.chain(), "the model failed");
    }
    metrics::counter!("rag_errors_total", "type" => format!("llm_{code}")).increment(1);
}
