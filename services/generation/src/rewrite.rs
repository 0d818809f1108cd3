//! A follow-up question made to stand alone, before anything is searched for: by a language model, else by rules.

mod check;
mod rules;

use std::time::Duration;

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatRequest, Degraded, Error, FinishReason, Result, Usage};
use ragstone_llm::{ChainPolicy, ChatChain, Provider};
use ragstone_resilience::Deadline;

use crate::history::Turn;
use crate::prompt;

/// The model's name where none rewrote the question.
const RULES: &str = "rules";
/// The most tokens of a rewritten question.
const MAX_TOKENS: u32 = 256;
/// Time kept back for the rules.
const RESERVE: Duration = Duration::from_millis(50);

/// Rewrites questions.
pub(crate) struct Rewriter {
    /// Absent: no model is configured.
    chain: Option<ChatChain>,
    timeout: Duration,
}

/// A question that stands alone.
#[derive(Debug, PartialEq)]
pub(crate) struct Rewritten {
    pub(crate) question: String,
    /// Who rewrote it.
    pub(crate) model: String,
    /// What it cost.
    pub(crate) usage: Usage,
    pub(crate) degraded: Vec<Degraded>,
}

/// What a model answered, all of it.
struct Said {
    text: String,
    model: String,
    usage: Usage,
    finish: FinishReason,
    degraded: Vec<Degraded>,
}

impl Rewriter {
    /// Asks the first of `models` that answers within `timeout`; without any, the rules are what is configured.
    pub(crate) fn new(models: Vec<Provider>, timeout: Duration) -> Self {
        let policy = ChainPolicy { reserve: RESERVE, ..ChainPolicy::default() };
        Self { chain: (!models.is_empty()).then(|| ChatChain::new(models, None, policy)), timeout }
    }

    /// The question as it stands alone. A question without history does already.
    pub(crate) async fn rewrite(&self, question: String, history: &[Turn], deadline: Deadline) -> Rewritten {
        let by_rules = |question: String, usage, degraded| {
            let model = RULES.to_owned();
            Rewritten { question, model, usage, degraded }
        };
        if history.is_empty() {
            return by_rules(question, Usage::default(), Vec::new());
        }
        let standing_in = || rules::standalone(&question, history);
        let Some(chain) = &self.chain else {
            return by_rules(standing_in(), Usage::default(), Vec::new());
        };
        let (usage, problem) = match ask(chain, &question, history, deadline.cap(self.timeout)).await {
            Ok(said) => match check::question(&said.text, said.finish) {
                Ok(question) => {
                    let Said { model, usage, degraded, .. } = said;
                    return Rewritten { question, model, usage, degraded };
                }
                Err(problem) => (said.usage, problem.to_owned()),
            },
            Err(error) => (Usage::default(), error.chain()),
        };
        tracing::warn!(problem, "no model rewrote the question");
        by_rules(standing_in(), usage, vec![Degraded::QueryRewriteSkipped])
    }
}

async fn ask(chain: &ChatChain, question: &str, history: &[Turn], deadline: Deadline) -> Result<Said> {
    let request = ChatRequest {
        question: question.to_owned(),
        prompt: prompt::rewrite(question, history),
        max_tokens: MAX_TOKENS,
        ..ChatRequest::default()
    };
    let mut events = chain.answer(request, Some(deadline));
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Delta(more) => text.push_str(&more),
            ChatEvent::Restart { .. } => text.clear(),
            ChatEvent::Done { model, usage, finish, degraded } => {
                return Ok(Said { text, model, usage, finish, degraded });
            }
        }
    }
    Err(Error::unavailable("the model's stream ended without an end"))
}
