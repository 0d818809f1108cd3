//! One answer of the chain, event by event.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Degraded, Error, ErrorCode, FinishReason, Result, Usage};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::ChainPolicy;
use super::attempt::{Begun, Missed, begin};
use super::bill::Bill;
use super::link::Link;
use super::turns::{Turn, Turns};
use crate::limits::exceeded;

/// The model that is answering.
struct Speaker {
    link: Link,
    first: Option<ChatEvent>,
    rest: ChatStream,
    since: Instant,
    bill: Bill,
}

/// An answer under way.
pub(super) struct Run {
    /// Whether there is no model but one: then it stands in for none.
    alone: bool,
    turns: Turns,
    policy: ChainPolicy,
    request: ChatRequest,
    /// The caller's deadline less the reserve.
    deadline: Option<Deadline>,
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
        let (alone, turns) = (links.len() == 1, Turns::new(links));
        Self { alone, turns, policy, request, deadline, speaker: None, degraded: Vec::new() }
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

    /// How long to wait for a model that is at its limit, when no other is left: half of the time is for its answer.
    fn patience(&self) -> Duration {
        self.deadline.map_or(self.policy.max_retry_wait, |deadline| deadline.remaining() / 2)
    }

    /// The first of the remaining models that begins to answer.
    async fn next_speaker(&mut self) -> Result<Speaker> {
        let mut last = None;
        while let Some(turn) = self.turns.next(self.patience()) {
            tokio::time::sleep(turn.wait).await;
            match self.ask(&turn).await {
                Ok(speaker) => return Ok(speaker),
                Err(error) => last = Some(error),
            }
        }
        let nobody = Error::unavailable("no language model answered");
        Err(match last {
            Some(error) => Error { retry_after: error.retry_after, ..nobody }.with_source(error),
            None => nobody,
        })
    }

    async fn ask(&mut self, turn: &Turn) -> Result<Speaker> {
        let link = &turn.link;
        // The stand-in is quick and has what the others left of the caller's time.
        let deadline = self.deadline.filter(|_| !link.stand_in);
        match begin(link, &self.policy, &self.request, deadline).await {
            Ok(Begun { first, rest, since, bill }) => {
                let reasons = self.turns.began(turn);
                self.mark(reasons);
                metrics::histogram!("rag_llm_first_token_seconds").record(since.elapsed());
                Ok(Speaker { link: link.clone(), first: Some(first), rest, since, bill })
            }
            Err(Missed::Limit(wait)) => {
                tracing::debug!(provider = link.name(), wait_ms = wait.as_millis(), "the model is at its limit");
                self.turns.limited(turn, wait);
                Err(exceeded(wait))
            }
            Err(Missed::Failed(error)) => {
                report(link, &error);
                let throttled = error.code == ErrorCode::RateLimited;
                self.turns.failed(turn, if throttled { Degraded::LlmThrottled } else { Degraded::LlmFallback });
                Err(error)
            }
        }
    }

    /// Notes degradations, each once.
    fn mark(&mut self, codes: Vec<Degraded>) {
        for code in codes {
            if !self.degraded.contains(&code) {
                self.degraded.push(code);
            }
        }
    }

    /// The speaker failed midway: the next model starts over, if there is one.
    fn broken_off(&mut self, error: Error) -> Result<ChatEvent> {
        if let Some(speaker) = self.speaker.take() {
            report(&speaker.link, &error);
        }
        if !self.turns.any_left() {
            return Err(error);
        }
        self.mark(vec![Degraded::LlmStreamRestarted]);
        Ok(ChatEvent::Restart { degraded: Degraded::LlmStreamRestarted })
    }

    fn done(&mut self, model: String, usage: Usage, finish: FinishReason, own: Vec<Degraded>) -> ChatEvent {
        if let Some(speaker) = &mut self.speaker {
            speaker.bill.pay(usage);
            let latency = metrics::histogram!("rag_llm_latency_seconds", "provider" => speaker.link.name().to_owned());
            latency.record(speaker.since.elapsed());
            // Alone it is what was configured, not a stand-in.
            if speaker.link.stand_in && !self.alone {
                self.degraded.push(Degraded::GenerationExtractive);
            }
        }
        let mut degraded = std::mem::take(&mut self.degraded);
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
            self.bill.wrote(text.len());
        }
        event
    }

    /// The end of an answer for which the time ran out.
    fn cut(&self) -> ChatEvent {
        ChatEvent::Done {
            model: self.link.name().to_owned(),
            usage: self.bill.estimate(),
            finish: FinishReason::Length,
            degraded: vec![Degraded::LlmStreamLimit],
        }
    }
}

/// A model's failure, for the operator. One that is configured wrongly will never answer: that is an error.
fn report(link: &Link, error: &Error) {
    let (provider, code) = (link.name(), error.code.as_str());
    if error.code == ErrorCode::Internal {
        tracing::error!(provider, code, error = error.chain(), "the model refuses what is configured");
    } else {
        tracing::warn!(provider, code, error = error.chain(), "the model failed");
    }
    metrics::counter!("rag_errors_total", "type" => format!("llm_{code}")).increment(1);
}
