//! Embeds texts with a local model: callers queue texts, a few threads of its own run them in batches.

mod batch;
mod config;
mod error;
mod network;
mod queue;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use ragstone_core::{
    Error, Result,
    ports::{EmbedKind, Embedder, EmbedderInfo},
};
use tokio::sync::oneshot;

pub use config::EmbedderConfig;

use crate::{
    digest::{FileState, check_bytes, short_hash},
    manifest::{FileRole, ModelKind, ModelSpec},
    store::{ModelStore, blocking},
};
use network::{Encoder, Network};
use queue::{Queue, Ticket};

/// A model of the store, loaded and with its threads running. Dropping it ends the threads after their current batch.
pub struct LocalEmbedder {
    info: EmbedderInfo,
    tokenizer_json: Vec<u8>,
    queue: Arc<Queue>,
}

impl LocalEmbedder {
    /// Loads the model `id` from the store, checking the hash of every file, and runs it once.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `InvalidArgument` for a model that is no embedder; `Unavailable` when a file is missing or corrupt, saying how to pull it;
    /// `Internal` when the model cannot be used.
    pub async fn load(store: &ModelStore, id: &str, config: &EmbedderConfig) -> Result<Self> {
        let (model, dir, config) =
            (store.manifest().get(id)?.of_kind(ModelKind::Embedder)?.clone(), store.dir().join(id), config.clone());
        blocking(move || {
            let read = |role: FileRole| {
                let file = model.file(role)?;
                let bytes =
                    std::fs::read(dir.join(&file.name)).map_err(|error| unusable(&model, &error.to_string()))?;
                match check_bytes(&bytes, file) {
                    FileState::Corrupt(how) => Err(unusable(&model, &format!("{} is corrupt: {how}", file.name))),
                    FileState::Good | FileState::Missing => Ok(bytes),
                }
            };
            let tokenizer_json = read(FileRole::Tokenizer)?;
            let network = Network::load(&model, read(FileRole::Weights)?, &tokenizer_json)?;
            let info = EmbedderInfo {
                model: model.id.clone(),
                revision: short_hash(model.files.iter().map(|file| file.sha256.as_str())),
                dimension: model.dimension,
                max_tokens: model.max_tokens - model.special_tokens,
            };
            Self::start(info, tokenizer_json, Arc::new(network), &config)
        })
        .await
    }

    /// The model's tokenizer in the JSON form of the `tokenizers` library, for counting tokens the way it does.
    #[must_use]
    pub fn tokenizer_json(&self) -> &[u8] {
        &self.tokenizer_json
    }

    fn start(
        info: EmbedderInfo,
        tokenizer_json: Vec<u8>,
        encoder: Arc<dyn Encoder>,
        config: &EmbedderConfig,
    ) -> Result<Self> {
        config.validate()?;
        let threads = config.threads();
        let queue = Arc::new(Queue::new(config.queue_texts, config.batch_tokens, threads));
        // From here on dropping `embedder` ends the threads that have been started.
        let embedder = Self { info, tokenizer_json, queue };
        worker::start_all(&embedder.queue, &encoder, threads, embedder.info.dimension)
            .map_err(|error| Error::internal("cannot start the embedding threads").with_source(error))?;
        Ok(embedder)
    }
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    async fn embed(&self, texts: Vec<String>, kind: EmbedKind) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let _cancel_on_drop = Ticket::new(&self.queue, texts, kind, reply)?;
        answer.await.unwrap_or_else(|_| Err(Error::internal("the embedding threads lost a request")))
    }
}

impl Drop for LocalEmbedder {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn unusable(model: &ModelSpec, problem: &str) -> Error {
    let id = &model.id;
    Error::unavailable(format!("the model {id} cannot be read ({problem}); `ragstone models pull {id}` mends that"))
}
