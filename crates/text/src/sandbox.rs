//! Extraction that a hostile document cannot harm: risky formats are parsed by a child process with limits.
//!
//! The child is the running program itself, started with a hidden first argument; so every program that extracts calls
//! [`run_if_requested`] first in its `main`. The child sees no environment variable, opens no file or socket, and ends
//! at the limits of [`ExtractLimits`].

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ragstone_core::{Error, ErrorCode, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Semaphore;

use crate::extract::{Extracted, check_size, extract};
use crate::limits::ExtractLimits;
use crate::media::Format;
use crate::worker::{self, ANSWER_MARK, Answer, Job};

/// How much of a child's stderr is kept to find out why it died, in bytes.
const KEPT_STDERR: usize = 4096;
/// Room for the frame of an answer and for what libraries print, in bytes.
const ANSWER_EXTRA: usize = 256 << 10;

/// Becomes the extraction worker, and never returns, if this process was started as one; otherwise does nothing.
/// Call it before anything else in `main`.
pub fn run_if_requested() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == worker::ARGUMENT) {
        std::process::exit(worker::run(arguments.next().as_deref()));
    }
}

/// Turns documents into text. Cheap to clone; runs at most as many children at once as there are processors, across
/// all clones.
#[derive(Debug, Clone)]
pub struct Extractor {
    program: PathBuf,
    limits: ExtractLimits,
    children: Arc<Semaphore>,
}

impl Extractor {
    /// An extractor whose children run `program`, which calls [`run_if_requested`] first in its `main`: usually
    /// `std::env::current_exe()`.
    #[must_use]
    pub fn new(program: PathBuf, limits: ExtractLimits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { program, limits, children: Arc::new(Semaphore::new(processors)) }
    }

    /// The text of `body`. Dropping the future kills the child that works on it.
    ///
    /// # Errors
    /// `UnsupportedMediaType` naming what is supported; `TooLarge` and `Unprocessable` naming the limit or what is wrong
    /// with the document; `Unavailable` when no child can be started.
    pub async fn extract(&self, body: Bytes, media_type: &str) -> Result<Extracted> {
        let format = Format::of(media_type)?;
        check_size(body.len(), &self.limits)?;
        let extracted = match format {
            Format::Plain | Format::Markdown => self.in_process(body, format).await,
            Format::Html | Format::Pdf | Format::Docx => self.in_child(body, media_type).await,
        }?;
        if extracted.skipped_pages > 0 {
            tracing::warn!(pages = extracted.skipped_pages, "pages of a PDF could not be read");
        }
        Ok(extracted)
    }

    async fn in_process(&self, body: Bytes, format: Format) -> Result<Extracted> {
        let limits = self.limits.clone();
        tokio::task::spawn_blocking(move || extract(body.into(), format, &limits))
            .await
            .map_err(|error| Error::internal("reading a text failed").with_source(error))?
    }

    async fn in_child(&self, body: Bytes, media_type: &str) -> Result<Extracted> {
        let _place = self
            .children
            .acquire()
            .await
            .map_err(|error| Error::internal("the extractor is closed").with_source(error))?;
        let mut child = self.start(media_type)?;
        let time = Duration::from_millis(self.limits.timeout_ms);
        let answer = match tokio::time::timeout(time, self.converse(&mut child, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.too_slow()),
        };
        if answer.is_err() {
            // Also reaps it. It may have ended by itself in this moment.
            child.kill().await.or_else(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput => Ok(()),
                _ => Err(Error::internal("an extraction worker could not be stopped").with_source(error)),
            })?;
        }
        self.interpret(&answer?)
    }

    fn start(&self, media_type: &str) -> Result<Child> {
        let job = Job { media_type: media_type.to_owned(), limits: self.limits.clone() };
        let job = serde_json::to_string(&job)
            .map_err(|error| Error::internal("an extraction job cannot be written").with_source(error))?;
        Command::new(&self.program)
            .arg(worker::ARGUMENT)
            .arg(job)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C and a stop of the service reach the whole group: they must not end work that the parent will finish.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::unavailable("the extraction worker cannot be started").with_source(error))
    }

    /// Sends the document while reading what the child says, and waits for its end.
    async fn converse(&self, child: &mut Child, body: Bytes) -> Result<Ended> {
        let failed = |error| Error::internal("talking to the extraction worker failed").with_source(error);
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::internal("the extraction worker has no pipes"));
        };
        // In JSON an escaped character has two bytes; the ones with six were cleaned away.
        let most = self.limits.max_text_bytes.saturating_mul(2).saturating_add(ANSWER_EXTRA);
        let ((), stdout, stderr) = tokio::try_join!(
            async { feed(input, &body).await.map_err(failed) },
            async { all_of(output, most, self.limits.max_text_bytes).await },
            async { beginning_of(errors).await.map_err(failed) },
        )?;
        let status = child.wait().await.map_err(failed)?;
        Ok(Ended { status, stdout, stderr })
    }

    fn interpret(&self, ended: &Ended) -> Result<Extracted> {
        let mark = ended.stdout.iter().rposition(|byte| *byte == ANSWER_MARK);
        let answer = mark.and_then(|at| serde_json::from_slice(&ended.stdout[at + 1..]).ok());
        match answer {
            Some(Answer::Extracted(extracted)) if ended.status.success() => Ok(extracted),
            Some(Answer::Failed { code, message }) if ended.status.success() => {
                Err(Error::new(ErrorCode::parse(&code).unwrap_or(ErrorCode::Internal), message))
            }
            _ => Err(self.cause_of_death(ended)),
        }
    }

    fn cause_of_death(&self, ended: &Ended) -> Error {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let reason = match signal_of(ended.status) {
            // SIGXCPU: out of processor time.
            Some(24) => return self.too_slow(),
            // SIGHUP, SIGINT, SIGKILL, SIGTERM without a word: somebody ended it, the document is not to blame.
            Some(signal @ (1 | 2 | 9 | 15)) if stderr.is_empty() => {
                return Error::unavailable(format!("the extraction worker was ended by signal {signal}"));
            }
            Some(_) if stderr.contains("memory allocation of") => {
                format!("it needs more memory than the limit memory_bytes of {}", self.limits.memory_bytes)
            }
            Some(_) if stderr.contains("overflowed its stack") => "it is nested too deeply".to_owned(),
            Some(signal) => format!("the parser was ended by signal {signal}"),
            None => {
                let program = self.program.display();
                return Error::internal(format!("{program} did not answer as an extraction worker ({})", ended.status));
            }
        };
        Error::unprocessable(format!("the document could not be parsed: {reason}"))
    }

    fn too_slow(&self) -> Error {
        let time = self.limits.timeout_ms;
        Error::unprocessable(format!("the document could not be parsed within the limit timeout_ms of {time}"))
    }
}

/// A child's last words.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Writes the document; a child that ends without reading it all says why on stdout.
async fn feed(mut input: ChildStdin, body: &[u8]) -> std::io::Result<()> {
    match input.write_all(body).await {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

async fn all_of(output: impl AsyncRead + Unpin, most: usize, limit: usize) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    output
        .take(most as u64 + 1)
        .read_to_end(&mut read)
        .await
        .map_err(|error| Error::internal("reading from the extraction worker failed").with_source(error))?;
    if read.len() > most {
        let message = format!("the parser's output is longer than the limit max_text_bytes of {limit}");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(read)
}

/// Reads to the end and keeps the beginning.
async fn beginning_of(mut errors: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = errors.read(&mut buffer).await?;
        if count == 0 {
            return Ok(kept);
        }
        let room = KEPT_STDERR.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}
