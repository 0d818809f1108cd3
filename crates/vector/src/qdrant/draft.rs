//! Bringing a saved index into an empty Qdrant. Until all is done the collection lacks the mark of an index: a restore that
//! breaks off leaves nothing behind that could pass for a whole one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use qdrant_client::qdrant::{ListCollectionsRequest, ReplicaState};
use ragstone_core::{Error, IndexName, IndexSpec, Result};
use ragstone_resilience::Deadline;

use super::collection::Collection;
use super::config::QdrantConfig;
use super::convert;
use super::fields;
use super::indexes::QdrantIndexes;
use super::peers::Peers;
use super::reshard::PATIENCE;
use super::rest::{Place, Rest};
use super::save::{cluster_info, local};
use super::saved::SavedIndex;
use super::setup::{self, ONLY_SHARD};
use super::stock::Stock;

/// How long replicas may take to be well again.
const SETTLING: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(200);

/// An index that was brought in and does not count yet.
#[derive(Debug)]
pub struct IndexDraft {
    collection: Collection,
}

impl QdrantIndexes {
    /// Makes sure that indexes can be brought in: every peer's REST API is where it should be.
    ///
    /// # Errors
    /// `InvalidArgument`, with the setting to correct; `Unavailable`.
    pub async fn check_rest(&self) -> Result<()> {
        self.reach_all().await.map(drop)
    }

    async fn reach_all(&self) -> Result<Rest> {
        let rest = Rest::new(&self.shared.config).await?;
        for peer in self.shared.peers.all() {
            rest.check_answers(peer).await?;
        }
        Ok(rest)
    }

    /// Collections that a restore has begun to fill and left.
    ///
    /// # Errors
    /// `Unavailable` when no peer answers.
    pub async fn drafts(&self) -> Result<Vec<String>> {
        let peers = &self.shared.peers;
        let all = peers.any(ListCollectionsRequest {}, Deadline::after(PATIENCE)).await?;
        let mut drafts = Vec::new();
        for found in all.collections.into_iter().filter(|found| self.shared.index_name(&found.name).is_some()) {
            let info = setup::info(peers, &found.name).await?;
            if info.as_ref().map(setup::is_draft).transpose()?.unwrap_or_default() {
                drafts.push(found.name);
            }
        }
        Ok(drafts)
    }

    /// Brings a saved index in. It is no index before [`IndexDraft::complete`].
    ///
    /// # Errors
    /// Before anything is made: `Unprocessable` when its shards cannot be those of this Qdrant, `Conflict` when its
    /// collection is there, `Unavailable` when a peer does not answer. Later that, too, leaves a collection behind that is
    /// no index.
    pub async fn bring_in(&self, saved: &SavedIndex) -> Result<IndexDraft> {
        let (peers, config, spec) = (&self.shared.peers, &self.shared.config, saved.spec());
        let rest = self.reach_all().await?;
        let name = config.collection(spec.name.as_str());
        let cluster = setup::is_cluster(peers, &name).await?;
        let shards = fitting(saved, cluster)?;
        setup::create_draft(peers, config, spec, cluster, (&shards, &saved.contents.analyzers)).await?;
        let places = places(peers, &rest, &name, cluster).await?;
        for (shard, saved_shard) in shards.iter().zip(&saved.contents.shards) {
            let file = saved.file(saved_shard);
            for place in places.get(shard).into_iter().flatten() {
                rest.bring(&name, *place, &file, &saved_shard.sha256).await?;
            }
        }
        settle(peers, &name).await?;
        index_fields(peers, config, &name, saved).await?;
        let collection = Collection::open(Arc::clone(peers), Arc::clone(config), spec.clone()).await?;
        Ok(IndexDraft { collection })
    }
}

/// The shards to make, in the order of the saved ones.
fn fitting(saved: &SavedIndex, cluster: bool) -> Result<Vec<String>> {
    let shards = &saved.contents.shards;
    match shards.len() {
        _ if cluster => Ok(shards.iter().map(|shard| shard.name.clone()).collect()),
        // Whatever it was called: all documents are on it.
        1 => Ok(vec![ONLY_SHARD.to_owned()]),
        count => Err(Error::unprocessable(format!(
            "the backup has {count} shards, and a Qdrant without cluster mode has one"
        ))),
    }
}

