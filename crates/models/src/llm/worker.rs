//! The thread that answers, one request after the other.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use ragstone_core::{ChatEvent, Degraded, Error, FinishReason, Result, Usage};

use super::{
    engine::{Engine, READ_AT_ONCE},
    queue::{Job, Queue},
    utf8::Utf8,
};

/// Answers until the queue is closed. `engine` makes a new engine; after a failure the old one's state is not trusted.
pub(super) fn work<E: Engine>(queue: &Queue, model: &str, first: E, engine: impl Fn() -> Result<E>) {
    let mut current = Some(first);
    while let Some(job) = queue.next() {
        let span = tracing::debug_span!(parent: &job.span, "local_llm", prompt_tokens = job.tokens.len());
        let _entered = span.enter();
        let started = Instant::now();
        let outcome = contained(|| {
            let mut engine = match current.take() {
                Some(engine) => engine,
                None => engine()?,
            };
            let answered = answer(&mut engine, &job, model, queue);
            if answered.is_ok() {
                current = Some(engine);
            }
            answered
        });
        queue.finished(started.elapsed());
        if let Err(error) = outcome {
            // A caller that has left does not mind.
            let _ = job.events.send(Err(error));
        }
    }
}

/// Reads the prompt and writes the answer. Ends early, without a word, when the caller has left.
fn answer(engine: &mut impl Engine, job: &Job, model: &str, queue: &Queue) -> Result<()> {
    let nobody_waits = || job.events.is_closed() || queue.is_closed();
    let late = || Instant::now() >= job.until;
    if nobody_waits() {
        return Ok(());
    }
    engine.start(job.temperature)?;
    let mut parts = job.tokens.chunks(READ_AT_ONCE).peekable();
    while let Some(part) = parts.next() {
        engine.read(part, parts.peek().is_none())?;
        if nobody_waits() {
            return Ok(());
        }
        if late() {
            return too_late(job);
        }
    }
    let (mut text, mut written, mut said) = (Utf8::default(), 0, false);
    let (finish, degraded) = loop {
        let Some(token) = engine.draw() else { break (FinishReason::Stop, Vec::new()) };
        written += 1;
        let delta = text.push(&engine.bytes(token));
        if !delta.is_empty() {
            said = true;
            let _ = job.events.send(Ok(ChatEvent::Delta(delta)));
        }
        if written >= job.max_tokens {
            break (FinishReason::Length, Vec::new());
        }
        if late() && !said {
            return too_late(job);
        }
        if late() {
            break (FinishReason::Length, vec![Degraded::LlmStreamLimit]);
        }
        engine.read(&[token], true)?;
        if nobody_waits() {
            return Ok(());
        }
    };
    let count = |tokens| u32::try_from(tokens).unwrap_or(u32::MAX);
    let usage = Usage { prompt_tokens: count(job.tokens.len()), completion_tokens: count(written) };
    let _ = job.events.send(Ok(ChatEvent::Done { model: model.to_owned(), usage, finish, degraded }));
    Ok(())
}

/// The time is over and nothing has been said. The engine is fine.
fn too_late(job: &Job) -> Result<()> {
    let error = Error::unavailable("the local model did not begin to answer within its time limit");
    let _ = job.events.send(Err(error));
    Ok(())
}

/// Runs `work` and turns a panic in it into an error, so that one bad request cannot end the thread.
fn contained(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = message(panic.as_ref());
        tracing::error!(message, "the local model panicked");
        Err(Error::unavailable("the local model failed").with_source(message))
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
