//! The bounded queue between callers and worker threads: questions first, cancellation, batches.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ragstone_core::{Error, ErrorCode, Result, ports::EmbedKind};
use tokio::sync::oneshot;

use super::batch::plan;

type Reply = oneshot::Sender<Result<Vec<Vec<f32>>>>;

/// One call's texts and what has come of them so far.
pub(super) struct Request {
    pub(super) texts: Vec<String>,
    pub(super) kind: EmbedKind,
    pub(super) span: tracing::Span,
    /// Texts that have not been started. Changed only under the queue's lock.
    waiting: AtomicUsize,
    /// Answered with an error or given up by the caller. Changed only under the queue's lock.
    ended: AtomicBool,
    outcome: Mutex<Outcome>,
}

struct Outcome {
    vectors: Vec<Vec<f32>>,
    left: usize,
    /// Taken by the first answer.
    reply: Option<Reply>,
}

/// A tokenised text that waits for its batch.
pub(super) struct Item {
    pub(super) request: Arc<Request>,
    pub(super) index: usize,
    pub(super) ids: Vec<u32>,
}

/// What a worker does next.
pub(super) enum Task {
    Tokenise(Arc<Request>),
    /// Run these together; `alone` when no other batch is running.
    Run {
        items: Vec<Item>,
        alone: bool,
    },
}

/// Shared by the callers and the workers of one embedder.
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    capacity: usize,
    batch_tokens: usize,
    threads: usize,
}

#[derive(Default)]
struct State {
    questions: Lane,
    passages: Lane,
    /// Texts that have not been started.
    waiting: usize,
    /// Batches that are running.
    running: usize,
    /// Moving average of the seconds one thread spends on a text.
    pace: f64,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    raw: VecDeque<Arc<Request>>,
    ready: VecDeque<Item>,
}

impl Queue {
    pub(super) fn new(capacity: usize, batch_tokens: usize, threads: usize) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), capacity, batch_tokens, threads }
    }

    /// Ends the workers. Nobody can be waiting: a waiting call borrows the embedder.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Blocks until there is something to do; `None` when the queue is closed.
    pub(super) fn next(&self, only_questions: bool) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let lane =
                if !state.questions.is_empty() || only_questions { &mut state.questions } else { &mut state.passages };
            if let Some(request) = lane.raw.pop_front() {
                return Some(Task::Tokenise(request));
            }
            if !lane.ready.is_empty() {
                return Some(self.take_batch(&mut state, only_questions));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_batch(&self, state: &mut State, only_questions: bool) -> Task {
        let questions = !state.questions.ready.is_empty() || only_questions;
        let ready = if questions { &mut state.questions.ready } else { &mut state.passages.ready };
        let lengths: Vec<usize> = ready.iter().map(|item| item.ids.len()).collect();
        let chosen = plan(&lengths, self.batch_tokens);
        let mut items: Vec<Item> = chosen.iter().rev().filter_map(|&index| ready.remove(index)).collect();
        items.reverse();
        for item in &items {
            item.request.waiting.fetch_sub(1, Relaxed);
        }
        let waiting = state.waiting - items.len();
        self.waits(state, waiting);
        state.running += 1;
        Task::Run { items, alone: state.running == 1 }
    }

    /// Queues the tokenised texts of a request.
    pub(super) fn ready(&self, request: &Arc<Request>, ids: Vec<Vec<u32>>) {
        let mut state = self.lock();
        if request.ended.load(Relaxed) {
            return;
        }
        let items = ids.into_iter().enumerate().map(|(index, ids)| Item { request: request.clone(), index, ids });
        state.lane(request.kind).ready.extend(items);
        drop(state);
        self.work.notify_all();
    }

    /// Notes that a batch of `texts` has ended after `took`.
    pub(super) fn finished(&self, texts: usize, took: Duration) {
        let mut state = self.lock();
        state.running -= 1;
        let pace = took.as_secs_f64() / texts.max(1) as f64;
        state.pace = if state.pace == 0.0 { pace } else { 0.9 * state.pace + 0.1 * pace };
    }

    /// Answers a request with an error and forgets its texts.
    pub(super) fn fail(&self, request: &Arc<Request>, error: Error) {
        self.end(request);
        request.answer(Err(error));
    }

    /// Takes all texts of a request out of the queue.
    fn end(&self, request: &Arc<Request>) {
        let mut state = self.lock();
        request.ended.store(true, Relaxed);
        let waiting = request.waiting.swap(0, Relaxed);
        if waiting == 0 {
            return;
        }
        let lane = state.lane(request.kind);
        lane.raw.retain(|other| !Arc::ptr_eq(other, request));
        lane.ready.retain(|item| !Arc::ptr_eq(&item.request, request));
        let waiting = state.waiting - waiting;
        self.waits(&mut state, waiting);
    }

    fn push(&self, request: Arc<Request>) -> Result<()> {
        let mut state = self.lock();
        let texts = request.texts.len();
        if texts > self.capacity {
            let limit = self.capacity;
            return Err(Error::invalid(format!("{texts} texts in one call; the queue holds {limit}")));
        }
        if state.waiting + texts > self.capacity {
            let drained = Duration::from_secs_f64(state.pace * state.waiting as f64 / self.threads as f64);
            let wait = drained.clamp(Duration::from_millis(100), Duration::from_secs(10));
            return Err(Error::new(ErrorCode::RateLimited, "the embedding queue is full").with_retry_after(wait));
        }
        let waiting = state.waiting + texts;
        self.waits(&mut state, waiting);
        state.lane(request.kind).raw.push_back(request);
        drop(state);
        // Not `notify_one`: it might wake the thread for questions, which leaves passages to the others.
        self.work.notify_all();
        Ok(())
    }

    fn waits(&self, state: &mut State, texts: usize) {
        state.waiting = texts;
        metrics::gauge!("rag_embedding_queue_depth").set(texts as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lane(&mut self, kind: EmbedKind) -> &mut Lane {
        match kind {
            EmbedKind::Query => &mut self.questions,
            EmbedKind::Passage => &mut self.passages,
        }
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.ready.is_empty()
    }
}

impl Request {
    /// Puts in the vector of one text; the last one answers the caller.
    pub(super) fn fill(&self, index: usize, vector: Vec<f32>) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.vectors[index] = vector;
        outcome.left -= 1;
        if outcome.left == 0 {
            let vectors = std::mem::take(&mut outcome.vectors);
            drop(outcome);
            self.answer(Ok(vectors));
        }
    }

    fn answer(&self, answer: Result<Vec<Vec<f32>>>) {
        let reply = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).reply.take();
        if let Some(reply) = reply {
            // The caller may have left, then nobody needs the answer.
            let _ = reply.send(answer);
        }
    }
}

/// A caller's place in the queue; dropping it takes everything out that has not been started.
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    request: Arc<Request>,
}

impl<'a> Ticket<'a> {
    /// Queues `texts`; `reply` gets the answer.
    pub(super) fn new(queue: &'a Queue, texts: Vec<String>, kind: EmbedKind, reply: Reply) -> Result<Self> {
        let left = texts.len();
        let outcome = Outcome { vectors: vec![Vec::new(); left], left, reply: Some(reply) };
        let request = Arc::new(Request {
            texts,
            kind,
            span: tracing::Span::current(),
            waiting: AtomicUsize::new(left),
            ended: AtomicBool::new(false),
            outcome: Mutex::new(outcome),
        });
        queue.push(request.clone())?;
        Ok(Self { queue, request })
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.request.waiting.load(Relaxed) > 0 {
            self.queue.end(&self.request);
        }
    }
}
