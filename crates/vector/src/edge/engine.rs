//! One `EdgeShard`, with its panics contained and its errors sorted. No locking: `shard.rs` decides who calls when.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qdrant_edge as edge;
use ragstone_core::{Error, ErrorCode, INJECTION_SCORE};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::payload::{ANALYZER, DOCUMENT, GROUPS, PUBLIC, STATE, TENANT};

const DENSE: &str = "dense";
const SPARSE: &str = "bm25";
/// Capacity of one file of the engine's log.
const LOG_FILE_BYTES: usize = 8 << 20;
/// Segments larger than this are not merged further: bounds how long one optimisation takes.
const MAX_SEGMENT_KIB: usize = 100_000;
/// Points read from the engine at a time.
const PAGE: usize = 1000;
/// How often, and how far apart, a flush is tried again while the optimiser swaps segments.
const FLUSH_TRIES: u32 = 200;
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

/// Why the engine did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// No room on the disk.
    #[error("the disk is full: {0}")]
    Full(String),
    /// It panicked: what it holds in memory is not to be trusted any more.
    #[error("the vector engine broke down: {0}")]
    Broken(String),
    /// It refused this operation only.
    #[error("the vector engine refused: {0}")]
    Refused(String),
}

impl EngineError {
    fn sort(text: String, panicked: bool) -> Self {
        // Also when the disk was full: after a panic nothing that is in memory can be trusted.
        if panicked {
            Self::Broken(text)
        } else if ["StorageFull", "No space left", "os error 28"].iter().any(|sign| text.contains(sign)) {
            Self::Full(text)
        } else {
            Self::Refused(text)
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let (code, message) = match &error {
            EngineError::Full(_) => (ErrorCode::StorageFull, "the disk of the vector index is full"),
            EngineError::Broken(_) => (ErrorCode::Unavailable, "a shard of the vector index broke down"),
            EngineError::Refused(_) => (ErrorCode::Internal, "the vector index refused an operation"),
        };
        Self::new(code, message).with_source(error)
    }
}

type Result<T> = std::result::Result<T, EngineError>;

/// Runs `work` and turns a panic into [`EngineError::Broken`].
fn contained<T>(work: impl FnOnce() -> edge::OperationResult<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EngineError::sort(error.to_string(), false)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
            Err(EngineError::sort(text.unwrap_or_else(|| "panic".to_owned()), true))
        }
    }
}

/// A point as the engine takes it.
pub(crate) struct NewPoint {
    pub(crate) id: Uuid,
    pub(crate) dense: Vec<f32>,
    pub(crate) sparse: edge::SparseVector,
    pub(crate) payload: Map<String, Value>,
}

/// One open shard of the engine.
#[derive(Debug)]
pub(crate) struct Engine {
    shard: edge::EdgeShard,
    path: PathBuf,
}

impl Engine {
    /// Opens the shard in `path`, or creates it where there is none.
    pub(crate) fn open(path: &Path, dimension: usize) -> Result<Self> {
        let io = |error: std::io::Error| EngineError::sort(format!("{}: {error}", path.display()), false);
        fs::create_dir_all(path).map_err(io)?;
        prune_log(&path.join("wal")).map_err(io)?;
        let exists = fs::read_dir(path.join("segments")).is_ok_and(|mut entries| entries.next().is_some());
        let config = engine_config(dimension);
        let shard = contained(|| {
            if exists { edge::EdgeShard::load(path, Some(config)) } else { edge::EdgeShard::new(path, config) }
        })?;
        let engine = Self { shard, path: path.to_owned() };
        engine.ensure_indexes()?;
        Ok(engine)
    }

    /// Fields that filters and counts ask for. Doing it again changes nothing.
    pub(crate) fn ensure_indexes(&self) -> Result<()> {
        let keyword = edge::PayloadSchemaType::Keyword;
        let keywords = [TENANT, DOCUMENT, STATE, GROUPS, ANALYZER].map(|field| (field, keyword));
        let others = [(PUBLIC, edge::PayloadSchemaType::Bool), (INJECTION_SCORE, edge::PayloadSchemaType::Float)];
        keywords.into_iter().chain(others).try_for_each(|(field, kind)| {
            self.update(edge::UpdateOperation::FieldIndexOperation(edge::FieldIndexOperations::CreateIndex(
                edge::CreateIndex {
                    field_name: crate::edge::filter::plain_path(field),
                    field_schema: Some(edge::PayloadFieldSchema::FieldType(kind)),
                },
            )))
        })
    }

    fn update(&self, operation: edge::UpdateOperation) -> Result<()> {
        contained(|| self.shard.update(operation))
    }

    /// Stores points, except where a point with that id exists and does not match `replaceable`.
    pub(crate) fn upsert(&self, points: Vec<NewPoint>, replaceable: edge::Filter) -> Result<()> {
        self.update(edge::UpdateOperation::PointOperation(edge::PointOperations::UpsertPointsConditional(
            edge::ConditionalInsertOperation { points_op: list(points), condition: replaceable, update_mode: None },
        )))
    }

