//! What a search asks and what it finds.

use serde::{Deserialize, Serialize};

use crate::{Access, DocumentId, Filter, Metadata};

/// Which signals rank the hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMode {
    /// Dense and BM25, fused by reciprocal rank.
    #[default]
    Hybrid,
    /// Dense vectors only.
    Dense,
    /// BM25 only.
    Keyword,
}

impl SearchMode {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Dense => "dense",
            Self::Keyword => "keyword",
        }
    }
}

/// One search of the vector store. Tenant and groups are part of it by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorQuery {
    /// What the caller may read.
    pub access: Access,
    /// The question's text, for BM25.
    pub text: String,
    /// The question's embedding; `None` only in keyword mode.
    pub vector: Option<Vec<f32>>,
    /// Which signals to use.
    pub mode: SearchMode,
    /// How many hits, at least 1.
    pub k: usize,
    /// Further conditions.
    pub filter: Filter,
}

/// A search over the catalog's chunk texts, for when the vector store is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct KeywordQuery {
    /// What the caller may read.
    pub access: Access,
    /// The question's text.
    pub text: String,
    /// How many hits, at least 1.
    pub k: usize,
    /// Further conditions.
    pub filter: Filter,
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its document.
    pub document_id: DocumentId,
    /// That document's version.
    pub version: u64,
    /// Its position in the document.
    pub chunk_index: u32,
    /// Higher is better; comparable within one result only.
    pub score: f32,
    /// Cosine of its embedding and the question's, -1 to 1; `None` where it was found by its words alone.
    pub similarity: Option<f32>,
    /// Its text.
    pub content: String,
    /// The document's title.
    pub title: String,
    /// The headings above it.
    pub heading_path: Vec<String>,
    /// Where it begins in the extracted text, in characters.
    pub start: u64,
    /// Where it ends (exclusive), in characters.
    pub end: u64,
    /// The document's metadata.
    pub metadata: Metadata,
}

/// How many shards were asked and how many answered in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardReport {
    /// Shards asked.
    pub asked: u32,
    /// Shards that answered.
    pub answered: u32,
    /// Names of those that did not.
    pub missing: Vec<String>,
}

impl ShardReport {
    /// Whether a shard is missing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.answered < self.asked
    }
}

/// Hits, best first (ties broken on ids), with what they were drawn from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchResult {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether every shard took part.
    pub shards: ShardReport,
}
