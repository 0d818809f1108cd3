//! Which shards a request is for.

use std::sync::Arc;

use qdrant_client::qdrant::{ShardKey, ShardKeySelector, ShardingMethod, shard_key};
use qdrant_edge::PointId;
use tonic::Status;

use super::collection::Collection;
use super::errors::{bad_input, bad_request, unsupported};
use super::shard::{Operation, Shard};

/// The shards a read asks: all of them without a selector, and a key nobody has is an error.
pub(super) fn select(collection: &Collection, selector: Option<ShardKeySelector>) -> Result<Vec<Arc<Shard>>, Status> {
    let Some(keys) = keys(selector)? else {
        let mut shards = collection.shards();
        if collection.sharding == ShardingMethod::Custom {
            shards.retain(|shard| shard.is_active());
        }
        return Ok(shards);
    };
    let mut selected = Vec::new();
    for key in keys {
        let shards = collection.shards_of(Some(&key));
        if shards.is_empty() {
            return Err(bad_request(format!("Shard key {} not found", display(&key))));
        }
        selected.extend(shards);
    }
    Ok(selected)
}

/// Which part of a change goes to which shard. Points go to the shard their id belongs to, within each key.
pub(super) fn split(
    collection: &Collection,
    selector: Option<ShardKeySelector>,
    operation: &Operation,
) -> Result<Vec<(Arc<Shard>, Operation)>, Status> {
    let keys = match keys(selector)? {
        None => vec![None],
        Some(keys) if keys.is_empty() => return Err(bad_input("Empty shard keys selection")),
        Some(keys) => keys.into_iter().map(Some).collect(),
    };
    let mut parts = Vec::new();
    for key in keys {
        let shards = collection.shards_of(key.as_ref());
        if shards.is_empty() {
            return Err(bad_input(match &key {
                Some(key) => format!("Shard key {} not found", display(key)),
                None => "Shard key not specified".to_owned(),
            }));
        }
        split_by_id(shards, operation, &mut parts);
    }
    if parts.is_empty() { Err(bad_request("Empty update request")) } else { Ok(parts) }
}

fn split_by_id(shards: Vec<Arc<Shard>>, operation: &Operation, parts: &mut Vec<(Arc<Shard>, Operation)>) {
    let ids = operation.point_ids();
    let count = shards.len();
    for (index, shard) in shards.into_iter().enumerate() {
        let mut part = operation.clone();
        if let Some(ids) = &ids {
            if !ids.iter().any(|id| shard_index(id, count) == index) {
                continue;
            }
            part.retain_point_ids(|id| shard_index(id, count) == index);
        }
        parts.push((shard, part));
    }
}

fn shard_index(id: &PointId, shards: usize) -> usize {
    let number = match id {
        PointId::NumId(number) => u128::from(*number),
        PointId::Uuid(uuid) => uuid.as_u128(),
    };
    usize::try_from(number % shards as u128).unwrap_or_default()
}

fn keys(selector: Option<ShardKeySelector>) -> Result<Option<Vec<ShardKey>>, Status> {
    let Some(ShardKeySelector { shard_keys, fallback }) = selector else { return Ok(None) };
    if fallback.is_some() {
        return Err(unsupported("a fallback shard key"));
    }
    if shard_keys.iter().any(|key| key.key.is_none()) {
        return Err(Status::invalid_argument("Malformed shard key"));
    }
    Ok(Some(shard_keys))
}

/// A key as messages write it.
pub(super) fn display(key: &ShardKey) -> String {
    match &key.key {
        Some(shard_key::Key::Keyword(text)) => format!("\"{text}\""),
        Some(shard_key::Key::Number(number)) => number.to_string(),
        None => String::new(),
    }
}
