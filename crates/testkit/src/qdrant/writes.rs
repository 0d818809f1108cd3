//! Changes of points: from the wire to the engine's operations, and through all shards they are for.

use futures::future::join_all;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_update_operation as wire;
use qdrant_client::qdrant::{
    PointStruct, PointVectors, PointsSelector, ShardKeySelector, UpdateMode, UpdateResult, UpdateStatus, WriteOrdering,
    WriteOrderingType,
};
use qdrant_edge as edge;
use serde_json::Value;
use tonic::{Code, Status};

use super::collection::Collection;
use super::errors::{WRONG_SPARSE, bad_input, service, unsupported};
use super::filters::{convert, optional};
use super::routing::split;
use super::server::Peer;
use super::shard::{Operation, WriteRules};
use super::values::{Fields, id, ids, json_map, path, vectors};

/// How the client wants its write to be done.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    wait: bool,
    ordering: WriteOrderingType,
}

impl Wanted {
    pub(super) fn new(wait: Option<bool>, ordering: Option<WriteOrdering>) -> Result<Self, Status> {
        let ordering = WriteOrderingType::try_from(ordering.unwrap_or_default().r#type)
            .map_err(|_| Status::invalid_argument("invalid write ordering"))?;
        Ok(Self { wait: wait.unwrap_or_default(), ordering })
    }
}

/// Carries a change out on every shard it is for.
pub(super) async fn run(
    peer: &Peer,
    collection: &str,
    wanted: Wanted,
    operation: wire::Operation,
) -> Result<UpdateResult, Status> {
    let collection = peer.state.collection(collection).await?;
    let (selector, operation) = operation_of(&collection, operation)?;
    let parts = split(&collection, selector, &operation)?;
    let rules = WriteRules { via: peer.index, ordering: wanted.ordering, consistency: collection.write_consistency() };
    let state = peer.state.clone();
    let writes = async move { join_all(parts.iter().map(|(shard, part)| shard.write(&state, rules, part))).await };
    // A client that leaves, or a peer that is stopped, must not leave replicas that differ.
    let outcomes = peer.home.spawn(writes).await.map_err(service)?;
    let total = outcomes.len();
    let mut errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    if !wanted.wait {
        // The server answers before it looks at the points.
        errors.retain(|error| !matches!(error.code(), Code::InvalidArgument | Code::NotFound));
    }
    match errors.first() {
        None => {}
        Some(error) if errors.len() == total => return Err(error.clone()),
        Some(error) => {
            let failed = errors.len();
            let text = error.message();
            let text =
                format!("{failed} out of {total} shards failed to apply operation. First error captured: {text}");
            return Err(Status::new(error.code(), text));
        }
    }
    let status = if wanted.wait { UpdateStatus::Completed } else { UpdateStatus::Acknowledged };
    Ok(UpdateResult { operation_id: Some(peer.state.next_number()), status: status.into() })
}

fn operation_of(
    collection: &Collection,
    operation: wire::Operation,
) -> Result<(Option<ShardKeySelector>, Operation), Status> {
    Ok(match operation {
        wire::Operation::Upsert(list) => (list.shard_key_selector.clone(), upsert(collection, list)?),
        wire::Operation::DeletePoints(delete) => (delete.shard_key_selector, delete_points(delete.points)?),
        wire::Operation::SetPayload(set) => {
            let operation = set_payload(set.payload, set.points_selector, set.key)?;
            (set.shard_key_selector, payload(edge::PayloadOps::SetPayload(operation)))
        }
        wire::Operation::OverwritePayload(set) => {
            let operation = set_payload(set.payload, set.points_selector, None)?;
            (set.shard_key_selector, payload(edge::PayloadOps::OverwritePayload(operation)))
        }
        wire::Operation::DeletePayload(delete) => {
            let keys = delete.keys.iter().map(|key| path(key)).collect::<Result<_, _>>()?;
            let (points, filter) = selected(delete.points_selector)?.into_options();
            let operation = edge::PayloadOps::DeletePayload(edge::DeletePayloadOp { keys, points, filter });
            (delete.shard_key_selector, payload(operation))
        }
        wire::Operation::ClearPayload(clear) => {
            let operation = match selected(clear.points)? {
                Selected::Ids(points) => edge::PayloadOps::ClearPayload { points },
                Selected::Filter(filter) => edge::PayloadOps::ClearPayloadByFilter(filter),
            };
            (clear.shard_key_selector, payload(operation))
        }
        wire::Operation::UpdateVectors(update) => {
            let update_filter = optional(update.update_filter)?;
            let points = update.points.into_iter().map(|p| point_vectors(collection, p)).collect::<Result<_, _>>()?;
            let operation = edge::VectorOperations::UpdateVectors(edge::UpdateVectorsOp { points, update_filter });
            (update.shard_key_selector, Operation::VectorOperation(operation))
        }
        wire::Operation::DeleteVectors(delete) => {
            let names = delete.vectors.ok_or_else(|| Status::invalid_argument("vectors is expected"))?.names;
            let operation = match selected(delete.points_selector)? {
                Selected::Ids(points) => edge::VectorOperations::DeleteVectors(edge::PointIdsList { points }, names),
                Selected::Filter(filter) => edge::VectorOperations::DeleteVectorsByFilter(filter, names),
            };
            (delete.shard_key_selector, Operation::VectorOperation(operation))
        }
        _ => return Err(unsupported("the deprecated forms of batch operations")),
    })
}

fn upsert(collection: &Collection, list: wire::PointStructList) -> Result<Operation, Status> {
    let points = list.points.into_iter().map(|p| point(collection, p)).collect::<Result<Vec<_>, _>>()?;
    let points = edge::PointInsertOperations::PointsList(points);
    let condition = optional(list.update_filter)?;
    let update_mode = match list.update_mode.map(UpdateMode::try_from) {
        None | Some(Ok(UpdateMode::Upsert) | Err(_)) => edge::UpdateMode::Upsert,
        Some(Ok(UpdateMode::InsertOnly)) => edge::UpdateMode::InsertOnly,
        Some(Ok(UpdateMode::UpdateOnly)) => edge::UpdateMode::UpdateOnly,
    };
    let conditional = condition.is_some() || update_mode != edge::UpdateMode::Upsert;
    Ok(Operation::PointOperation(if conditional {
        edge::PointOperations::UpsertPointsConditional(edge::ConditionalInsertOperation {
            points_op: points,
            condition: condition.unwrap_or_default(),
            update_mode: Some(update_mode),
        })
    } else {
        edge::PointOperations::UpsertPoints(points)
    }))
}

fn point(collection: &Collection, point: PointStruct) -> Result<edge::PointStructPersisted, Status> {
    let id = id(point.id.ok_or_else(|| Status::invalid_argument("Empty ID is not allowed"))?)?;
    let vectors = vectors(point.vectors)?;
    vectors.iter().try_for_each(|(name, vector)| check_dimension(collection, name, vector))?;
    let vectors = edge::Vectors(vector_struct(collection, vectors)?);
    Ok(edge::PointStruct::new(id, vectors, Value::Object(json_map(point.payload)?)).into())
}

fn point_vectors(collection: &Collection, point: PointVectors) -> Result<edge::PointVectorsPersisted, Status> {
    let id = id(point.id.ok_or_else(|| Status::invalid_argument("id is expected"))?)?;
    let vector = vector_struct(collection, vectors(point.vectors)?)?;
    Ok(edge::PointVectorsPersisted { id, vector: vector.into() })
}

fn vector_struct(
    collection: &Collection,
    vectors: std::collections::HashMap<String, edge::VectorInternal>,
) -> Result<edge::VectorStructInternal, Status> {
    for (name, vector) in &vectors {
        check_kind(collection, name, vector)?;
    }
    Ok(edge::VectorStructInternal::Named(vectors))
}

/// Refuses a sparse vector where the collection has a dense one, and the reverse. Unknown names the engine refuses.
pub(super) fn check_kind(collection: &Collection, name: &str, vector: &edge::VectorInternal) -> Result<(), Status> {
    let sparse = matches!(vector, edge::VectorInternal::Sparse(_));
    let wrong = if sparse {
        collection.engine.vectors.contains_key(name)
    } else {
        collection.engine.sparse_vectors.contains_key(name)
    };
    if wrong { Err(bad_input(WRONG_SPARSE)) } else { Ok(()) }
}

/// Looked at before anything is written, so that also a client that does not wait hears of it.
fn check_dimension(collection: &Collection, name: &str, vector: &edge::VectorInternal) -> Result<(), Status> {
    let (Some(params), edge::VectorInternal::Dense(values)) = (collection.engine.vectors.get(name), vector) else {
        return Ok(());
    };
    if values.len() == params.size {
        return Ok(());
    }
    let suffix = if name.is_empty() { String::new() } else { format!(" for vector '{name}'") };
    let (expected, got) = (params.size, values.len());
    Err(bad_input(format!("Vector dimension error: expected dim: {expected}, got {got}{suffix}")))
}

/// The points a change is for.
enum Selected {
    Ids(Vec<edge::PointId>),
    Filter(edge::Filter),
}

impl Selected {
    fn into_options(self) -> (Option<Vec<edge::PointId>>, Option<edge::Filter>) {
        match self {
            Self::Ids(ids) => (Some(ids), None),
            Self::Filter(filter) => (None, Some(filter)),
        }
    }
}

fn selected(selector: Option<PointsSelector>) -> Result<Selected, Status> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(list)) => Ok(Selected::Ids(ids(list.ids)?)),
        Some(PointsSelectorOneOf::Filter(filter)) => Ok(Selected::Filter(convert(filter)?)),
        None => Err(Status::invalid_argument("points_selector is expected")),
    }
}

fn delete_points(selector: Option<PointsSelector>) -> Result<Operation, Status> {
    Ok(Operation::PointOperation(match selected(selector)? {
        Selected::Ids(ids) => edge::PointOperations::DeletePoints { ids },
        Selected::Filter(filter) => edge::PointOperations::DeletePointsByFilter(filter),
    }))
}

fn set_payload(
    fields: Fields,
    selector: Option<PointsSelector>,
    key: Option<String>,
) -> Result<edge::SetPayloadOp, Status> {
    let (points, filter) = selected(selector)?.into_options();
    let key = key.map(|key| path(&key)).transpose()?;
    Ok(edge::SetPayloadOp { payload: edge::Payload(json_map(fields)?), points, filter, key })
}

fn payload(operation: edge::PayloadOps) -> Operation {
    Operation::PayloadOperation(operation)
}
