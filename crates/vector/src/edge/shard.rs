//! One shard: who may do what at the same time, and what a shard does when its engine fails.
//!
//! Two locks. The *writer* mutex is held by whoever changes or flushes the shard, as the engine's `flush` panics beside an
//! update. The *engine* lock is read by searches and written by the short moment in which a version goes live, so that
//! a search sees a document before or after that, never between.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ragstone_core::{Error, ErrorCode, Result};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::analyzers::Analyzers;
use crate::edge::engine::{Engine, EngineError, NewPoint};
use crate::edge::filter::{self, ReadFilter};
use crate::edge::{maintenance, recovery};
use crate::fusion::Found;
use crate::payload::{self, CHUNKS, Label, STATE, State};
use crate::question::Question;

/// A point to store, with whose it is.
pub(crate) struct StagedPoint {
    pub(crate) tenant: String,
    pub(crate) document: String,
    pub(crate) version: u64,
    pub(crate) point: NewPoint,
}

/// What only the holder of the writer mutex may touch.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The value of `applied` that the last flush covered.
    pub(crate) flushed: u64,
}

/// What all shards of a store share.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) dimension: usize,
    pub(crate) min_free_bytes: u64,
    /// Learns the languages of every shard that is opened.
    pub(crate) analyzers: Arc<Analyzers>,
    /// Keeps other processes out of the directory as long as any shard is there.
    pub(crate) _lock: Arc<File>,
}

/// One shard of the store.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) name: String,
    path: PathBuf,
    engine: RwLock<Option<Arc<Engine>>>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// Counts updates.
    applied: AtomicU64,
    /// Points stored or removed since the last optimisation.
    changed: AtomicU64,
    /// Held while segments are optimised: the engine cannot be closed and opened again then.
    pub(crate) optimizing: Mutex<()>,
    /// Set once the shard is closed for good: it is not opened again.
    closed: AtomicBool,
    /// Why the shard cannot serve.
    failure: Mutex<Option<String>>,
    /// Last: the directory is unlocked after the engine is closed.
    setting: Setting,
}

impl Shard {
    /// Opens or creates the shard. A shard that cannot be opened is there, but unhealthy.
    pub(crate) fn open(name: String, path: PathBuf, setting: Setting, clean: bool) -> Self {
        let shard = Self {
            name,
            path,
            engine: RwLock::new(None),
            writer: Arc::default(),
            applied: AtomicU64::new(0),
            changed: AtomicU64::new(maintenance::OPTIMIZE_AFTER),
            optimizing: Mutex::new(()),
            closed: AtomicBool::new(false),
            failure: Mutex::new(None),
            setting,
        };
        // What went wrong is kept and logged by `reopen`.
        drop(shard.reopen(!clean));
        shard
    }

