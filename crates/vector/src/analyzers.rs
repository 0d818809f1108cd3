//! The analysers of the texts in one index: documents add to them, questions are read by all of them.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use qdrant_edge::SparseVector;
use ragstone_core::Result;
use ragstone_core::ports::Point;

use crate::bm25::{Analyzer, Bm25};

/// The analysers an index holds texts of. The set only grows: one too many costs a little time, one too few loses hits.
#[derive(Debug)]
pub(crate) struct Analyzers {
    bm25: Bm25,
    known: RwLock<BTreeSet<Analyzer>>,
}

impl Analyzers {
    /// None known yet.
    pub(crate) fn new() -> Self {
        Self { bm25: Bm25::new(), known: RwLock::default() }
    }

    /// Adds those with these names; a name that this version does not know is passed over.
    pub(crate) fn learn<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) {
        let found: Vec<Analyzer> = names.into_iter().filter_map(|name| Analyzer::named(name.as_ref())).collect();
        self.known.write().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// The BM25 vector of a chunk's title, headings and text, and the name of the analyser that read it, which is known
    /// from then on.
    pub(crate) fn document(&self, point: &Point) -> Result<(&'static str, SparseVector)> {
        let headings = point.chunk.heading_path.join("\n");
        let text = format!("{}\n{headings}\n{}", point.title, point.chunk.content);
        let analyzer = Analyzer::of(point.language.as_deref(), &text);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(analyzer);
        Ok((analyzer.name(), self.bm25.document(analyzer, &text)?))
    }

    /// The BM25 vector of a question, read by every known analyser; it may be empty.
    pub(crate) fn question(&self, text: &str) -> Result<SparseVector> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        self.bm25.query(&known, text)
    }
}
