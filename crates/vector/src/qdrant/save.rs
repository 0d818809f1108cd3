//! Saving an index: a snapshot of each shard, made by a peer with a healthy replica and copied into a directory. Searches and
//! writes go on.

use std::collections::BTreeMap;
use std::path::Path;

use qdrant_client::qdrant::{CollectionClusterInfoRequest, CollectionClusterInfoResponse, ReplicaState};
use ragstone_core::{Error, IndexName, Result};
use ragstone_resilience::Deadline;

use super::collection::Collection;
use super::convert;
use super::fields::Kind;
use super::indexes::QdrantIndexes;
use super::peers::{Account, Peers};
use super::reshard::PATIENCE;
use super::rest::{Place, Rest};
use super::saved::{self, Contents, Field, Shard, unusable};
use super::setup::{self, ONLY_SHARD};
use super::view::View;
use crate::payload::METADATA;

impl QdrantIndexes {
    /// Copies the index into `directory`, which is made. What is written meanwhile may be in it or not: whoever reads the
    /// catalog afterwards finds there everything that is in the index, and maybe more.
    ///
    /// # Errors
    /// `Conflict` while documents move between shards; `InvalidArgument`, with the setting to correct, when Qdrant's REST
    /// API is not where it should be or refuses the key; `Unavailable` when a shard has no healthy replica.
    pub async fn save(&self, name: &IndexName, directory: &Path) -> Result<()> {
        let rest = Rest::new(&self.shared.config).await?;
        let store = self.load(name).await?;
        let collection = store.collection();
        let view = resting(collection).await?;
        let places = collection.places(&view, &rest).await?;
        tokio::fs::create_dir_all(directory).await.map_err(|error| unusable(directory, error))?;
        let mut shards = Vec::new();
        for shard in &view.layout.topology.shards {
            let places = places.get(shard).map(Vec::as_slice).unwrap_or_default();
            shards.push(collection.save_shard(&rest, shard, places, directory).await?);
        }
        let after = resting(collection).await?;
        if after.layout != view.layout {
            return Err(Error::conflict(format!("the shards of index '{name}' changed during the backup")));
        }
        let fields = collection.metadata_fields().await?;
        let analyzers = after.analyzers.iter().cloned().collect();
        Contents::new(collection.spec.clone(), analyzers, fields, shards).write(directory).await
    }
}

/// What is known now of an index in which no documents move.
async fn resting(collection: &Collection) -> Result<std::sync::Arc<View>> {
    let view = collection.fresh().await?;
    if view.layout.topology.moving_to.is_some() {
        let name = &collection.spec.name;
        return Err(Error::conflict(format!(
            "documents of index '{name}' are moving between shards: back up when that is done (ragstone reshard status)"
        )));
    }
    Ok(view)
}

impl Collection {
    /// Where each shard has a healthy replica, on peers whose REST API was found to be theirs.
    async fn places(&self, view: &View, rest: &Rest) -> Result<BTreeMap<String, Vec<Place>>> {
        let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        let mut last = None;
        for peer in self.peers.all() {
            // What another one can do need not be done by one that is away.
            let Ok(cluster) = cluster_info(&self.peers, &self.name, peer).await else { continue };
            match rest.check(peer, cluster.peer_id).await {
                Ok(()) => {}
                Err(error) if error.code.is_retryable() => {
                    last = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            for (shard, place) in local(&cluster, peer, view.keyed) {
                if view.holders.get(&shard).is_some_and(|holders| holders.contains(&peer)) {
                    places.entry(shard).or_default().push(place);
                }
            }
        }
        if let (true, Some(error)) = (places.is_empty(), last) {
            return Err(error);
        }
        Ok(places)
    }

    /// Saves one shard, by one peer after the other until one has done it.
    async fn save_shard(&self, rest: &Rest, shard: &str, places: &[Place], directory: &Path) -> Result<Shard> {
        let nobody = format!("no peer of retrieval.qdrant.urls has a healthy replica of shard {shard}");
        let mut outcome = Err(Error::unavailable(nobody));
        for place in places {
            outcome = self.save_replica(rest, shard, *place, directory).await;
            match &outcome {
                Err(error) if error.code.is_retryable() => {
                    tracing::warn!(shard, error = error.chain(), "a peer could not save a shard");
                }
                _ => return outcome,
            }
        }
        outcome
    }

    async fn save_replica(&self, rest: &Rest, shard: &str, place: Place, directory: &Path) -> Result<Shard> {
        let snapshot = rest.take(&self.name, place).await?;
        let fetched = rest.fetch(&self.name, place, &snapshot, &saved::file(directory, shard)).await;
        if let Err(error) = rest.forget(&self.name, place, &snapshot).await {
            let (peer, name) = (self.peers.label(place.peer), &snapshot.name);
            tracing::warn!(
                peer,
                name,
                error = error.chain(),
                "a snapshot stays on the disk of Qdrant: remove it there"
            );
        }
        let (bytes, sha256) = fetched?;
        Ok(Shard { name: shard.to_owned(), bytes, sha256 })
    }

    /// Metadata fields with a payload index.
    async fn metadata_fields(&self) -> Result<Vec<Field>> {
        let info = setup::info(&self.peers, &self.name).await?;
        let schema = info.map(|info| info.payload_schema).unwrap_or_default();
        let metadata = schema.iter().filter(|(path, _)| path.starts_with(METADATA));
        let field = |(path, index): (&String, _)| Some(Field { path: path.clone(), kind: Kind::of_index(index)? });
        let mut fields: Vec<_> = metadata.filter_map(field).collect();
        fields.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(fields)
    }
}

/// What a peer knows of a collection's shards.
pub(crate) async fn cluster_info(
    peers: &Peers,
    collection: &str,
    peer: usize,
) -> Result<CollectionClusterInfoResponse> {
    let request = CollectionClusterInfoRequest { collection_name: collection.to_owned() };
    Ok(peers.call(peer, request, Deadline::after(PATIENCE), Account::Nothing).await?)
}

/// The healthy replicas on a peer itself, by the name of their shard.
pub(crate) fn local(
    cluster: &CollectionClusterInfoResponse,
    peer: usize,
    keyed: bool,
) -> impl Iterator<Item = (String, Place)> + '_ {
    let active = cluster.local_shards.iter().filter(|shard| shard.state == i32::from(ReplicaState::Active));
    active.filter_map(move |shard| {
        let name = if keyed { convert::key_name(shard.shard_key.as_ref())? } else { ONLY_SHARD };
        Some((name.to_owned(), Place { peer, shard: shard.shard_id }))
    })
}
