//! Models in order of preference: when one fails the next one answers, and never are two answers spliced.

mod attempt;
mod bill;
mod link;
mod run;
mod speaker;
mod turns;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Result};
use ragstone_resilience::Deadline;

pub use link::Provider;

use link::Link;
use run::Run;

/// How the chain treats failures.
#[derive(Debug, Clone)]
pub struct ChainPolicy {
    /// The wait before the one retry of a model that does not say how long to wait.
    pub backoff: Duration,
    /// A model that asks to wait longer than this is passed over; without a deadline also one whose own limit does.
    pub max_retry_wait: Duration,
    /// A model that took longer than this to fail is not asked again.
    pub retry_within: Duration,
    /// Time kept back before the deadline for the models that come later and for the way home.
    pub reserve: Duration,
}

impl Default for ChainPolicy {
    fn default() -> Self {
        Self {
            backoff: Duration::from_millis(100),
            max_retry_wait: Duration::from_secs(5),
            retry_within: Duration::from_secs(2),
            reserve: Duration::from_millis(500),
        }
    }
}

/// Models in order of preference, then perhaps a stand-in that needs no model.
///
/// A model that fails before its first token is asked once more where that may help, then the next one is
/// (`llm.fallback`). One that is at its limit of requests or tokens is passed over (`llm.throttled`), and waited for only
/// when no other one answers. After the first token the next model starts over (`ChatEvent::Restart`), also when one
/// writes a text that its prompt calls secret (`guard.canary`): nothing of that text is passed on.
#[derive(Clone)]
pub struct ChatChain {
    links: Arc<[Link]>,
    policy: ChainPolicy,
}

impl ChatChain {
    /// `models` in order, then `stand_in`, whose answers are marked `generation.extractive` when there were models.
    #[must_use]
    pub fn new(models: Vec<Provider>, stand_in: Option<Arc<dyn ChatModel>>, policy: ChainPolicy) -> Self {
        let proper = models.into_iter().map(|provider| Link { provider, stand_in: false });
        let last = stand_in.into_iter().map(|model| Link { provider: model.into(), stand_in: true });
        Self { links: proper.chain(last).collect(), policy }
    }

    /// Answers before `deadline`: a model that would take too long is left in time for the next one, and an answer that
    /// is not complete shortly before the deadline is ended there (`llm.stream_limit`).
    #[must_use]
    pub fn answer(&self, request: ChatRequest, deadline: Option<Deadline>) -> ChatStream {
        let run = Run::new(self.links.clone(), self.policy.clone(), request, deadline);
        stream::unfold(Some(run), |run| async {
            let mut run = run?;
            let event = run.next().await;
            let over = matches!(event, Err(_) | Ok(ChatEvent::Done { .. }));
            Some((event, (!over).then_some(run)))
        })
        .boxed()
    }
}

#[async_trait]
impl ChatModel for ChatChain {
    fn name(&self) -> &str {
        "chain"
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream> {
        Ok(self.answer(request, None))
    }
}
