//! How a collection is described: what a client asks for, what the engine gets, and what is shown.

use std::collections::HashMap;

use futures::future::try_join_all;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionConfig, CollectionInfo, CollectionParams, CollectionStatus, CreateCollection, Datatype, Distance,
    Modifier, OptimizerStatus, PayloadSchemaInfo, ShardingMethod, SparseVectorConfig, SparseVectorParams,
    UpdateCollection, UpdateQueueInfo, VectorParams, VectorsConfig,
};
use qdrant_edge as edge;
use serde_json::{Map, Value};
use tonic::Status;

use super::collection::{Collection, Settings};
use super::errors::{invalid, unsupported};
use super::server::Peer;
use super::values::{json_map, proto_map};

/// The collection a client asks for, still without shards.
pub(super) fn collection(request: CreateCollection, default_shards: u32) -> Result<Collection, Status> {
    check(&request)?;
    let sharding = match request.sharding_method.map(ShardingMethod::try_from) {
        None | Some(Ok(ShardingMethod::Auto)) => ShardingMethod::Auto,
        Some(Ok(ShardingMethod::Custom)) => ShardingMethod::Custom,
        Some(Err(_)) => return Err(Status::invalid_argument("unknown sharding method")),
    };
    let engine = engine_config(request.vectors_config.as_ref(), request.sparse_vectors_config.as_ref())?;
    let default_shards = if sharding == ShardingMethod::Custom { 1 } else { default_shards };
    let params = CollectionParams {
        shard_number: request.shard_number.unwrap_or(default_shards),
        vectors_config: Some(request.vectors_config.unwrap_or_else(no_vectors)),
        replication_factor: Some(request.replication_factor.unwrap_or(1)),
        write_consistency_factor: Some(request.write_consistency_factor.unwrap_or(1)),
        sharding_method: request.sharding_method,
        sparse_vectors_config: request.sparse_vectors_config,
        ..CollectionParams::default()
    };
    let settings = Settings {
        params,
        hnsw: request.hnsw_config.unwrap_or_default(),
        optimizers: request.optimizers_config.unwrap_or_default(),
        wal: request.wal_config.unwrap_or_default(),
        metadata: json_map(request.metadata)?,
        indexes: Default::default(),
    };
    Ok(Collection::new(request.collection_name, engine, sharding, settings))
}

fn no_vectors() -> VectorsConfig {
    VectorsConfig { config: Some(Config::ParamsMap(Default::default())) }
}

fn check(request: &CreateCollection) -> Result<(), Status> {
    let name = &request.collection_name;
    if name.is_empty() || name.len() > 255 {
        return Err(invalid("collection_name", "length must be between 1 and 255 characters"));
    }
    if let Some(character) = name.chars().find(|c| r#"<>:"/\|?*"#.contains(*c) || c.is_control()) {
        return Err(invalid("collection_name", format!("collection name cannot contain \"{character}\" char")));
    }
    check_factor("shard_number", request.shard_number)?;
    check_factor("replication_factor", request.replication_factor)?;
    check_factor("write_consistency_factor", request.write_consistency_factor)?;
    if request.quantization_config.is_some() {
        return Err(unsupported("quantization"));
    }
    if request.strict_mode_config.is_some() {
        return Err(unsupported("strict mode"));
    }
    Ok(())
}

fn check_factor(field: &str, value: Option<u32>) -> Result<(), Status> {
    if value == Some(0) { Err(invalid(field, "value 0 invalid, must be 1 or larger")) } else { Ok(()) }
}

fn engine_config(
    dense: Option<&VectorsConfig>,
    sparse: Option<&SparseVectorConfig>,
) -> Result<edge::EdgeConfig, Status> {
    let vectors = match dense.and_then(|config| config.config.as_ref()) {
        None => HashMap::new(),
        Some(Config::Params(params)) => HashMap::from([(String::new(), dense_params(params)?)]),
        Some(Config::ParamsMap(map)) => map
            .map
            .iter()
            .map(|(name, params)| Ok((name.clone(), dense_params(params)?)))
            .collect::<Result<_, Status>>()?,
    };
    let sparse_vectors = match sparse {
        None => HashMap::new(),
        Some(config) => config
            .map
            .iter()
            .map(|(name, params)| Ok((name.clone(), sparse_params(params)?)))
            .collect::<Result<_, Status>>()?,
    };
    Ok(edge::EdgeConfig { vectors, sparse_vectors, ..edge::EdgeConfig::default() })
}