    /// Stores points in place of what is there under their ids.
    pub(crate) fn store(&self, points: Vec<NewPoint>) -> Result<()> {
        self.update(edge::UpdateOperation::PointOperation(edge::PointOperations::UpsertPoints(list(points))))
    }

    /// Sets these payload fields of these points.
    pub(crate) fn set_payload(&self, ids: Vec<Uuid>, fields: Map<String, Value>) -> Result<()> {
        self.update(edge::UpdateOperation::PayloadOperation(edge::PayloadOps::SetPayload(edge::SetPayloadOp {
            payload: edge::Payload(fields),
            points: Some(ids.into_iter().map(edge::PointId::Uuid).collect()),
            filter: None,
            key: None,
        })))
    }

    /// Removes these points.
    pub(crate) fn delete(&self, ids: Vec<Uuid>) -> Result<()> {
        let ids = ids.into_iter().map(edge::PointId::Uuid).collect();
        self.update(edge::UpdateOperation::PointOperation(edge::PointOperations::DeletePoints { ids }))
    }

    /// The `limit` nearest points by cosine, best first.
    pub(crate) fn nearest(&self, vector: Vec<f32>, filter: edge::Filter, limit: usize) -> Result<Vec<(Uuid, f32)>> {
        self.search(edge::VectorInternal::Dense(vector), DENSE, filter, limit)
    }

    /// The `limit` best points by BM25, best first.
    pub(crate) fn keywords(
        &self,
        sparse: edge::SparseVector,
        filter: edge::Filter,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        if sparse.indices.is_empty() {
            return Ok(Vec::new());
        }
        self.search(edge::VectorInternal::Sparse(sparse), SPARSE, filter, limit)
    }

    fn search(
        &self,
        query: edge::VectorInternal,
        using: &str,
        filter: edge::Filter,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        let request = edge::SearchRequest {
            query: edge::QueryEnum::Nearest(edge::NamedQuery { query, using: Some(using.to_owned()) }),
            filter: Some(filter),
            params: None,
            limit,
            offset: 0,
            with_payload: None,
            with_vector: None,
            score_threshold: None,
        };
        let found = contained(|| self.shard.search(request))?;
        Ok(found.into_iter().filter_map(|point| Some((uuid_of(point.id)?, point.score))).collect())
    }

    /// The whole payload of each of these points that exists.
    pub(crate) fn payloads(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Map<String, Value>)>> {
        let ids: Vec<_> = ids.iter().copied().map(edge::PointId::Uuid).collect();
        Ok(records(contained(|| self.shard.retrieve(&ids, None, None))?))
    }

    /// The named payload fields of every point that matches, in order of their ids.
    pub(crate) fn scan(
        &self,
        filter: Option<&edge::Filter>,
        fields: &[&str],
    ) -> Result<Vec<(Uuid, Map<String, Value>)>> {
        let mut all = Vec::new();
        self.each(filter, fields, |id, payload| all.push((id, payload)))?;
        Ok(all)
    }

    /// Hands over the named payload fields of every point that matches, in order of their ids.
    pub(crate) fn each(
        &self,
        filter: Option<&edge::Filter>,
        fields: &[&str],
        mut take: impl FnMut(Uuid, Map<String, Value>),
    ) -> Result<()> {
        let fields = fields.iter().map(|field| crate::edge::filter::plain_path(field)).collect();
        let request = edge::ScrollRequest {
            filter: filter.cloned(),
            with_payload: Some(edge::WithPayloadInterface::Fields(fields)),
            ..edge::ScrollRequest::default()
        };
        self.pages(request, |page| records(page).into_iter().for_each(|(id, payload)| take(id, payload)))
    }

    /// Every point that matches, as it is stored.
    pub(crate) fn points(&self, filter: &edge::Filter) -> Result<Vec<NewPoint>> {
        let request = edge::ScrollRequest {
            filter: Some(filter.clone()),
            with_payload: Some(edge::WithPayloadInterface::Bool(true)),
            with_vector: edge::WithVector::Bool(true),
            ..edge::ScrollRequest::default()
        };
        let mut all = Vec::new();
        self.pages(request, |page| all.extend(page.into_iter().filter_map(stored)))?;
        Ok(all)
    }

    fn pages(&self, mut request: edge::ScrollRequest, mut take: impl FnMut(Vec<edge::Record>)) -> Result<()> {
        request.limit = Some(PAGE);
        loop {
            let (page, next) = contained(|| self.shard.scroll(request.clone()))?;
            take(page);
            if next.is_none() {
                return Ok(());
            }
            request.offset = next;
        }
    }

    /// The distinct values of an indexed text field.
    pub(crate) fn distinct(&self, field: &str) -> Result<BTreeSet<String>> {
        let request =
            edge::FacetRequest { key: crate::edge::filter::plain_path(field), limit: PAGE, filter: None, exact: true };
        let found = contained(|| self.shard.facet(request))?;
        Ok(found
            .hits
            .into_iter()
            .filter_map(|hit| match hit.value {
                edge::FacetValue::Keyword(value) => Some(value),
                _ => None,
            })
            .collect())
    }

