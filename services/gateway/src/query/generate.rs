//! Step 9 of a query: the answer's text, handed on as it is written.

use std::time::Instant;

use ragstone_core::{Error, Hit, Result, Usage};
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event as Step;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::history::turns;
use super::input::Question;
use super::{Event, Trail, emit};
use crate::app::App;
use crate::backends::failed;
use crate::guard::LinkFilter;

const GENERATION: &str = "generation";

/// Why an answer ended, by the names OpenAI has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It was done.
    Stop,
    /// It reached a limit of tokens, bytes or time.
    Length,
}

impl Finish {
    /// `stop` or `length`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

impl From<v1::FinishReason> for Finish {
    fn from(reason: v1::FinishReason) -> Self {
        match reason {
            v1::FinishReason::Length => Self::Length,
            v1::FinishReason::Unspecified | v1::FinishReason::Stop => Self::Stop,
        }
    }
}

/// An answer's text and its author.
#[derive(Debug)]
pub(crate) struct Written {
    /// The text, with markers `[n]`.
    pub text: String,
    /// Which model wrote it.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub finish: Finish,
}

impl Written {
    /// A text that no model wrote.
    pub(crate) fn by_nobody(text: &str) -> Self {
        Self { text: text.to_owned(), model: "none".to_owned(), usage: Usage::default(), finish: Finish::Stop }
    }
}

/// Has the answer written from `contexts`, every piece of it emitted at once.
///
/// # Errors
/// What the generation service says; `Unavailable` when it breaks off before its end.
#[tracing::instrument(name = "generate", skip_all, fields(passages = contexts.len()))]
pub(crate) async fn generate(
    app: &App,
    question: &Question,
    contexts: &[Hit],
    deadline: Deadline,
    trail: &mut Trail,
    out: &mpsc::Sender<Event>,
) -> Result<Written> {
    let started = Instant::now();
    let message = v1::GenerateRequest {
        question: question.search.text.clone(),
        passages: contexts.iter().map(passage).collect(),
        max_tokens: question.max_tokens,
        temperature: question.temperature,
        history: turns(&question.history),
        stop: question.stop.clone(),
        seed: question.seed,
    };
    let answer = app.backends.generation.clone().generate(request(message, deadline)).await;
    let links = LinkFilter::new(&app.config.guard, contexts);
    let written = relay(answer.map_err(failed(GENERATION))?.into_inner(), links, trail, out).await;
    trail.timings.generate = started.elapsed();
    written
}

async fn relay(
    mut steps: Streaming<v1::GenerateResponse>,
    mut links: LinkFilter,
    trail: &mut Trail,
    out: &mpsc::Sender<Event>,
) -> Result<Written> {
    let mut text = String::new();
    while let Some(step) = steps.message().await.map_err(failed(GENERATION))? {
        match step.event {
            Some(Step::Delta(delta)) => {
                write(links.push(&delta.text), &mut text, out).await?;
            }
            Some(Step::Restart(restart)) => {
                text.clear();
                links.restart();
                trail.degrade(&restart.degraded);
                emit(out, Event::Restart(restart.degraded)).await?;
            }
            Some(Step::Done(done)) => {
                write(links.finish(), &mut text, out).await?;
                if links.removed() > 0 {
                    metrics::counter!("rag_guard_links_removed_total").increment(links.removed() as u64);
                }
                let finish = done.finish().into();
                done.degraded.iter().for_each(|code| trail.degrade(code));
                let v1::Usage { prompt_tokens, completion_tokens } = done.usage.unwrap_or_default();
                let usage = Usage { prompt_tokens, completion_tokens };
                return Ok(Written { text, model: done.model, usage, finish });
            }
            None => return Err(Error::internal("the generation service sent a step without an event")),
        }
    }
    Err(Error::unavailable("the answer broke off before its end"))
}

/// Hands on what may be shown of the answer so far; a piece of a link waits until it is whole.
async fn write(piece: String, text: &mut String, out: &mpsc::Sender<Event>) -> Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    text.push_str(&piece);
    emit(out, Event::Delta(piece)).await
}

fn passage(hit: &Hit) -> v1::GenerationPassage {
    v1::GenerationPassage {
        document_id: hit.document_id.to_string(),
        chunk_index: hit.chunk_index,
        title: hit.title.clone(),
        content: hit.content.clone(),
        score: hit.score,
    }
}
