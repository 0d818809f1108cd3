//! One answer of the chain, event by event.

use std::sync::Arc;
use std::time::Duration;

use ragstone_core::{ChatEvent, ChatRequest, Degraded, Error, ErrorCode, FinishReason, Result, Usage};
use ragstone_resilience::Deadline;

use super::ChainPolicy;
use super::attempt::{Begun, Missed, begin};
use super::link::Link;
use super::speaker::{Broken, Speaker};
use super::turns::{Turn, Turns};
use super::watch::Watch;
use crate::limits::exceeded;

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
            Err(broken) => return self.broken_off(broken),
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
                let watch = Watch::new(&self.request.prompt.secrets, &self.request.stop);
                Ok(Speaker { link: link.clone(), first: Some(first), rest, since, bill, watch, then: None })
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

    /// The speaker's text is of no use: the next model starts over, if there is one.
    fn broken_off(&mut self, broken: Broken) -> Result<ChatEvent> {
        let speaker = self.speaker.take();
        let (error, degraded) = match broken {
            Broken::Failed(error) => {
                speaker.iter().for_each(|speaker| report(&speaker.link, &error));
                (error, Degraded::LlmStreamRestarted)
            }
            Broken::Leaked => {
                speaker.iter().for_each(|speaker| report_leak(&speaker.link));
                (Error::unavailable("the model wrote out its instructions"), Degraded::GuardCanary)
            }
        };
        if !self.turns.any_left() {
            return Err(error);
        }
        self.mark(vec![degraded]);
        Ok(ChatEvent::Restart { degraded })
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

/// A model told what it must not, which somebody probably talked it into.
fn report_leak(link: &Link) {
    let code = Degraded::GuardCanary.as_str();
    tracing::warn!(provider = link.name(), code, "the model wrote out its instructions");
    metrics::counter!("rag_errors_total", "type" => "guard_canary").increment(1);
}