    /// Whether the shard can serve.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Runs `job` on the blocking pool as the only writer.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Self, &mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let shard = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || job(&shard, &mut writer)).await;
        done.map_err(|error| Error::internal("a task of the vector index stopped").with_source(error))?
    }

    /// The best live chunks of each kind, as one moment of the shard shows them.
    pub(crate) fn search(&self, question: &Question, filter: &ReadFilter) -> Result<Found> {
        self.serving()?;
        let guard = self.read();
        let engine = guard.as_deref().ok_or_else(|| self.unavailable())?;
        self.watched(|| {
            let dense = match &question.dense {
                Some(vector) => engine.nearest(vector.clone(), filter.engine(), question.limit)?,
                None => Vec::new(),
            };
            let sparse = match &question.sparse {
                Some(sparse) => engine.keywords(sparse.clone(), filter.engine(), question.limit)?,
                None => Vec::new(),
            };
            let mut ids: Vec<Uuid> = dense.iter().chain(&sparse).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.dedup();
            Ok((dense, sparse, engine.payloads(&ids)?))
        })
        .and_then(|(dense, sparse, payloads)| {
            let chunks = payloads.into_iter().map(|(id, payload)| Ok((id, payload::decode(payload)?)));
            Ok(Found { dense, sparse, chunks: chunks.collect::<Result<_>>()? })
        })
    }

    /// Stores points staged. Points that are already live or replaced stay as they are, and so does a document whose
    /// live version is newer.
    pub(crate) fn upsert(&self, _: &mut Writer, points: Vec<StagedPoint>) -> Result<()> {
        let engine = self.engine()?;
        self.check_space()?;
        let mut documents: BTreeMap<(String, String, u64), Vec<NewPoint>> = BTreeMap::new();
        for staged in points {
            documents.entry((staged.tenant, staged.document, staged.version)).or_default().push(staged.point);
        }
        let mut fresh = Vec::new();
        for ((tenant, document, version), points) in documents {
            if live_version(&self.labels(&engine, &tenant, &document)?).is_none_or(|live| live <= version) {
                fresh.extend(points);
            } else {
                tracing::debug!(shard = %self.name, version, "chunks of a version older than the live one dropped");
            }
        }
        self.note(fresh.len());
        self.watched(|| engine.upsert(fresh, filter::in_state(State::Staged)))
    }

    /// Makes the version live and every other one not, in one moment.
    pub(crate) fn publish(
        &self,
        _: &mut Writer,
        tenant: &str,
        document: &str,
        version: u64,
        chunks: u32,
    ) -> Result<()> {
        let engine = self.engine()?;
        let labels = self.labels(&engine, tenant, document)?;
        if live_version(&labels).is_some_and(|live| live > version) {
            tracing::debug!(shard = %self.name, version, "publishing a version older than the live one ignored");
            return Ok(());
        }
        let target: Vec<&(Uuid, Label)> = labels.iter().filter(|(_, label)| label.version == version).collect();
        if !is_whole(&target, chunks) {
            return Err(Error::not_found(format!(
                "version {version} of document '{document}' is not stored completely: store its chunks again"
            )));
        }
        let to_show: Vec<Uuid> = ids(target.iter().copied(), |label| label.state != State::Live);
        let to_hide = ids(&labels, |label| label.version != version && label.state == State::Live);
        if to_show.is_empty() && to_hide.is_empty() {
            return Ok(());
        }
        let shown = fields(json!({STATE: State::Live, CHUNKS: target.len()}));
        self.note(to_show.len() + to_hide.len());
        let _nobody_reads = self.exclusive();
        self.watched(|| {
            if !to_show.is_empty() {
                engine.set_payload(to_show, shown)?;
            }
            if !to_hide.is_empty() {
                engine.set_payload(to_hide, fields(json!({STATE: State::Old})))?;
            }
            Ok(())
        })
    }

    /// Removes the document's versions below `below`.
    pub(crate) fn remove(&self, writer: &mut Writer, tenant: &str, document: &str, below: u64) -> Result<()> {
        let engine = self.engine()?;
        let labels = self.labels(&engine, tenant, document)?;
        let doomed = ids(&labels, |label| label.version < below);
        if doomed.is_empty() {
            return Ok(());
        }
        if doomed.len() < labels.len() {
            // What replaces them must be on disk first, or a crash could leave the document without any version.
            self.flush_to(writer, self.applied.load(Ordering::Acquire))?;
        }
        self.note(doomed.len());
        self.watched(|| engine.delete(doomed))
    }

    /// A ticket for [`Self::flush_to`]: everything applied until now.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Puts every update up to `target` on disk. Callers that waited while another one's flush covered theirs do nothing.
    pub(crate) fn flush_to(&self, writer: &mut Writer, target: u64) -> Result<()> {
        let engine = self.engine()?;
        if writer.flushed >= target {
            return Ok(());
        }
        let covered = self.applied.load(Ordering::Acquire);
        self.watched(|| engine.flush())?;
        writer.flushed = covered;
        Ok(())
    }

    /// Closes the engine if it is open and opens it from what is on disk, mending what a crash may have left behind
    /// where `repair` says so. The caller is the only writer.
    pub(crate) fn reopen(&self, repair: bool) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.unavailable());
        }
        let _not_optimizing = self.optimizing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self.exclusive();
        if let Some(engine) = slot.take()
            && let Err(error) = Engine::close(engine)
        {
            tracing::warn!(shard = %self.name, error = %error, "closing a shard failed");
        }
        let opened = Engine::open(&self.path, self.setting.dimension).and_then(|engine| {
            if repair {
                recovery::repair(&self.name, &engine)?;
            }
            // Before it serves: it may hold languages that no other shard has.
            self.setting.analyzers.learn(engine.distinct(payload::ANALYZER)?);
            Ok(engine)
        });
        match opened {
            Ok(engine) => {
                *slot = Some(Arc::new(engine));
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(())
            }
            Err(error) => {
                let error = Error::from(error);
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// Flushes and closes the engine for good; doing it again changes nothing.
    pub(crate) fn close(&self, writer: &mut Writer) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = self.flush_to(writer, self.applied());
        let Some(engine) = self.exclusive().take() else {
            return flushed;
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some("closed".to_owned());
        flushed.and(Engine::close(engine).map_err(Error::from))
    }

    /// Merges, cleans and indexes segments; searches and updates go on meanwhile. Whether it changed anything.
    pub(crate) fn optimize(&self) -> Result<bool> {
        let changed = {
            let _one_at_a_time = self.optimizing.lock().unwrap_or_else(PoisonError::into_inner);
            let engine = self.engine()?;
            self.watched(|| engine.optimize())?
        };
        if changed {
            // Making an index is an update. Not while `optimizing` is held: `reopen` takes the two the other way round.
            let _only_writer = self.writer.blocking_lock();
            let engine = self.engine()?;
            self.watched(|| engine.ensure_indexes())?;
        }
        Ok(changed)
    }

    /// The open engine; for writers and for the maintenance thread, never for searches.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>> {
        self.serving()?;
        self.read().clone().ok_or_else(|| self.unavailable())
    }

    /// The writer mutex, from a thread that may block.
    pub(crate) fn writer(&self) -> &tokio::sync::Mutex<Writer> {
        &self.writer
    }

    /// Points stored or removed since this was last reset.
    pub(crate) fn changed(&self) -> &AtomicU64 {
        &self.changed
    }

    /// `StorageFull` when the disk is nearly full. The engine writes through memory maps: on a full disk that is a signal
    /// that kills the process, so the check comes first.
    pub(crate) fn check_space(&self) -> Result<()> {
        let free = fs4::available_space(&self.path)
            .map_err(|error| Error::unavailable("the free disk space is unknown").with_source(error))?;
        if free < self.setting.min_free_bytes {
            return Err(Error::new(ErrorCode::StorageFull, "the disk of the vector index is nearly full"));
        }
        Ok(())
    }

    /// Runs engine calls; marks the shard unhealthy when the engine breaks down.
    pub(crate) fn watched<T>(&self, work: impl FnOnce() -> std::result::Result<T, EngineError>) -> Result<T> {
        work().map_err(|error| {
            let broken = matches!(error, EngineError::Broken(_));
            let error = Error::from(error);
            if broken {
                self.fail(&error);
            }
            error
        })
    }

    pub(crate) fn labels(&self, engine: &Engine, tenant: &str, document: &str) -> Result<Vec<(Uuid, Label)>> {
        let found = self.watched(|| engine.scan(Some(&filter::document(tenant, document)), &Label::FIELDS))?;
        Ok(found.into_iter().filter_map(|(id, payload)| Some((id, Label::decode(payload)?))).collect())
    }

    pub(crate) fn note(&self, points: usize) {
        self.applied.fetch_add(1, Ordering::AcqRel);
        self.changed.fetch_add(points as u64, Ordering::Relaxed);
    }

    fn fail(&self, error: &Error) {
        tracing::error!(shard = %self.name, error = %error.chain(), "a shard of the vector index is out of service");
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.chain());
    }

    fn serving(&self) -> Result<()> {
        if self.is_healthy() { Ok(()) } else { Err(self.unavailable()) }
    }

    fn unavailable(&self) -> Error {
        let reason = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        Error::unavailable(format!("shard {} of the vector index is out of service", self.name)).with_source(reason)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Arc<Engine>>> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps every search out while it is held.
    pub(crate) fn exclusive(&self) -> RwLockWriteGuard<'_, Option<Arc<Engine>>> {
        self.engine.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(engine) = self.exclusive().take()
            && let Err(error) = Engine::close(engine)
        {
            tracing::warn!(shard = %self.name, error = %error, "closing a shard failed");
        }
    }
}

/// The highest version of which a point is live.
pub(crate) fn live_version(labels: &[(Uuid, Label)]) -> Option<u64> {
    labels.iter().filter(|(_, label)| label.state == State::Live).map(|(_, label)| label.version).max()
}

/// Whether these chunks of one version are numbered from 0 without a gap.
fn is_whole(stored: &[&(Uuid, Label)], chunks: u32) -> bool {
    let mut numbers: Vec<u32> = stored.iter().map(|(_, label)| label.chunk_index).collect();
    numbers.sort_unstable();
    numbers.into_iter().eq(0..chunks)
}

fn ids<'a>(labels: impl IntoIterator<Item = &'a (Uuid, Label)>, which: impl Fn(&Label) -> bool) -> Vec<Uuid> {
    labels.into_iter().filter(|(_, label)| which(label)).map(|(id, _)| *id).collect()
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
