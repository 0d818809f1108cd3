//! An embedder and an index in memory that fail, hang and remember as told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ragstone_core::{Error, ErrorCode, IndexName, IndexSpec, Result, Topology};
use ragstone_text::{ChunkConfig, Chunker, TokenCounter};
use tokio::sync::Notify;

use crate::embed::{Embedding, Model};
use crate::index::{Batch, Entry, Index, Place};

/// Counts words.
const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;

/// The default model `m` reads 32 words; `n` has longer vectors and reads 32 bytes.
fn model(id: &str) -> Option<Model> {
    let words = || TokenCounter::from_tokenizer_json(TOKENIZER.as_bytes()).unwrap();
    let (spec, counter) = match id {
        "" | "m" => (IndexSpec::of("m", "r1", 2), words()),
        "n" => (IndexSpec::of("n", "r1", 3), TokenCounter::by_bytes(1).unwrap()),
        _ => return None,
    };
    let chunker = Chunker::new(counter, &ChunkConfig { tokens: 32, overlap: 0 }, 32).unwrap();
    Some(Model { spec, chunker })
}

/// An embedder.
pub(super) struct FakeEmbedding {
    /// Errors of the next calls.
    pub(super) errors: Mutex<VecDeque<ErrorCode>>,
    /// Texts with `POISON` in them fail.
    pub(super) poison: AtomicBool,
    /// Every call fails as if nobody were there.
    pub(super) away: AtomicBool,
    /// Calls for the model `n` fail as if nobody were there.
    pub(super) n_is_away: AtomicBool,
    /// The next batch waits for `go_on`, having said so through `hanging`.
    pub(super) hang: AtomicBool,
    pub(super) hanging: Notify,
    pub(super) go_on: Notify,
}

impl Default for FakeEmbedding {
    fn default() -> Self {
        Self {
            errors: Mutex::default(),
            poison: AtomicBool::new(true),
            away: AtomicBool::new(false),
            n_is_away: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            hanging: Notify::new(),
            go_on: Notify::new(),
        }
    }
}

#[async_trait]
impl Embedding for FakeEmbedding {
    async fn model(&self, id: &str) -> Result<Arc<Model>> {
        if self.away.load(Ordering::SeqCst) || (id == "n" && self.n_is_away.load(Ordering::SeqCst)) {
            return Err(Error::unavailable("nobody is there"));
        }
        model(id).map(Arc::new).ok_or_else(|| Error::not_found(format!("there is no model '{id}'")))
    }

    async fn embed(&self, model: &Model, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.model(&model.spec.model).await?;
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
            None => Ok(vec![vec![1.0; model.spec.dimension]; texts.len()]),
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
    topology: Topology,
}

/// What the store holds.
#[derive(Default)]
pub(super) struct Stored {
    indexes: BTreeMap<IndexName, Held>,
    serving: Option<IndexName>,
}

/// Indexes that check the order of what is asked of them.
#[derive(Default)]
pub(super) struct FakeIndex {
    stored: Mutex<Stored>,
    /// Errors of the next calls, after their effect: answers that got lost.
    pub(super) answers: Mutex<VecDeque<Option<ErrorCode>>>,
    /// The next publication finds the last staged chunk lost, as after a crash of the index.
    pub(super) loses_a_chunk: AtomicBool,
    /// Documents that were brought to their shard.
    pub(super) moved: Mutex<BTreeSet<String>>,
    /// The indexes whose documents were counted.
    pub(super) counted: Mutex<Vec<IndexName>>,
    /// How often the end of a move is refused.
    pub(super) unfinished: AtomicUsize,
}

fn name(place: Place<'_>) -> Name {
    (place.tenant.to_string(), place.document.to_string())
}

impl FakeIndex {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    async fn outcome(&self) -> Result<()> {
        let error = self.answers.lock().unwrap().pop_front().flatten();
        tokio::task::yield_now().await;
        error.map_or(Ok(()), |code| Err(Error::new(code, "as told")))
    }

    /// Which index serves.
    pub(super) fn serves(&self) -> IndexName {
        self.stored().serving.clone().unwrap()
    }

    /// What searches see of a document of tenant `t`.
    pub(super) fn visible(&self, document: &str) -> Vec<String> {
        let serving = self.stored().serving.clone();
        serving.map(|index| self.visible_in(&index, document)).unwrap_or_default()
    }

    /// What searches of this index see of a document of tenant `t`.
    pub(super) fn visible_in(&self, index: &IndexName, document: &str) -> Vec<String> {
        let (stored, name) = (self.stored(), ("t".to_owned(), document.to_owned()));
        let Some(held) = stored.indexes.get(index) else { return Vec::new() };
        let Some(live) = held.live.get(&name) else { return Vec::new() };
        let chunks = held.chunks.iter().filter(|((n, version, _), _)| n == &name && version == live);
        chunks.map(|(_, content)| content.clone()).collect()
    }

    /// The versions of which there is anything, in whatever index.
    pub(super) fn versions(&self, document: &str) -> BTreeSet<u64> {
        let name = ("t".to_owned(), document.to_owned());
        let stored = self.stored();
        let keys = stored.indexes.values().flat_map(|held| held.chunks.keys());
        keys.filter(|(n, _, _)| n == &name).map(|(_, version, _)| *version).collect()
    }