fn dense_params(params: &VectorParams) -> Result<edge::EdgeVectorParams, Status> {
    if params.size == 0 || params.size > 65_536 {
        return Err(invalid(
            "vectors_config.config.size",
            format!("value {} invalid, must be from 1 to 65536", params.size),
        ));
    }
    if params.multivector_config.is_some() {
        return Err(unsupported("multi-vectors"));
    }
    if params.quantization_config.is_some() {
        return Err(unsupported("quantization"));
    }
    if !matches!(params.datatype.map(Datatype::try_from), None | Some(Ok(Datatype::Default | Datatype::Float32))) {
        return Err(unsupported("vectors that are not of 32-bit floats"));
    }
    let distance = match Distance::try_from(params.distance) {
        Ok(Distance::Cosine) => edge::Distance::Cosine,
        Ok(Distance::Euclid) => edge::Distance::Euclid,
        Ok(Distance::Dot) => edge::Distance::Dot,
        Ok(Distance::Manhattan) => edge::Distance::Manhattan,
        Ok(Distance::UnknownDistance) | Err(_) => {
            return Err(Status::invalid_argument("Cannot convert VectorParams: unknown distance"));
        }
    };
    let size = usize::try_from(params.size).unwrap_or_default();
    Ok(edge::EdgeVectorParams::builder(size, distance).build())
}

fn sparse_params(params: &SparseVectorParams) -> Result<edge::EdgeSparseVectorParams, Status> {
    let datatype = params.index.and_then(|index| index.datatype);
    if !matches!(datatype.map(Datatype::try_from), None | Some(Ok(Datatype::Default | Datatype::Float32))) {
        return Err(unsupported("sparse vectors that are not of 32-bit floats"));
    }
    let modifier = match params.modifier.map(Modifier::try_from) {
        None | Some(Ok(Modifier::None)) => None,
        Some(Ok(Modifier::Idf)) => Some(edge::Modifier::Idf),
        Some(_) => return Err(unsupported("this modifier of sparse vectors")),
    };
    Ok(edge::EdgeSparseVectorParams { modifier, ..Default::default() })
}

/// Applies what may be changed later.
pub(super) fn update(collection: &Collection, request: UpdateCollection) -> Result<(), Status> {
    let changes_vectors = request.vectors_config.is_some() || request.sparse_vectors_config.is_some();
    if changes_vectors || request.quantization_config.is_some() || request.strict_mode_config.is_some() {
        return Err(unsupported("changes of vectors, quantization and strict mode"));
    }
    let metadata = json_map(request.metadata)?;
    let mut settings = collection.settings();
    if let Some(diff) = request.params {
        check_factor("params.replication_factor", diff.replication_factor)?;
        check_factor("params.write_consistency_factor", diff.write_consistency_factor)?;
        let params = &mut settings.params;
        params.replication_factor = diff.replication_factor.or(params.replication_factor);
        params.write_consistency_factor = diff.write_consistency_factor.or(params.write_consistency_factor);
        params.read_fan_out_factor = diff.read_fan_out_factor.or(params.read_fan_out_factor);
        params.read_fan_out_delay_ms = diff.read_fan_out_delay_ms.or(params.read_fan_out_delay_ms);
    }
    if let Some(hnsw) = request.hnsw_config {
        settings.hnsw = hnsw;
    }
    if let Some(optimizers) = request.optimizers_config {
        settings.optimizers = optimizers;
    }
    merge(&mut settings.metadata, metadata);
    Ok(())
}

/// A null removes a key.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        if value.is_null() {
            into.remove(&key);
        } else {
            into.insert(key, value);
        }
    }
}

/// The description of a collection, with its counts over all shards.
pub(super) async fn info(peer: &Peer, collection: &Collection) -> Result<CollectionInfo, Status> {
    let shards = super::routing::select(collection, None)?;
    let infos =
        try_join_all(shards.iter().map(|shard| shard.read(&peer.state, peer.index, None, |shard| Ok(shard.info()))))
            .await?;
    let settings = collection.settings().clone();
    let indexed = |field: &edge::JsonPath| -> usize {
        infos.iter().filter_map(|info| info.payload_schema.get(field)).map(|index| index.points).sum()
    };
    let schema = settings.indexes.iter().map(|(field, index)| {
        let points = Some(indexed(&index.path) as u64);
        (field.clone(), PayloadSchemaInfo { data_type: index.kind, params: index.params.clone(), points })
    });
    Ok(CollectionInfo {
        status: CollectionStatus::Green.into(),
        optimizer_status: Some(OptimizerStatus { ok: true, error: String::new() }),
        segments_count: infos.iter().map(|info| info.segments_count as u64).sum(),
        points_count: Some(infos.iter().map(|info| info.points_count as u64).sum()),
        indexed_vectors_count: Some(infos.iter().map(|info| info.indexed_vectors_count as u64).sum()),
        payload_schema: schema.collect(),
        config: Some(CollectionConfig {
            params: Some(settings.params),
            hnsw_config: Some(settings.hnsw),
            optimizer_config: Some(settings.optimizers),
            wal_config: Some(settings.wal),
            quantization_config: None,
            strict_mode_config: None,
            metadata: proto_map(settings.metadata),
        }),
        update_queue: Some(UpdateQueueInfo::default()),
        ..CollectionInfo::default()
    })
}
