//! The child's side of extraction: limits itself, reads one document, answers, ends.

use std::any::Any;
use std::ffi::OsStr;
use std::io::{Read, Write};

use ragstone_core::{Error, Result};
use rlimit::Resource;
use serde::{Deserialize, Serialize};

use crate::extract::{Extracted, extract};
use crate::limits::ExtractLimits;
use crate::media::Format;

/// The argument that turns a program into a worker.
pub(crate) const ARGUMENT: &str = "__ragstone-extract-worker";
/// Comes before the answer on stdout: libraries may print there, but never this byte, and JSON never holds it.
pub(crate) const ANSWER_MARK: u8 = 0;

/// The largest stack of the thread that parses, in bytes: HTML is walked recursively.
const MAX_STACK: u64 = 64 << 20;

/// What the worker is to do; its second argument, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) media_type: String,
    pub(crate) limits: ExtractLimits,
}

/// What the worker answers, as JSON after [`ANSWER_MARK`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Extracted(Extracted),
    Failed {
        /// `ErrorCode::as_str`.
        code: String,
        message: String,
    },
}

/// Does the job and returns the exit code; the answer is on stdout.
pub(crate) fn run(job: Option<&OsStr>) -> i32 {
    // A panic is answered as an error; its message must not end up in the parent's logs with the document's content.
    std::panic::set_hook(Box::new(|_| {}));
    let answer = match work(job) {
        Ok(extracted) => Answer::Extracted(extracted),
        Err(error) => Answer::Failed { code: error.code.as_str().to_owned(), message: error.message },
    };
    match send(&answer) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn send(answer: &Answer) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    out.write_all(&[ANSWER_MARK])?;
    serde_json::to_writer(&mut out, answer)?;
    out.flush()
}

fn work(job: Option<&OsStr>) -> Result<Extracted> {
    let job = job.and_then(OsStr::to_str).unwrap_or_default();
    let Job { media_type, limits } = serde_json::from_str(job)
        .map_err(|error| Error::internal(format!("the extraction worker got an unreadable job: {error}")))?;
    let format = Format::of(&media_type)?;
    restrict(&limits)
        .map_err(|error| Error::internal(format!("the extraction worker cannot limit itself: {error}")))?;
    let mut body = Vec::new();
    std::io::stdin()
        .lock()
        .take(limits.max_bytes as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| Error::internal(format!("the extraction worker cannot read the document: {error}")))?;
    let stack = usize::try_from(MAX_STACK.min(limits.memory_bytes / 8)).unwrap_or(usize::MAX);
    let parser = std::thread::Builder::new()
        .stack_size(stack)
        .spawn(move || extract(body, format, &limits))
        .map_err(|error| Error::internal(format!("the extraction worker cannot start a thread: {error}")))?;
    parser.join().unwrap_or_else(|payload| {
        let reason = panic_text(payload.as_ref());
        Err(Error::unprocessable(format!("the document could not be parsed: {reason}")))
    })
}

/// Takes away from this process what parsing does not need: memory and time beyond the limits, opening files and
/// sockets, writing files, core dumps. The parent's own timeout is the first line; these hold if the parent dies.
fn restrict(limits: &ExtractLimits) -> std::io::Result<()> {
    let seconds = limits.timeout_ms.div_ceil(1000) + 1;
    lower(Resource::DATA, limits.memory_bytes)?;
    lower(Resource::CPU, seconds)?;
    lower(Resource::CORE, 0)?;
    lower(Resource::FSIZE, 0)?;
    lower(Resource::NOFILE, 3)
}

fn lower(resource: Resource, value: u64) -> std::io::Result<()> {
    let (_, most) = resource.get()?;
    let value = value.min(most);
    resource.set(value, value)
}

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("the parser gave up").chars().take(200).collect()
}
