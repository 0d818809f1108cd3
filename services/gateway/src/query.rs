//! A query, step by step. One engine makes a stream of events; JSON, Server-Sent Events and gRPC all read that stream,
//! and dropping it cancels everything behind it.

mod citations;
mod embed;
mod generate;
mod history;
mod input;
mod pack;
mod rerank;
pub(crate) mod rest;
mod retrieve;
pub(crate) mod sentences;
mod trail;
pub(crate) mod view;

use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use ragstone_core::{Citation, Degraded, Error, Hit, Principal, Result, Usage};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;
use crate::documents::wire;
use crate::guard::{Checked, check_support, is_relevant};
use crate::limits::{Admission, Kind};
use crate::problem::status_of;

pub(crate) use embed::embed;
pub(crate) use generate::Finish;
pub(crate) use history::{Speaker, Turn};
pub(crate) use input::{QueryInput, SearchInput};
pub(crate) use rerank::{candidates, rerank};
pub(crate) use retrieve::retrieve;
pub(crate) use trail::{Timings, Trail};

use generate::{Written, generate};
use input::Question;
use trail::Count;

/// Events that may wait for a slow reader before the work behind them pauses.
const EVENT_BUFFER: usize = 32;
/// What an answer takes, for the estimate of its tokens, where the caller sets no limit.
const USUAL_ANSWER_TOKENS: u32 = 500;
/// What is said when no passage was found.
const NOTHING_FOUND: &str = "No relevant passage was found in the documents.";

/// One step of an answer. A stream ends with `Done` or with an error.
#[derive(Debug)]
pub(crate) enum Event {
    /// Once, first: what the answer will rest on.
    Contexts {
        /// Names the answer.
        query_id: Uuid,
        /// The passages, in marker order.
        contexts: Arc<Vec<Hit>>,
    },
    /// More text.
    Delta(String),
    /// Another model starts over, for the reason with this degradation code: forget the text so far.
    Restart(String),
    /// The whole answer.
    Done(Box<Answer>),
}

/// The events of one answer.
pub(crate) type Events = BoxStream<'static, Result<Event>>;

/// An answer with what it rests on.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Names it, for feedback and logs.
    pub query_id: Uuid,
    /// The text, with markers `[n]`.
    pub text: String,
    /// The markers, resolved.
    pub citations: Vec<Citation>,
    /// The passages it was written from, in marker order.
    pub contexts: Arc<Vec<Hit>>,
    /// Whether every shard was searched.
    pub sources_complete: bool,
    /// Where it came from: `miss` until there is a cache.
    pub cache: &'static str,
    /// Which model wrote it.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub finish: Finish,
    /// What was degraded and how long the steps took.
    pub trail: Trail,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
}

/// Starts a query for a caller the edge has authenticated. The work has a task of its own, so that its deadline holds
/// also while nobody reads; the task ends with the stream.
///
/// # Errors
/// `RateLimited`; everything else is told by the stream.
pub(crate) async fn start(app: Arc<App>, caller: Principal, input: QueryInput, deadline: Deadline) -> Result<Events> {
    let asked = input.query.clone();
    let question = input.check(app.config.max_query_chars)?;
    // 2. The rate limit, here where the answer's headers can still be written.
    let written = Some(question.max_tokens).filter(|tokens| *tokens > 0).unwrap_or(USUAL_ANSWER_TOKENS);
    let tokens = app.config.context_tokens as u64 + u64::from(written);
    let admission = app.admit(&caller, Kind::Query { tokens }).await?;
    let call = Call { asker: wire(&caller), caller, asked, deadline };
    let trail = Trail::after(&admission);
    let (out, events) = mpsc::channel(EVENT_BUFFER);
    let work = async move {
        let count = Count::begin();
        let outcome = tokio::select! {
            outcome = deadline.run(answer(&app, &call, question, trail, &out)) => outcome,
            () = app.drained() => Err(Error::unavailable("the gateway is stopping; ask again")),
        };
        count.end(&outcome);
        settle(&admission, &outcome).await;
        outcome
    };
    let work = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
    let last = async move {
        let outcome = work.await.unwrap_or_else(|e| Err(Error::internal("the query broke off").with_source(e)));
        outcome.map(|answer| Event::Done(Box::new(answer)))
    };
    Ok(ReceiverStream::new(events).map(Ok).chain(stream::once(last)).boxed())
}

/// One question of one caller.
struct Call {
    caller: Principal,
    /// The caller as the audit log names it.
    asker: v1::Caller,
    /// The question as it came: cleaning takes away what hides in invisible characters.
    asked: String,
    deadline: Deadline,
}

/// Takes or gives back what the estimate of the tokens was off by. What broke off has used nobody knows how many: then the
/// estimate stands, but for questions that no model was asked.
async fn settle(admission: &Admission, outcome: &Result<Answer>) {
    let used = match outcome {
        Ok(answer) => u64::from(answer.usage.prompt_tokens) + u64::from(answer.usage.completion_tokens),
        Err(error) if status_of(error.code).is_client_error() => 0,
        Err(_) => return,
    };
    if let Err(error) = admission.settle(used).await {
        tracing::warn!(error = error.chain(), "the tokens of an answer could not be settled");
    }
}

