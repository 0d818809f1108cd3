//! An embedder and an index in memory that fail, hang and remember as told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ragstone_core::{DocumentId, Error, ErrorCode, Result, TenantId};
use ragstone_text::{ChunkConfig, Chunker, TokenCounter};
use tokio::sync::Notify;

use crate::embed::{Embedding, Model};
use crate::index::{Batch, Index};

/// Counts words.
const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;

pub(super) fn model() -> Model {
    let counter = TokenCounter::from_tokenizer_json(TOKENIZER.as_bytes()).unwrap();
    let chunker = Chunker::new(counter, &ChunkConfig { tokens: 32, overlap: 0 }, 32).unwrap();
    Model { revision: "r1".into(), dimension: 2, chunker }
}

/// An embedder.
pub(super) struct FakeEmbedding {
    model: Arc<Model>,
    /// Errors of the next calls.
    pub(super) errors: Mutex<VecDeque<ErrorCode>>,
    /// Texts with `POISON` in them fail.
    pub(super) poison: AtomicBool,
    /// Every call fails as if nobody were there.
    pub(super) away: AtomicBool,
    /// The next batch waits for `go_on`, having said so through `hanging`.
    pub(super) hang: AtomicBool,
    pub(super) hanging: Notify,
    pub(super) go_on: Notify,
}

impl Default for FakeEmbedding {
    fn default() -> Self {
        Self {
            model: Arc::new(model()),
            errors: Mutex::default(),
            poison: AtomicBool::new(true),
            away: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            hanging: Notify::new(),
            go_on: Notify::new(),
        }
    }
}

#[async_trait]
impl Embedding for FakeEmbedding {
    async fn model(&self) -> Result<Arc<Model>> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::unavailable("nobody is there"));
        }
        Ok(self.model.clone())
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.model().await?;
        if self.hang.swap(false, Ordering::SeqCst) {
            self.hanging.notify_one();
            self.go_on.notified().await;
        }
        assert!(!texts.iter().any(|text| text.contains("PANIC")), "a bug in the embedder");
        let poisoned = self.poison.load(Ordering::SeqCst) && texts.iter().any(|text| text.contains("POISON"));
        let error = if poisoned { Some(ErrorCode::Internal) } else { self.errors.lock().unwrap().pop_front() };
        tokio::task::yield_now().await;
        match error {
            Some(code) => Err(Error::new(code, "as told")),
            None => Ok(vec![vec![1.0, 0.0]; texts.len()]),
        }
    }
}

type Name = (String, String);

/// What an index holds.
#[derive(Default)]
pub(super) struct Held {
    /// Contents by document, version and chunk.
    chunks: BTreeMap<(Name, u64, u32), String>,
    live: BTreeMap<Name, u64>,
}

/// An index that checks the order of what is asked of it.
#[derive(Default)]
pub(super) struct FakeIndex {
    held: Mutex<Held>,
    /// Errors of the next calls, after their effect: answers that got lost.
    pub(super) answers: Mutex<VecDeque<Option<ErrorCode>>>,
    /// The next publication finds the last staged chunk lost, as after a crash of the index.
    pub(super) loses_a_chunk: AtomicBool,
}

fn name(tenant: &TenantId, document: &DocumentId) -> Name {
    (tenant.to_string(), document.to_string())
}

impl FakeIndex {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    async fn outcome(&self) -> Result<()> {
        let error = self.answers.lock().unwrap().pop_front().flatten();
        tokio::task::yield_now().await;
        error.map_or(Ok(()), |code| Err(Error::new(code, "as told")))
    }

    /// What searches see of a document of tenant `t`.
    pub(super) fn visible(&self, document: &str) -> Vec<String> {
        let (held, name) = (self.held(), ("t".to_owned(), document.to_owned()));
        let Some(live) = held.live.get(&name) else { return Vec::new() };
        held.chunks
            .iter()
            .filter(|((n, version, _), _)| n == &name && version == live)
            .map(|(_, c)| c.clone())
            .collect()
    }

    /// The versions of which there is anything.
    pub(super) fn versions(&self, document: &str) -> BTreeSet<u64> {
        let name = ("t".to_owned(), document.to_owned());
        self.held().chunks.keys().filter(|(n, _, _)| n == &name).map(|(_, version, _)| *version).collect()
    }
}

#[async_trait]
impl Index for FakeIndex {
    async fn stage(&self, batch: Batch<'_>) -> Result<()> {
        assert_eq!(batch.chunks.len(), batch.vectors.len());
        let name = name(&batch.job.tenant, &batch.job.document_id);
        for chunk in batch.chunks {
            self.held().chunks.insert((name.clone(), batch.job.version, chunk.index), chunk.content.clone());
        }
        self.outcome().await
    }

    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()> {
        let name = name(tenant, document);
        {
            let mut held = self.held();
            if self.loses_a_chunk.swap(false, Ordering::SeqCst) {
                held.chunks.remove(&(name.clone(), version, chunks - 1));
            }
            if !(0..chunks).all(|chunk| held.chunks.contains_key(&(name.clone(), version, chunk))) {
                return Err(Error::not_found("chunks are missing"));
            }
            assert!(held.live.get(&name).is_none_or(|live| *live <= version), "an older version was published");
            held.live.insert(name, version);
        }
        self.outcome().await
    }

    async fn remove(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()> {
        let name = name(tenant, document);
        {
            let mut held = self.held();
            held.chunks.retain(|(n, version, _), _| n != &name || *version >= below);
            if held.live.get(&name).is_some_and(|live| *live < below) {
                held.live.remove(&name);
            }
        }
        self.outcome().await
    }
}
