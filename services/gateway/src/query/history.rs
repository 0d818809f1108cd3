//! What was said before a question, and the question made to stand alone: it is searched for without the conversation.

use std::time::Duration;

use ragstone_core::{Result, Usage};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use super::Trail;
use super::input::Question;
use crate::app::App;
use crate::backends::failed;

/// The generation service asks a model for a shorter time, and then goes by rules.
/// More than the generation service tells a model of.
const MAX_TURNS: usize = 20;
const MAX_TURN_CHARS: usize = 8_000;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The person or program that asks.
    User,
    /// The answers so far.
    Assistant,
}

/// Something said earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// By whom.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// The newest turns, as many as a model is told of at most, each no longer than it would be told of: no more than this is
/// judged and sent.
pub(super) fn newest(mut history: Vec<Turn>) -> Vec<Turn> {
    history.drain(..history.len().saturating_sub(MAX_TURNS));
    for turn in &mut history {
        if let Some((end, _)) = turn.text.char_indices().nth(MAX_TURN_CHARS) {
            turn.text.truncate(end);
        }
    }
    history
}

/// As the generation service takes them.
pub(super) fn turns(history: &[Turn]) -> Vec<v1::Turn> {
    let turn = |turn: &Turn| {
        let role = match turn.speaker {
            Speaker::User => v1::TurnRole::User,
            Speaker::Assistant => v1::TurnRole::Assistant,
        };
        v1::Turn { role: role.into(), text: turn.text.clone() }
    };
    history.iter().map(turn).collect()
}

/// The question as it can be understood without what was said before, and what finding that out cost. Where nothing was, it stays as it is.
///
/// # Errors
/// What the generation service says of a conversation it cannot read, or that it is gone: the words alone would find
/// something else.
#[tracing::instrument(name = "rewrite", skip_all, fields(turns = question.history.len()))]
pub(super) async fn standalone(
    app: &App,
    question: &Question,
    deadline: Deadline,
    trail: &mut Trail,
) -> Result<(String, Usage)> {
    let text = question.search.text.clone();
    if question.history.is_empty() {
        return Ok((text, Usage::default()));
    }
    let share = deadline.cap(TIMEOUT);
    let message = v1::RewriteRequest { history: turns(&question.history), question: text };
    let mut generation = app.backends.generation.clone();
    let call = async { generation.rewrite(request(message, share)).await.map_err(failed("generation")) };
    let v1::RewriteResponse { question, degraded, usage, .. } = share.run(call).await?.into_inner();
    degraded.iter().for_each(|code| trail.degrade(code));
    let v1::Usage { prompt_tokens, completion_tokens } = usage.unwrap_or_default();
    Ok((question, Usage { prompt_tokens, completion_tokens }))
}
