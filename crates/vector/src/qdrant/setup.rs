//! Making a collection, and making sure that one is what it should be.

use std::collections::HashMap;
use std::time::Duration;

use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, DeleteShardKey, DeleteShardKeyRequest, Distance, GetCollectionInfoRequest,
    Modifier, ShardingMethod, SparseVectorConfig, SparseVectorParams, UpdateCollection, Value, VectorParams,
    VectorParamsMap, VectorsConfig, vectors_config,
};
use ragstone_core::{Error, IndexSpec, Result};
use ragstone_resilience::Deadline;
use tonic::Code;

use super::config::QdrantConfig;
use super::convert::{self, DENSE, SPARSE};
use super::fields::{self, Kind, plain};
use super::filter;
use super::layout::{self, Layout};
use super::peers::{Account, Peers};
use super::reshard::{PATIENCE, make_shards};

/// The name of the one shard of a Qdrant without cluster mode.
pub(crate) const ONLY_SHARD: &str = "s0";
/// How often a collection that was just made is looked for, and how long between two looks.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Makes the collection of an index, or finds it as it was made before. Several may do so at the same time.
///
/// # Errors
/// `Conflict` when what is there under its name was made for something else.
pub(crate) async fn create(peers: &Peers, config: &QdrantConfig, spec: &IndexSpec) -> Result<()> {
    let name = config.collection(spec.name.as_str());
    let there = match info(peers, &name).await? {
        Some(there) => there,
        None => {
            let cluster = is_cluster(peers, &name).await?;
            let shards = if cluster { config.shard_names() } else { vec![ONLY_SHARD.to_owned()] };
            let mut metadata = layout::spec_metadata(spec)?;
            metadata.extend(Layout::new(shards).metadata()?);
            match peers.change_any(request(config, spec, cluster, metadata), Deadline::after(PATIENCE)).await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(failure) if failure.code == Code::AlreadyExists || failure.message.contains("already exists") => {}
                Err(failure) => return Err(failure.into()),
            }
            appears(peers, &name).await?
        }
    };
    let layout = verify(&name, &there, spec)?;
    if is_keyed(&there) {
        let shards: Vec<String> = layout.topology.all().into_iter().map(str::to_owned).collect();
        make_shards(peers, &name, &shards).await?;
    }
    let wanted = fields::standard().into_iter().map(|(field, kind)| (field.to_owned(), kind));
    for (field, kind) in wanted.chain(configured_fields(config)) {
        if !there.payload_schema.keys().any(|known| plain(known) == plain(&field)) {
            fields::index(peers, &name, field, kind).await?;
        }
    }
    Ok(())
}

/// The metadata fields that the configuration wants indexed.
pub(crate) fn configured_fields(config: &QdrantConfig) -> impl Iterator<Item = (String, Kind)> + '_ {
    let path = |field: &String| (filter::path(&format!("metadata.{field}")), Kind::Text);
    config.indexed_metadata.iter().map(path)
}

/// Makes the collection of an index that a backup is about to fill: with its shards and languages, but not yet marked as
/// what it is for, so that it cannot pass for a whole index.
///
/// # Errors
/// `Conflict` when something is there under its name.
pub(crate) async fn create_draft(
    peers: &Peers,
    config: &QdrantConfig,
    spec: &IndexSpec,
    cluster: bool,
    (shards, analyzers): (&[String], &[String]),
) -> Result<()> {
    let name = config.collection(spec.name.as_str());
    if info(peers, &name).await?.is_some() {
        return Err(Error::conflict(format!("collection {name} is in Qdrant already")));
    }
    let mut metadata = Layout::new(shards.to_vec()).metadata()?;
    metadata.extend(layout::analyzer_metadata(analyzers.iter().map(String::as_str)));
    peers.change_any(request(config, spec, cluster, metadata), Deadline::after(PATIENCE)).await?;
    appears(peers, &name).await?;
    if cluster { make_shards(peers, &name, shards).await } else { Ok(()) }
}

