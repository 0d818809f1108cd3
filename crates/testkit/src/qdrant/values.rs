//! Payloads, ids, vectors and selectors between the wire and the engine.

use std::collections::HashMap;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DenseVector, ListValue, NamedVectorsOutput, PointId, SparseVector, Struct, Value, Vector, VectorOutput, Vectors,
    VectorsOutput, WithPayloadSelector, WithVectorsSelector, vector, vector_output, vectors_output,
    with_payload_selector, with_vectors_selector,
};
use qdrant_edge as edge;
use serde_json::{Map, Number, Value as Json};
use tonic::Status;
use uuid::Uuid;

use super::errors::{bad_input, unsupported};

pub(super) type Fields = HashMap<String, Value>;

pub(super) fn json_map(fields: Fields) -> Result<Map<String, Json>, Status> {
    fields.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect()
}

pub(super) fn proto_map(fields: Map<String, Json>) -> Fields {
    fields.into_iter().map(|(key, value)| (key, proto(value))).collect()
}

fn json(value: Value) -> Result<Json, Status> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::IntegerValue(value)) => Json::from(value),
        Some(Kind::DoubleValue(value)) => Json::Number(
            Number::from_f64(value).ok_or_else(|| Status::invalid_argument("cannot convert to json number"))?,
        ),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::StructValue(value)) => Json::Object(json_map(value.fields)?),
        Some(Kind::ListValue(list)) => Json::Array(list.values.into_iter().map(json).collect::<Result<_, _>>()?),
    })
}

fn proto(value: Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Kind::IntegerValue(value),
            None => Kind::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) => Kind::StringValue(value),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(proto).collect() }),
        Json::Object(fields) => Kind::StructValue(Struct { fields: proto_map(fields) }),
    };
    Value { kind: Some(kind) }
}

pub(super) fn path(text: &str) -> Result<edge::JsonPath, Status> {
    text.parse().map_err(|()| Status::invalid_argument(format!("Invalid json path: '{text}'")))
}

pub(super) fn id(id: PointId) -> Result<edge::PointId, Status> {
    match id.point_id_options {
        Some(PointIdOptions::Num(number)) => Ok(edge::PointId::NumId(number)),
        Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(&text)
            .map(edge::PointId::Uuid)
            .map_err(|_| Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
        None => Err(Status::invalid_argument("No ID options provided")),
    }
}

pub(super) fn ids(ids: Vec<PointId>) -> Result<Vec<edge::PointId>, Status> {
    ids.into_iter().map(id).collect()
}

pub(super) fn proto_id(id: edge::PointId) -> PointId {
    let options = match id {
        edge::PointId::NumId(number) => PointIdOptions::Num(number),
        edge::PointId::Uuid(uuid) => PointIdOptions::Uuid(uuid.to_string()),
    };
    PointId { point_id_options: Some(options) }
}

/// The vectors of a point by name; the one without a name has an empty one.
pub(super) fn vectors(vectors: Option<Vectors>) -> Result<HashMap<String, edge::VectorInternal>, Status> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        None => Ok(HashMap::new()),
        Some(VectorsOptions::Vector(vector)) => Ok(HashMap::from([(String::new(), one_vector(vector)?)])),
        Some(VectorsOptions::Vectors(named)) => {
            named.vectors.into_iter().map(|(name, vector)| Ok((name, one_vector(vector)?))).collect()
        }
    }
}

#[expect(deprecated, reason = "clients of older versions still fill these fields")]
fn one_vector(vector: Vector) -> Result<edge::VectorInternal, Status> {
    match vector.vector {
        Some(vector::Vector::Dense(dense)) => Ok(edge::VectorInternal::Dense(dense.data)),
        Some(vector::Vector::Sparse(SparseVector { values, indices })) => sparse(indices, values),
        Some(vector::Vector::MultiDense(_)) => Err(unsupported("multi-vectors")),
        Some(_) => Err(unsupported("inference")),
        None if vector.vectors_count.is_some() => Err(unsupported("multi-vectors")),
        None => match vector.indices {
            Some(indices) => sparse(indices.data, vector.data),
            None => Ok(edge::VectorInternal::Dense(vector.data)),
        },
    }
}

pub(super) fn sparse(indices: Vec<u32>, values: Vec<f32>) -> Result<edge::VectorInternal, Status> {
    edge::SparseVector::new(indices, values).map(edge::VectorInternal::Sparse).map_err(bad_input)
}

pub(super) fn proto_vectors(vectors: edge::VectorStructInternal) -> Result<VectorsOutput, Status> {
    let options = match vectors {
        edge::VectorStructInternal::Single(data) => {
            vectors_output::VectorsOptions::Vector(proto_vector(edge::VectorInternal::Dense(data))?)
        }
        edge::VectorStructInternal::MultiDense(_) => return Err(unsupported("multi-vectors")),
        edge::VectorStructInternal::Named(named) => {
            let one = |(name, vector)| Ok((name, proto_vector(vector)?));
            let vectors = named.into_iter().map(one).collect::<Result<_, Status>>()?;
            vectors_output::VectorsOptions::Vectors(NamedVectorsOutput { vectors })
        }
    };
    Ok(VectorsOutput { vectors_options: Some(options) })
}

fn proto_vector(vector: edge::VectorInternal) -> Result<VectorOutput, Status> {
    let vector = match vector {
        edge::VectorInternal::Dense(data) => vector_output::Vector::Dense(DenseVector { data }),
        edge::VectorInternal::Sparse(sparse) => {
            vector_output::Vector::Sparse(SparseVector { values: sparse.values, indices: sparse.indices })
        }
        edge::VectorInternal::MultiDense(_) => return Err(unsupported("multi-vectors")),
    };
    Ok(VectorOutput { vector: Some(vector), ..VectorOutput::default() })
}

pub(super) fn with_payload(
    selector: Option<WithPayloadSelector>,
) -> Result<Option<edge::WithPayloadInterface>, Status> {
    let Some(selector) = selector else { return Ok(None) };
    let paths = |fields: Vec<String>| fields.iter().map(|field| path(field)).collect::<Result<Vec<_>, _>>();
    Ok(Some(match selector.selector_options {
        Some(with_payload_selector::SelectorOptions::Enable(enable)) => edge::WithPayloadInterface::Bool(enable),
        Some(with_payload_selector::SelectorOptions::Include(include)) => {
            edge::PayloadSelectorInclude { include: paths(include.fields)? }.into()
        }
        Some(with_payload_selector::SelectorOptions::Exclude(exclude)) => {
            edge::PayloadSelectorExclude { exclude: paths(exclude.fields)? }.into()
        }
        None => return Err(Status::invalid_argument("No PayloadSelector")),
    }))
}

pub(super) fn with_vectors(selector: Option<WithVectorsSelector>) -> edge::WithVector {
    match selector.and_then(|selector| selector.selector_options) {
        None => edge::WithVector::Bool(false),
        Some(with_vectors_selector::SelectorOptions::Enable(enable)) => edge::WithVector::Bool(enable),
        Some(with_vectors_selector::SelectorOptions::Include(include)) => edge::WithVector::Selector(include.names),
    }
}
