//! The local chat model: loads a file, takes requests and streams their answers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use llama_cpp_2::token::LlamaToken;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Error, ErrorCode, Prompt, Result, ports::ChatModel};
use tokio::sync::{mpsc, oneshot};

use super::{
    config::LocalChatConfig,
    engine::Weights,
    queue::{Job, Queue, stopped},
    worker,
};
use crate::{
    digest::{FileState, check},
    manifest::{FileRole, ModelKind},
    store::{ModelStore, blocking},
};

/// The name in metrics and logs; answers carry that of the model.
const NAME: &str = "local";

/// A chat model, loaded and with its thread running. It answers one request at a time.
///
/// Dropping it ends the answer under way and waits for the thread: a few tens of milliseconds.
pub struct LocalChat {
    queue: Arc<Queue>,
    prompts: Arc<dyn Prompts>,
    timeout: Duration,
    thread: Option<JoinHandle<()>>,
}

/// What turns a prompt into tokens.
pub(super) trait Prompts: Send + Sync {
    /// A prompt's tokens, template and all.
    fn tokens(&self, prompt: &Prompt) -> Vec<LlamaToken>;

    /// The most tokens of prompt and answer together.
    fn context_tokens(&self) -> usize;
}

impl Prompts for Weights {
    fn tokens(&self, prompt: &Prompt) -> Vec<LlamaToken> {
        self.tokens(prompt)
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens()
    }
}

impl LocalChat {
    /// Loads the configured model: one of the store, its hash checked, or any GGUF file.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `Unavailable` when a file is missing, corrupt or not a chat model, saying what to
    /// do; `InvalidArgument` for settings that do not fit the model.
    pub async fn load(store: &ModelStore, config: &LocalChatConfig) -> Result<Self> {
        config.check().map_err(Error::invalid)?;
        let (path, model) = find(store, &config.model).await?;
        let queue = Arc::new(Queue::new(config.queue));
        let (ready, loaded) = oneshot::channel();
        let (config, theirs) = (config.clone(), queue.clone());
        let timeout = config.timeout();
        let thread = std::thread::Builder::new().name("local-llm".to_owned()).spawn(move || {
            run(&path, &config, &model, &theirs, ready);
            theirs.close();
        });
        let thread = thread.map_err(|error| Error::internal("cannot start the model's thread").with_source(error))?;
        let prompts = loaded.await.map_err(|_| stopped())??;
        Ok(Self { queue, prompts, timeout, thread: Some(thread) })
    }

    /// One whose thread is already running; ends it when dropped.
    #[cfg(test)]
    pub(super) fn with(
        queue: Arc<Queue>,
        prompts: Arc<dyn Prompts>,
        timeout: Duration,
        thread: JoinHandle<()>,
    ) -> Self {
        Self { queue, prompts, timeout, thread: Some(thread) }
    }
}

/// The thread's life: everything of llama.cpp happens here.
fn run(
    path: &Path,
    config: &LocalChatConfig,
    model: &str,
    queue: &Queue,
    ready: oneshot::Sender<Result<Arc<dyn Prompts>>>,
) {
    let weights = match Weights::load(path, config) {
        Ok(weights) => Arc::new(weights),
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    match weights.engine() {
        Err(error) => {
            let _ = ready.send(Err(error));
        }
        Ok(engine) => {
            if ready.send(Ok(weights.clone())).is_ok() {
                worker::work(queue, model, engine, || weights.engine());
            }
        }
    }
}

/// The file of the configured model and the name that answers carry.
async fn find(store: &ModelStore, model: &str) -> Result<(PathBuf, String)> {
    let path = Path::new(model);
    if path.extension().is_some_and(|extension| extension == "gguf") {
        let name = path.file_stem().map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned());
        let there = tokio::fs::metadata(path).await.is_ok_and(|found| found.is_file());
        let missing = || Error::unavailable(format!("there is no file {model}"));
        return if there { Ok((path.to_owned(), name)) } else { Err(missing()) };
    }
    let spec = store.manifest().get(model)?.of_kind(ModelKind::Chat)?.clone();
    let path = store.model_dir(&spec).join(&spec.file(FileRole::Gguf)?.name);
    blocking(move || {
        let file = spec.file(FileRole::Gguf)?;
        let advice = |problem: &str| {
            Error::unavailable(format!("{} {problem}; run `ragstone models pull {}`", file.name, spec.id))
        };
        match check(&path, file).map_err(|error| advice("cannot be read").with_source(error))? {
            FileState::Good => Ok((path, spec.id)),
            FileState::Missing => Err(advice("is missing")),
            FileState::Corrupt(how) => Err(advice(&format!("is corrupt: {how}"))),
        }
    })
    .await
}

#[async_trait]
impl ChatModel for LocalChat {
    fn name(&self) -> &str {
        NAME
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream> {
        let until = Instant::now() + self.timeout;
        let (prompts, prompt) = (self.prompts.clone(), request.prompt);
        let tokens = tokio::task::spawn_blocking(move || prompts.tokens(&prompt))
            .await
            .map_err(|error| Error::unavailable("the prompt cannot be tokenised").with_source(error))?;
        let max_tokens = request.max_tokens.max(1) as usize;
        check_room(tokens.len(), max_tokens, self.prompts.context_tokens())?;
        let (events, answer) = mpsc::unbounded_channel();
        let span = tracing::Span::current();
        self.queue.push(Job { tokens, max_tokens, temperature: request.temperature, until, events, span })?;
        Ok(stream::unfold(Some(answer), next).boxed())
    }
}

/// The next event; a stream never ends without an end.
async fn next(
    answer: Option<mpsc::UnboundedReceiver<Result<ChatEvent>>>,
) -> Option<(Result<ChatEvent>, Option<mpsc::UnboundedReceiver<Result<ChatEvent>>>)> {
    let mut answer = answer?;
    let event = answer.recv().await.unwrap_or_else(|| Err(stopped()));
    let over = matches!(event, Err(_) | Ok(ChatEvent::Done { .. }));
    Some((event, (!over).then_some(answer)))
}

/// Refuses a prompt that leaves no room for its answer: a cut prompt would lose its question or its last passages.
fn check_room(prompt: usize, answer: usize, context: usize) -> Result<()> {
    if prompt + answer <= context {
        return Ok(());
    }
    let message = format!(
        "the prompt's {prompt} tokens and {answer} for the answer are more than the local model's context of {context}; \
         set gateway.context_tokens or max_tokens lower"
    );
    Err(Error::new(ErrorCode::TooLarge, message))
}

impl Drop for LocalChat {
    fn drop(&mut self) {
        self.queue.close();
        // The process must not end while llama.cpp computes: its globals would be torn down under it.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