/// Marks a draft as the index it has become; returns when every peer knows it.
pub(crate) async fn complete_draft(peers: &Peers, config: &QdrantConfig, spec: &IndexSpec) -> Result<()> {
    let collection_name = config.collection(spec.name.as_str());
    let metadata = layout::spec_metadata(spec)?;
    let update = UpdateCollection { collection_name: collection_name.clone(), metadata, ..UpdateCollection::default() };
    peers.change_any(update, Deadline::after(PATIENCE)).await?;
    for peer in peers.all() {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let request = GetCollectionInfoRequest { collection_name: collection_name.clone() };
            let answer = peers.call(peer, request, deadline, Account::Nothing).await?;
            if answer.result.as_ref().map(spec_of).transpose()?.flatten().is_some() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
    Ok(())
}

/// Whether a restore has made this collection and not come to its end.
pub(crate) fn is_draft(info: &CollectionInfo) -> Result<bool> {
    let Some(config) = &info.config else { return Ok(false) };
    Ok(layout::spec_from_metadata(&config.metadata)?.is_none() && Layout::from_metadata(&config.metadata)?.is_some())
}

/// A collection that was just made: a peer that is asked may hear of it a moment later than the one that made it.
async fn appears(peers: &Peers, name: &str) -> Result<CollectionInfo> {
    for _ in 0..LOOKS {
        if let Some(there) = info(peers, name).await? {
            return Ok(there);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Error::unavailable(format!("collection {name} is not there yet")))
}

/// The collection with this name; `None` when there is none.
pub(crate) async fn info(peers: &Peers, name: &str) -> Result<Option<CollectionInfo>> {
    let request = GetCollectionInfoRequest { collection_name: name.to_owned() };
    match peers.any(request, Deadline::after(PATIENCE)).await {
        Ok(answer) => Ok(answer.result),
        Err(failure) if failure.code == Code::NotFound => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// What an index was made for, where this collection is one of ours.
pub(crate) fn spec_of(info: &CollectionInfo) -> Result<Option<IndexSpec>> {
    info.config.as_ref().map_or(Ok(None), |config| layout::spec_from_metadata(&config.metadata))
}

fn is_keyed(info: &CollectionInfo) -> bool {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    params.and_then(|params| params.sharding_method) == Some(ShardingMethod::Custom.into())
}

/// Whether Qdrant runs in cluster mode. Its gRPC API has no question for that, but refuses to delete a shard, here one
/// that never exists, in different words.
pub(crate) async fn is_cluster(peers: &Peers, name: &str) -> Result<bool> {
    let request = DeleteShardKeyRequest {
        collection_name: name.to_owned(),
        request: Some(DeleteShardKey { shard_key: Some(convert::key("-")) }),
        timeout: None,
    };
    match peers.any(request, Deadline::after(PATIENCE)).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.message.contains("Distributed mode disabled") => Ok(false),
        Err(failure) if matches!(failure.code, Code::NotFound | Code::InvalidArgument) => Ok(true),
        Err(failure) => Err(failure.into()),
    }
}

/// The collection of `spec`, still without shards where they have keys: in a `cluster`.
fn request(
    config: &QdrantConfig,
    spec: &IndexSpec,
    cluster: bool,
    metadata: HashMap<String, Value>,
) -> CreateCollection {
    let dense =
        VectorParams { size: spec.dimension as u64, distance: Distance::Cosine.into(), ..VectorParams::default() };
    let dense = VectorParamsMap { map: HashMap::from([(DENSE.to_owned(), dense)]) };
    let sparse = SparseVectorParams { modifier: Some(Modifier::Idf.into()), ..SparseVectorParams::default() };
    let method = if cluster { ShardingMethod::Custom } else { ShardingMethod::Auto };
    CreateCollection {
        collection_name: config.collection(spec.name.as_str()),
        shard_number: Some(1),
        timeout: Some(PATIENCE.as_secs()),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::ParamsMap(dense)) }),
        replication_factor: cluster.then_some(config.replication_factor),
        write_consistency_factor: cluster.then_some(config.write_consistency_factor),
        sharding_method: Some(method.into()),
        sparse_vectors_config: Some(SparseVectorConfig { map: HashMap::from([(SPARSE.to_owned(), sparse)]) }),
        metadata,
        ..CreateCollection::default()
    }
}

/// Compares a collection with what is asked for.
fn verify(name: &str, info: &CollectionInfo, spec: &IndexSpec) -> Result<Layout> {
    let config = info.config.clone().unwrap_or_default();
    let params = config.params.unwrap_or_default();
    let dense = match params.vectors_config.and_then(|vectors| vectors.config) {
        Some(vectors_config::Config::ParamsMap(map)) => map.map.get(DENSE).cloned(),
        _ => None,
    };
    let sparse = params.sparse_vectors_config.and_then(|sparse| sparse.map.get(SPARSE)?.modifier);
    let made = layout::spec_from_metadata(&config.metadata).map_err(|error| differs(name, &error.message))?;
    let layout = Layout::from_metadata(&config.metadata).map_err(|error| differs(name, &error.message))?;
    if made.is_none() && layout.is_some() {
        return Err(Error::conflict(format!(
            "collection {name} in Qdrant is not whole: a restore broke off while it was filled. Remove that collection: the \
             index is then filled from the catalog"
        )));
    }
    let (Some(dense), Some(made), Some(layout)) = (dense, made, layout) else {
        return Err(differs(name, "it was not made by Ragstone"));
    };
    let difference = if dense.size != spec.dimension as u64 {
        format!("it holds vectors of dimension {}, the embedding model makes {}", dense.size, spec.dimension)
    } else if dense.distance != i32::from(Distance::Cosine) {
        format!("its vectors '{DENSE}' are compared by {}, not by cosine", distance(dense.distance))
    } else if sparse != Some(Modifier::Idf.into()) {
        format!("its sparse vectors '{SPARSE}' lack the IDF modifier")
    } else if (&made.model, &made.revision) != (&spec.model, &spec.revision) {
        let (a, b, c, d) = (&made.model, &made.revision, &spec.model, &spec.revision);
        format!("it was made with revision {b} of model {a}, the embedding model is revision {d} of {c}")
    } else {
        return Ok(layout);
    };
    Err(differs(name, &difference))
}

fn differs(name: &str, difference: &str) -> Error {
    Error::conflict(format!(
        "collection {name} in Qdrant is for something else: {difference}; set retrieval.qdrant.collection_prefix to another \
         name, or use the model it was made with"
    ))
}

fn distance(number: i32) -> &'static str {
    Distance::try_from(number).map_or("an unknown measure", |distance| distance.as_str_name())
}
