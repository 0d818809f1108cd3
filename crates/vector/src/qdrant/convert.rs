//! Between Ragstone's points and Qdrant's.

use std::collections::HashMap;

use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DenseVector, NamedVectors, PointId, PointStruct, PointsIdsList, PointsSelector, ReadConsistency,
    ReadConsistencyType, RetrievedPoint, ShardKey, ShardKeySelector, SparseVector, Value, Vector, VectorsOutput,
    WriteOrdering, WriteOrderingType, point_id, points_selector, read_consistency, shard_key, vector, vector_output,
    vectors_output,
};
use qdrant_client::qdrant::{Filter, Vectors};
use ragstone_core::{Error, Result};
use serde_json::Map;
use uuid::Uuid;

use super::config::{Consistency, ConsistencyShare, WriteOrder};

/// Name of the vectors made by the embedding model.
pub(crate) const DENSE: &str = "dense";
/// Name of the BM25 vectors.
pub(crate) const SPARSE: &str = "bm25";

/// A point with both vectors.
pub(crate) fn point(
    id: Uuid,
    dense: Vec<f32>,
    sparse: qdrant_edge::SparseVector,
    payload: Map<String, serde_json::Value>,
) -> PointStruct {
    let vectors = HashMap::from([
        (DENSE.to_owned(), vector::Vector::Dense(DenseVector { data: dense })),
        (SPARSE.to_owned(), vector::Vector::Sparse(grpc_sparse(sparse))),
    ]);
    PointStruct { id: Some(id.into()), payload: values(payload), vectors: Some(named(vectors)) }
}

/// A stored point as one to store elsewhere.
pub(crate) fn copy(stored: RetrievedPoint, replace: HashMap<String, Value>) -> Result<PointStruct> {
    let damaged = || Error::internal("Qdrant returned a point without its vectors");
    let Some(VectorsOutput { vectors_options: Some(vectors_output::VectorsOptions::Vectors(found)) }) = stored.vectors
    else {
        return Err(damaged());
    };
    let vector = |(name, output): (String, qdrant_client::qdrant::VectorOutput)| {
        let vector = match output.into_vector() {
            vector_output::Vector::Dense(dense) => vector::Vector::Dense(dense),
            vector_output::Vector::Sparse(sparse) => vector::Vector::Sparse(sparse),
            vector_output::Vector::MultiDense(_) => return Err(damaged()),
        };
        Ok((name, vector))
    };
    let vectors: HashMap<_, _> = found.vectors.into_iter().map(vector).collect::<Result<_>>()?;
    if !vectors.contains_key(DENSE) {
        return Err(damaged());
    }
    let mut payload = stored.payload;
    payload.extend(replace);
    Ok(PointStruct { id: stored.id, payload, vectors: Some(named(vectors)) })
}

fn named(vectors: HashMap<String, vector::Vector>) -> Vectors {
    let one = |vector| Vector { vector: Some(vector), ..Vector::default() };
    let vectors = vectors.into_iter().map(|(name, vector)| (name, one(vector))).collect();
    Vectors { vectors_options: Some(VectorsOptions::Vectors(NamedVectors { vectors })) }
}

/// A BM25 vector.
pub(crate) fn grpc_sparse(sparse: qdrant_edge::SparseVector) -> SparseVector {
    SparseVector { values: sparse.values, indices: sparse.indices }
}

/// JSON fields as payload.
pub(crate) fn values(fields: Map<String, serde_json::Value>) -> HashMap<String, Value> {
    fields.into_iter().map(|(key, value)| (key, value.into())).collect()
}

/// Payload as JSON fields.
pub(crate) fn fields(payload: HashMap<String, Value>) -> Map<String, serde_json::Value> {
    payload.into_iter().map(|(key, value)| (key, value.into())).collect()
}

/// The id of one of our points.
pub(crate) fn uuid(id: Option<PointId>) -> Result<Uuid> {
    match id.and_then(|id| id.point_id_options) {
        Some(point_id::PointIdOptions::Uuid(text)) => {
            Uuid::parse_str(&text).map_err(|error| Error::internal("Qdrant returned an odd id").with_source(error))
        }
        _ => Err(Error::internal("Qdrant returned a point whose id Ragstone did not make")),
    }
}

/// These points.
pub(crate) fn selector(ids: Vec<Uuid>) -> PointsSelector {
    let ids = ids.into_iter().map(PointId::from).collect();
    PointsSelector { points_selector_one_of: Some(points_selector::PointsSelectorOneOf::Points(PointsIdsList { ids })) }
}

/// All points that meet this.
pub(crate) fn matching(filter: Filter) -> PointsSelector {
    PointsSelector { points_selector_one_of: Some(points_selector::PointsSelectorOneOf::Filter(filter)) }
}

/// One shard.
pub(crate) fn key(shard: &str) -> ShardKey {
    ShardKey { key: Some(shard_key::Key::Keyword(shard.to_owned())) }
}

/// The name of a shard of ours.
pub(crate) fn key_name(key: Option<&ShardKey>) -> Option<&str> {
    match key.and_then(|key| key.key.as_ref()) {
        Some(shard_key::Key::Keyword(name)) => Some(name),
        _ => None,
    }
}

/// One shard, for a request; `None` in a Qdrant that knows no shard keys.
pub(crate) fn only(shard: &str, keyed: bool) -> Option<ShardKeySelector> {
    keyed.then(|| ShardKeySelector { shard_keys: vec![key(shard)], fallback: None })
}

impl From<WriteOrder> for WriteOrdering {
    fn from(order: WriteOrder) -> Self {
        let kind = match order {
            WriteOrder::Weak => WriteOrderingType::Weak,
            WriteOrder::Medium => WriteOrderingType::Medium,
            WriteOrder::Strong => WriteOrderingType::Strong,
        };
        Self { r#type: kind.into() }
    }
}

impl From<Consistency> for ReadConsistency {
    fn from(consistency: Consistency) -> Self {
        let value = match consistency {
            Consistency::Replicas(number) => read_consistency::Value::Factor(number),
            Consistency::Share(share) => {
                let kind = match share {
                    ConsistencyShare::Majority => ReadConsistencyType::Majority,
                    ConsistencyShare::Quorum => ReadConsistencyType::Quorum,
                    ConsistencyShare::All => ReadConsistencyType::All,
                };
                read_consistency::Value::Type(kind.into())
            }
        };
        Self { value: Some(value) }
    }
}
