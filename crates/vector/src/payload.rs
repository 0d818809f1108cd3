//! What is stored beside a vector, and back again.

use ragstone_core::ports::Point;
use ragstone_core::{DocumentId, Error, Hit, Metadata, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) const TENANT: &str = "tenant";
pub(crate) const DOCUMENT: &str = "document_id";
pub(crate) const VERSION: &str = "version";
pub(crate) const CHUNK: &str = "chunk_index";
pub(crate) const STATE: &str = "state";
pub(crate) const CHUNKS: &str = "chunks";
pub(crate) const GROUPS: &str = "groups";
pub(crate) const PUBLIC: &str = "public";
pub(crate) const ANALYZER: &str = "analyzer";
pub(crate) const METADATA: &str = "metadata";

/// Where a point stands between being stored and being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Stored, invisible.
    Staged,
    /// What searches see.
    Live,
    /// A newer version went live; kept until that one is surely on disk.
    Old,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Live => "live",
            Self::Old => "old",
        }
    }
}

/// The payload of a freshly stored point. `chunks` (how many its version has) is added when it goes live.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    tenant: String,
    document_id: String,
    version: u64,
    chunk_index: u32,
    state: State,
    groups: Vec<String>,
    /// Whether `groups` is empty: everyone in the tenant may read it.
    public: bool,
    analyzer: String,
    language: Option<String>,
    title: String,
    heading_path: Vec<String>,
    content: String,
    start: u64,
    end: u64,
    tokens: u32,
    /// Absent in points stored before there was a score.
    #[serde(default)]
    injection_score: f64,
    metadata: Metadata,
}

/// The payload of `point`, staged.
pub(crate) fn encode(point: Point, analyzer: &str) -> Result<Map<String, Value>> {
    let stored = Stored {
        tenant: point.tenant.into(),
        document_id: point.document_id.into(),
        version: point.version,
        chunk_index: point.chunk.index,
        state: State::Staged,
        public: point.groups.is_empty(),
        groups: point.groups,
        analyzer: analyzer.to_owned(),
        language: point.language,
        title: point.title,
        heading_path: point.chunk.heading_path,
        content: point.chunk.content,
        start: point.chunk.start,
        end: point.chunk.end,
        tokens: point.chunk.tokens,
        // As people write it: 0.7 as a float of 32 bits lies below the 0.7 of a filter.
        injection_score: (f64::from(point.injection_score) * 1000.0).round() / 1000.0,
        metadata: point.metadata,
    };
    match serde_json::to_value(stored) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::internal("a point's payload is not an object")),
        Err(error) => Err(Error::internal("a point cannot be serialised").with_source(error)),
    }
}

/// The hit that a stored payload stands for.
pub(crate) fn decode(payload: Map<String, Value>) -> Result<Hit> {
    let stored: Stored = serde_json::from_value(Value::Object(payload))
        .map_err(|error| Error::internal("a stored chunk is damaged").with_source(error))?;
    Ok(Hit {
        document_id: DocumentId::new(stored.document_id)?,
        version: stored.version,
        chunk_index: stored.chunk_index,
        score: 0.0,
        similarity: None,
        content: stored.content,
        title: stored.title,
        heading_path: stored.heading_path,
        start: stored.start,
        end: stored.end,
        metadata: stored.metadata,
    })
}

/// What is known of a stored point without its text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Label {
    pub(crate) tenant: String,
    pub(crate) document_id: String,
    pub(crate) version: u64,
    pub(crate) chunk_index: u32,
    pub(crate) state: State,
    /// How many chunks the version has; known once it was published.
    #[serde(default)]
    pub(crate) chunks: Option<u64>,
}

impl Label {
    /// The fields it is read from.
    pub(crate) const FIELDS: [&str; 6] = [TENANT, DOCUMENT, VERSION, CHUNK, STATE, CHUNKS];

    /// `None` where a crash has left a point without its payload.
    pub(crate) fn decode(payload: Map<String, Value>) -> Option<Self> {
        serde_json::from_value(Value::Object(payload)).ok()
    }
}