/// The eleven steps. The first, authentication, is the edge's: `caller` is its result; the second, the rate limit, is
/// `start`'s. The fourth, the cache lookup, belongs after the third; there is none yet, so every answer is a miss.
#[tracing::instrument(name = "query", skip_all)]
async fn answer(
    app: &App,
    call: &Call,
    mut question: Question,
    mut trail: Trail,
    out: &mpsc::Sender<Event>,
) -> Result<Answer> {
    let (query_id, started) = (Uuid::now_v7(), Instant::now());

    let Call { caller, asked, deadline, .. } = call;
    let deadline = *deadline;

    // 3. Guard; its form has been checked. A question within a conversation is made to stand alone.
    guard(app, caller, asked, &question.history)?;
    let (standalone, rewriting) = history::standalone(app, &question, deadline, &mut trail).await?;
    question.search.text = standalone;
    if app.config.log_queries {
        tracing::info!(query = question.search.text, "query");
    }
    // 5. Embed the question.
    let embedded = embed(app, &question.search, deadline, &mut trail).await?;
    // 6. Search, for passages that may be given to a model.
    question.search.filter = app.config.guard.restrict(question.search.filter);
    let wanted = candidates(&question.search, &app.config);
    let mut found = retrieve(app, caller, &wanted, embedded, deadline, &mut trail).await?;
    let sources_complete = !found.shards.is_partial();
    // The catalog's own search knows no scores.
    found.hits.retain(|hit| app.config.guard.admits(&hit.content));
    // 7. Rerank, if that was asked for.
    let hits = rerank(app, &question.search, found.hits, deadline, &mut trail).await;
    // 8. Pack the context into its budget; what is too far from the question is no context.
    let contexts = Arc::new(pack::pack(relevant(app, hits), app.config.context_tokens));
    // From here on the caller has read them, however the answer ends.
    let mut note = app.recorder.note(call.asker.clone(), query_id, &contexts);
    emit(out, Event::Contexts { query_id, contexts: Arc::clone(&contexts) }).await?;
    // 9. Generate; from nothing no model is asked.
    let written = if contexts.is_empty() {
        emit(out, Event::Delta(NOTHING_FOUND.to_owned())).await?;
        Written::by_nobody(NOTHING_FOUND)
    } else {
        generate(app, &question, &contexts, deadline, &mut trail, out).await?
    };
    // 10. Check citations: they exist, and their passages say it.
    let (text, citations) = citations::resolve(&written.text, &contexts);
    let Checked { text, citations, unsupported } =
        check_support(&text, citations, &contexts, app.config.guard.min_support);
    if unsupported > 0 {
        trail.degrade(Degraded::GuardUnsupported.as_str());
    }
    // 11. Answer; it is counted by `Count`.
    trail.timings.total = started.elapsed();
    note.degraded.clone_from(&trail.degraded);
    Ok(Answer {
        query_id,
        text,
        citations,
        contexts,
        sources_complete,
        cache: "miss",
        model: written.model,
        usage: sum(written.usage, rewriting),
        finish: written.finish,
        trail,
        trace_id: ragstone_telemetry::trace_id(),
    })
}

/// What rewriting the question and writing the answer cost together.
fn sum(answer: Usage, rewriting: Usage) -> Usage {
    Usage {
        prompt_tokens: answer.prompt_tokens.saturating_add(rewriting.prompt_tokens),
        completion_tokens: answer.completion_tokens.saturating_add(rewriting.completion_tokens),
    }
}

/// Judges the question and what was said before it, also what the client says was answered: all of it is the client's.
///
/// # Errors
/// `Unprocessable` for what the tenant's policy blocks.
fn guard(app: &App, caller: &Principal, asked: &str, history: &[Turn]) -> Result<()> {
    let said = history.iter().map(|turn| turn.text.as_str());
    said.chain([asked]).try_for_each(|text| {
        let judged = app.config.guard.judge(&caller.access.tenant, text);
        judged.record();
        judged.refuse()
    })
}

/// The passages, or none where even the nearest is too far from the question: "I don't know" beats invention.
fn relevant(app: &App, hits: Vec<Hit>) -> Vec<Hit> {
    let nearest = hits.iter().filter_map(|hit| hit.similarity).reduce(f32::max);
    if is_relevant(nearest, app.config.guard.min_relevance) {
        return hits;
    }
    metrics::counter!("rag_guard_irrelevant_total").increment(1);
    Vec::new()
}

/// Hands an event to the reader, waiting for a slow one.
async fn emit(out: &mpsc::Sender<Event>, event: Event) -> Result<()> {
    out.send(event).await.map_err(|_| Error::new(ragstone_core::ErrorCode::Cancelled, "the caller left"))
}
