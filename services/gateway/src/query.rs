//! A query, step by step. One engine makes a stream of events; JSON, Server-Sent Events and gRPC all read that stream,
//! and dropping it cancels everything behind it.

mod citations;
mod embed;
mod generate;
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
use ragstone_core::{Citation, Error, Hit, Principal, Result, Usage};
use ragstone_resilience::Deadline;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;

pub(crate) use embed::embed;
pub(crate) use input::{QueryInput, SearchInput};
pub(crate) use rerank::{candidates, rerank};
pub(crate) use retrieve::retrieve;
pub(crate) use trail::{Timings, Trail};

use generate::{Written, generate};
use trail::Count;

/// Events that may wait for a slow reader before the work behind them pauses.
const EVENT_BUFFER: usize = 32;
/// What is said when no passage was found.
const NOTHING_FOUND: &str = "No relevant passage was found in the documents.";

/// One step of an answer. A stream ends with `Done` or with an error.
#[derive(Debug)]
pub(crate) enum Event {
    /// Once, first: what the answer will rest on.
    Contexts(Arc<Vec<Hit>>),
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
    /// What was degraded and how long the steps took.
    pub trail: Trail,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
}

/// Starts a query for a caller the edge has authenticated. The work has a task of its own, so that its deadline holds
/// also while nobody reads; the task ends with the stream.
pub(crate) fn start(app: Arc<App>, caller: Principal, input: QueryInput, deadline: Deadline) -> Events {
    let (out, events) = mpsc::channel(EVENT_BUFFER);
    let work = async move {
        let count = Count::begin();
        let outcome = tokio::select! {
            outcome = deadline.run(answer(&app, &caller, input, deadline, &out)) => outcome,
            () = app.drained() => Err(Error::unavailable("the gateway is stopping; ask again")),
        };
        count.end(&outcome);
        outcome
    };
    let work = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
    let last = async move {
        let outcome = work.await.unwrap_or_else(|e| Err(Error::internal("the query broke off").with_source(e)));
        outcome.map(|answer| Event::Done(Box::new(answer)))
    };
    ReceiverStream::new(events).map(Ok).chain(stream::once(last)).boxed()
}

/// The eleven steps. The first, authentication, is the edge's: `caller` is its result. The second, the rate limit,
/// belongs before the third, and the fourth, the cache lookup, after it; neither exists yet, so every answer is a miss.
#[tracing::instrument(name = "query", skip_all)]
async fn answer(
    app: &App,
    caller: &Principal,
    input: QueryInput,
    deadline: Deadline,
    out: &mpsc::Sender<Event>,
) -> Result<Answer> {
    let started = Instant::now();
    let mut trail = Trail::default();

    // 3. Validate and guard.
    let question = input.check(app.config.max_query_chars)?;
    if app.config.log_queries {
        tracing::info!(query = question.search.text, "query");
    }
    // 5. Embed the question.
    let embedded = embed(app, &question.search, deadline, &mut trail).await?;
    // 6. Search.
    let wanted = candidates(&question.search, &app.config);
    let found = retrieve(app, caller, &wanted, embedded, deadline, &mut trail).await?;
    let sources_complete = !found.shards.is_partial();
    // 7. Rerank, if that was asked for.
    let hits = rerank(app, &question.search, found.hits, deadline, &mut trail).await;
    // 8. Pack the context into its budget.
    let contexts = Arc::new(pack::pack(hits, app.config.context_tokens));
    emit(out, Event::Contexts(Arc::clone(&contexts))).await?;
    // 9. Generate; from nothing no model is asked.
    let written = if contexts.is_empty() {
        emit(out, Event::Delta(NOTHING_FOUND.to_owned())).await?;
        Written::by_nobody(NOTHING_FOUND)
    } else {
        generate(app, &question, &contexts, deadline, &mut trail, out).await?
    };
    // 10. Check citations.
    let (text, citations) = citations::resolve(&written.text, &contexts);
    // 11. Answer; it is counted by `Count`.
    trail.timings.total = started.elapsed();
    Ok(Answer {
        query_id: Uuid::now_v7(),
        text,
        citations,
        contexts,
        sources_complete,
        cache: "miss",
        model: written.model,
        usage: written.usage,
        trail,
        trace_id: ragstone_telemetry::trace_id(),
    })
}

/// Hands an event to the reader, waiting for a slow one.
async fn emit(out: &mpsc::Sender<Event>, event: Event) -> Result<()> {
    out.send(event).await.map_err(|_| Error::new(ragstone_core::ErrorCode::Cancelled, "the caller left"))
}