/// All replicas of each shard; each must be within reach, as the backup is given to every one.
async fn places(peers: &Peers, rest: &Rest, name: &str, keyed: bool) -> Result<BTreeMap<String, Vec<Place>>> {
    settle(peers, name).await?;
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    let (mut known, mut holders) = (BTreeSet::new(), BTreeSet::new());
    for peer in peers.all() {
        let cluster = cluster_info(peers, name, peer).await?;
        rest.check(peer, cluster.peer_id).await?;
        // Two URLs may be of one peer: what one was given the other needs no more.
        if known.insert(cluster.peer_id) {
            for (shard, place) in local(&cluster, peer, keyed) {
                places.entry(shard).or_default().push(place);
            }
        }
        holders.extend(cluster.remote_shards.iter().map(|shard| shard.peer_id));
    }
    if let Some(stranger) = holders.difference(&known).next() {
        return Err(Error::invalid(format!(
            "peer {stranger} of Qdrant holds shards but is not named: name every peer in retrieval.qdrant.urls and rest_urls"
        )));
    }
    Ok(places)
}

/// Returns when all peers say that all replicas are well.
async fn settle(peers: &Peers, name: &str) -> Result<()> {
    let end = Deadline::after(SETTLING);
    for peer in peers.all() {
        loop {
            let cluster = cluster_info(peers, name, peer).await?;
            let local = cluster.local_shards.iter().map(|shard| (shard.shard_key.as_ref(), shard.state));
            let remote = cluster.remote_shards.iter().map(|shard| (shard.shard_key.as_ref(), shard.state));
            let mut ill = local.chain(remote).filter(|(_, state)| *state != i32::from(ReplicaState::Active));
            let Some((shard, _)) = ill.next() else { break };
            if end.remaining().is_zero() {
                let shard = convert::key_name(shard).unwrap_or(ONLY_SHARD);
                let message = format!("a replica of shard {shard} of collection {name} in Qdrant is not well");
                return Err(Error::unavailable(message));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

async fn index_fields(peers: &Peers, config: &QdrantConfig, name: &str, saved: &SavedIndex) -> Result<()> {
    let standard = fields::standard().into_iter().map(|(field, kind)| (field.to_owned(), kind));
    let configured = setup::configured_fields(config);
    let used = saved.contents.fields.iter().map(|field| (field.path.clone(), field.kind));
    let wanted: BTreeMap<_, _> = used.chain(configured).chain(standard).collect();
    for (field, kind) in wanted {
        fields::index(peers, name, field, kind).await?;
    }
    Ok(())
}

impl IndexDraft {
    /// Which versions of which documents it holds.
    ///
    /// # Errors
    /// `Unavailable` when a shard does not answer.
    pub async fn stock(&self) -> Result<Stock> {
        let view = self.collection.fresh().await?;
        let mut stock = Stock::default();
        for shard in &view.layout.topology.shards {
            let mut offset = None;
            loop {
                let (page, next) = self.collection.label_page(&view, shard, offset).await?;
                page.iter().for_each(|(_, label)| stock.add(label.as_ref()));
                offset = next;
                if offset.is_none() {
                    break;
                }
            }
        }
        Ok(stock)
    }

    /// Removes every chunk that is not part of a document that is right.
    ///
    /// # Errors
    /// `Unavailable` when a shard does not answer.
    pub async fn keep_only_right(&self, stock: &Stock) -> Result<()> {
        if !stock.has_stray_points() {
            return Ok(());
        }
        let view = self.collection.fresh().await?;
        for shard in &view.layout.topology.shards {
            let mut offset = None;
            loop {
                let (page, next) = self.collection.label_page(&view, shard, offset).await?;
                let stray = |label: &Option<_>| !label.as_ref().is_some_and(|label| stock.is_right(label));
                let doomed: Vec<_> = page.into_iter().filter(|(_, label)| stray(label)).map(|(id, _)| id).collect();
                if !doomed.is_empty() {
                    let deadline = Deadline::after(self.collection.config.write_timeout());
                    self.collection.delete_points(&view, shard, convert::selector(doomed), deadline).await?;
                }
                offset = next;
                if offset.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// From now on it is an index.
    ///
    /// # Errors
    /// `Unavailable` when a peer does not answer.
    pub async fn complete(self) -> Result<IndexName> {
        let Collection { peers, config, spec, .. } = self.collection;
        setup::complete_draft(&peers, &config, &spec).await?;
        let IndexSpec { name, .. } = spec;
        Ok(name)
    }
}
