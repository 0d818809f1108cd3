//! What a query asks of every shard: the vectors and how many hits of each kind.

use qdrant_edge::SparseVector;
use ragstone_core::{Error, IndexSpec, Result, SearchMode, VectorQuery};

use crate::analyzers::Analyzers;

/// Each shard gives this many times the hits that are asked for, of each kind: fusing needs more than it returns.
const OVERFETCH: usize = 4;
/// And at least this many.
const FETCH_AT_LEAST: usize = 40;

/// A query as every shard answers it. The filter is not part of it: each store makes its own from the query's access.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Ask for the nearest by cosine.
    pub(crate) dense: Option<Vec<f32>>,
    /// Ask for the best by BM25; an empty one finds nothing.
    pub(crate) sparse: Option<SparseVector>,
    /// How many of each kind.
    pub(crate) limit: usize,
}

impl Question {
    /// What `query` asks of an index that holds `spec`.
    ///
    /// # Errors
    /// `InvalidArgument` when k is 0, the vector is missing or does not fit.
    pub(crate) fn new(query: &VectorQuery, spec: &IndexSpec, analyzers: &Analyzers) -> Result<Self> {
        if query.k == 0 {
            return Err(Error::invalid("k must be at least 1"));
        }
        let dense = match (query.mode, &query.vector) {
            (SearchMode::Keyword, _) => None,
            (_, None) => return Err(Error::invalid("only a keyword search goes without a vector")),
            (_, Some(vector)) => {
                check_vector(vector, spec)?;
                Some(vector.clone())
            }
        };
        let sparse = match query.mode {
            SearchMode::Dense => None,
            SearchMode::Keyword | SearchMode::Hybrid => Some(analyzers.question(&query.text)?),
        };
        Ok(Self { dense, sparse, limit: query.k.saturating_mul(OVERFETCH).max(FETCH_AT_LEAST) })
    }
}

/// Whether an index that holds `spec` can take this vector.
///
/// # Errors
/// `InvalidArgument` for a wrong length, a number that is not finite, or nothing but zeros.
pub(crate) fn check_vector(vector: &[f32], spec: &IndexSpec) -> Result<()> {
    if vector.len() != spec.dimension {
        let (got, want) = (vector.len(), spec.dimension);
        return Err(Error::invalid(format!("the vector has {got} dimensions, the index has {want}")));
    }
    if vector.iter().any(|x| !x.is_finite()) {
        return Err(Error::invalid("the vector holds a number that is not finite"));
    }
    if vector.iter().all(|&x| x == 0.0) {
        return Err(Error::invalid("the vector is all zero"));
    }
    Ok(())
}