    /// Loses a document of tenant `t` in one index.
    pub(super) fn lose(&self, index: &IndexName, document: &str) {
        let name = ("t".to_owned(), document.to_owned());
        self.stored().indexes.get_mut(index).unwrap().live.remove(&name);
    }

    /// Forgets everything, as a store does that was set up anew.
    pub(super) fn lose_everything(&self) {
        *self.stored() = Stored::default();
    }
}

fn no_index(index: &IndexName) -> Error {
    Error::not_found(format!("there is no index '{index}'"))
}

#[async_trait]
impl Index for FakeIndex {
    async fn stage(&self, index: &IndexName, batch: Batch<'_>) -> Result<()> {
        assert_eq!(batch.chunks.len(), batch.vectors.len());
        let name = (batch.job.tenant.to_string(), batch.job.document_id.to_string());
        {
            let mut stored = self.stored();
            let held = stored.indexes.get_mut(index).ok_or_else(|| no_index(index))?;
            for chunk in batch.chunks {
                held.chunks.insert((name.clone(), batch.job.version, chunk.index), chunk.content.clone());
            }
        }
        self.outcome().await
    }

    async fn publish(&self, place: Place<'_>, version: u64, chunks: u32) -> Result<()> {
        let name = name(place);
        {
            let mut stored = self.stored();
            let held = stored.indexes.get_mut(place.index).ok_or_else(|| no_index(place.index))?;
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

    async fn remove(&self, place: Place<'_>, below: u64) -> Result<()> {
        let name = name(place);
        {
            let mut stored = self.stored();
            let held = stored.indexes.get_mut(place.index).ok_or_else(|| no_index(place.index))?;
            held.chunks.retain(|(n, version, _), _| n != &name || *version >= below);
            if held.live.get(&name).is_some_and(|live| *live < below) {
                held.live.remove(&name);
            }
        }
        self.outcome().await
    }

    async fn relocate(&self, place: Place<'_>) -> Result<()> {
        self.moved.lock().unwrap().insert(place.document.to_string());
        self.outcome().await
    }

    async fn create(&self, spec: &IndexSpec) -> Result<()> {
        let mut stored = self.stored();
        let topology = Topology { shards: vec!["s0".to_owned()], moving_to: None };
        stored.indexes.entry(spec.name.clone()).or_insert_with(|| Held { topology, ..Held::default() });
        stored.serving.get_or_insert_with(|| spec.name.clone());
        Ok(())
    }

    async fn scan(&self, count: bool) -> Result<Vec<Entry>> {
        let stored = self.stored();
        if count {
            self.counted.lock().unwrap().extend(stored.indexes.keys().cloned());
        }
        let entry = |(name, held): (&IndexName, &Held)| Entry {
            name: name.clone(),
            serving: stored.serving.as_ref() == Some(name),
            documents: count.then_some(held.live.len() as u64),
            topology: held.topology.clone(),
        };
        Ok(stored.indexes.iter().map(entry).collect())
    }

    async fn look(&self, index: &IndexName, count: bool) -> Result<Option<Entry>> {
        let found = self.scan(false).await?.into_iter().find(|entry| entry.name == *index);
        let Some(entry) = found.clone().filter(|_| count) else { return Ok(found) };
        self.counted.lock().unwrap().push(index.clone());
        let documents = Some(self.stored().indexes[index].live.len() as u64);
        Ok(Some(Entry { documents, ..entry }))
    }

    async fn serve(&self, index: &IndexName) -> Result<()> {
        let mut stored = self.stored();
        assert!(stored.indexes.contains_key(index));
        stored.serving = Some(index.clone());
        Ok(())
    }

    async fn drop_index(&self, index: &IndexName) -> Result<()> {
        let mut stored = self.stored();
        assert_ne!(stored.serving.as_ref(), Some(index), "an index was dropped that serves");
        stored.indexes.remove(index);
        Ok(())
    }

    async fn topology(&self, index: &IndexName) -> Result<Topology> {
        let stored = self.stored();
        stored.indexes.get(index).map(|held| held.topology.clone()).ok_or_else(|| no_index(index))
    }

    async fn begin_reshard(&self, index: &IndexName, shards: &[String]) -> Result<Topology> {
        let mut stored = self.stored();
        let held = stored.indexes.get_mut(index).ok_or_else(|| no_index(index))?;
        held.topology.moving_to = Some(shards.to_vec());
        Ok(held.topology.clone())
    }

    async fn finish_reshard(&self, index: &IndexName) -> Result<()> {
        let refuses = |left: usize| left.checked_sub(1);
        if self.unfinished.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses).is_ok() {
            return Err(Error::conflict("documents are still where they do not belong"));
        }
        let mut stored = self.stored();
        let held = stored.indexes.get_mut(index).ok_or_else(|| no_index(index))?;
        let shards = held.topology.moving_to.take().unwrap_or_default();
        held.topology.shards = shards;
        Ok(())
    }
}