    /// How many points are stored, in whatever state.
    pub(crate) fn count(&self, filter: Option<edge::Filter>) -> Result<usize> {
        contained(|| self.shard.count(edge::CountRequest { filter, exact: true }))
    }

    /// Puts everything on disk. Nothing may update the shard meanwhile: the engine panics then.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let flushed = contained(|| {
                self.shard.flush();
                Ok(())
            });
            match flushed {
                // The optimiser holds this lock for a moment when it swaps segments; nothing is damaged.
                Err(EngineError::Broken(text)) if text.contains("holder lock acquired") && tries < FLUSH_TRIES => {
                    tries += 1;
                    std::thread::sleep(FLUSH_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Merges, cleans and indexes segments; may take long. Whether it changed anything: then `ensure_indexes` must follow.
    pub(crate) fn optimize(&self) -> Result<bool> {
        contained(|| self.shard.optimize())
    }

    /// Bytes of closed log files. The engine neither replays nor shortens its log; opening it again does the latter.
    pub(crate) fn closed_log_bytes(&self) -> u64 {
        let files = closed_logs(&self.path.join("wal")).unwrap_or_default();
        files.iter().filter_map(|(_, path)| Some(fs::metadata(path).ok()?.len())).sum()
    }

    /// Closes the shard; its destructor flushes, and panics where that fails.
    pub(crate) fn close(engine: Arc<Self>) -> Result<()> {
        contained(move || {
            drop(engine);
            Ok(())
        })
    }
}

fn engine_config(dimension: usize) -> edge::EdgeConfig {
    let sparse = edge::EdgeSparseVectorParams { modifier: Some(edge::Modifier::Idf), ..Default::default() };
    edge::EdgeConfig::builder()
        .vector(DENSE, edge::EdgeVectorParams::builder(dimension, edge::Distance::Cosine).build())
        .sparse_vector(SPARSE, sparse)
        // One background thread: building an index must leave the other cores to searches.
        .hnsw_config(edge::HnswIndexConfig { max_indexing_threads: 1, ..edge::EdgeConfig::default().hnsw_config })
        .optimizers(edge::EdgeOptimizersConfig { max_segment_size: Some(MAX_SEGMENT_KIB), ..Default::default() })
        .wal_options(edge::WalOptions { segment_capacity: LOG_FILE_BYTES, ..edge::WalOptions::default() })
        .build()
}

fn list(points: Vec<NewPoint>) -> edge::PointInsertOperations {
    let points = points.into_iter().map(|point| {
        let mut vectors = edge::NamedVectors::default().add_vector(DENSE, edge::Vector::new_dense(point.dense));
        // A text of stop words only has no tokens; the engine takes no empty sparse vector.
        if !point.sparse.indices.is_empty() {
            vectors = vectors.add_vector(SPARSE, edge::Vector::from(point.sparse));
        }
        edge::PointStruct::new(edge::PointId::Uuid(point.id), vectors, Value::Object(point.payload)).into()
    });
    edge::PointInsertOperations::PointsList(points.collect())
}

/// The point as it was stored; `None` for one without its dense vector, half of something that was never flushed.
fn stored(record: edge::Record) -> Option<NewPoint> {
    let Some(edge::VectorStructInternal::Named(mut vectors)) = record.vector else {
        return None;
    };
    let edge::VectorInternal::Dense(dense) = vectors.remove(DENSE)? else {
        return None;
    };
    let sparse = match vectors.remove(SPARSE) {
        Some(edge::VectorInternal::Sparse(sparse)) => sparse,
        _ => edge::SparseVector { indices: Vec::new(), values: Vec::new() },
    };
    Some(NewPoint { id: uuid_of(record.id)?, dense, sparse, payload: record.payload.unwrap_or_default().0 })
}

fn uuid_of(id: edge::PointId) -> Option<Uuid> {
    match id {
        edge::PointId::Uuid(uuid) => Some(uuid),
        edge::PointId::NumId(_) => None,
    }
}

fn records(records: Vec<edge::Record>) -> Vec<(Uuid, Map<String, Value>)> {
    let one = |record: edge::Record| Some((uuid_of(record.id)?, record.payload.unwrap_or_default().0));
    records.into_iter().filter_map(one).collect()
}

/// Closed files of the log with the number of their first entry, in order.
fn closed_logs(log: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(start) = name.strip_prefix("closed-").and_then(|start| start.parse().ok()) {
            files.push((start, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Removes what the engine never reads again: all closed files but the last, which its numbering goes on from.
fn prune_log(log: &Path) -> std::io::Result<()> {
    if !log.exists() {
        return Ok(());
    }
    let mut files = closed_logs(log)?;
    files.pop();
    files.iter().try_for_each(|(_, path)| fs::remove_file(path))
}
