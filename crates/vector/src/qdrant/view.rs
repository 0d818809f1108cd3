//! What the peers say about a collection: its layout, and which peer holds a healthy replica of which shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use qdrant_client::qdrant::{
    CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionInfo, GetCollectionInfoRequest,
    GetCollectionInfoResponse, ReplicaState, ShardingMethod,
};
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::convert;
use super::error::Failure;
use super::layout::{self, Layout};
use super::peers::{Account, Peers};
use super::setup::ONLY_SHARD;

/// One moment's knowledge of a collection.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) layout: Layout,
    /// Whether shards have keys: not in a Qdrant without cluster mode.
    pub(crate) keyed: bool,
    /// Peers with a healthy replica, of each shard.
    pub(crate) holders: BTreeMap<String, Vec<usize>>,
    /// Shards with a healthy replica somewhere, also those that no document is placed on.
    pub(crate) served: BTreeSet<String>,
    /// Names of the analysers of the texts.
    pub(crate) analyzers: BTreeSet<String>,
    /// Fields with a payload index.
    pub(crate) indexed: BTreeSet<String>,
    /// The change each peer that answered knows of.
    pub(crate) epochs: BTreeMap<usize, u64>,
    /// When the peers were asked: what they said may be older than when it arrived.
    pub(crate) asked: Instant,
}

/// What the peers have said so far.
#[derive(Default)]
struct Heard {
    /// The collection's settings. A peer cannot tell them while a shard has no replica left.
    infos: BTreeMap<usize, CollectionInfo>,
    /// How many could not.
    untold: usize,
    /// Where the replicas are.
    clusters: BTreeMap<usize, CollectionClusterInfoResponse>,
    failed: BTreeMap<usize, Failure>,
}

enum Answer {
    Info(Box<Result<GetCollectionInfoResponse, Failure>>),
    Cluster(Result<CollectionClusterInfoResponse, Failure>),
}

impl View {
    /// Asks all peers. Once one has answered, the others have `grace` to do so; of those that are late the others' word is
    /// taken, as they may only be slow. With `None` all have until the deadline, and who is late has failed.
    ///
    /// While a shard is lost altogether no peer tells the layout; the one `known` before holds then. It cannot change
    /// meanwhile: that takes the word of every peer.
    pub(crate) async fn look(
        peers: &Peers,
        collection: &str,
        deadline: Deadline,
        grace: Option<Duration>,
        known: Option<&Self>,
    ) -> Result<Self> {
        let asked = Instant::now();
        let due = peers.due();
        // The call that shows whether a peer that was left alone is well again.
        let account = |peer| if due.contains(&peer) { Account::Read } else { Account::Nothing };
        let mut calls: FuturesUnordered<BoxFuture<'_, (usize, Answer)>> = FuturesUnordered::new();
        for peer in peers.all() {
            let info = GetCollectionInfoRequest { collection_name: collection.to_owned() };
            let info = peers.call(peer, info, deadline, Account::Nothing);
            calls.push(Box::pin(async move { (peer, Answer::Info(Box::new(info.await))) }));
            let cluster = CollectionClusterInfoRequest { collection_name: collection.to_owned() };
            let cluster = peers.call(peer, cluster, deadline, account(peer));
            calls.push(Box::pin(async move { (peer, Answer::Cluster(cluster.await)) }));
        }
        let mut heard = Heard::default();
        let mut end = deadline;
        while let Ok(Some((peer, answer))) = end.run(async { Ok(calls.next().await) }).await {
            heard.take(peer, answer);
            // The layout is waited for until all have failed to tell it: a slow answer must not be passed over.
            let told = !heard.infos.is_empty() || heard.untold == peers.len();
            if end == deadline && !heard.clusters.is_empty() && told {
                end = grace.map_or(end, |grace| end.cap(grace));
            }
        }
        drop(calls);
        let late = |peer: &usize| grace.is_none() && !heard.clusters.contains_key(peer);
        let lost = peers.all().into_iter().filter(|peer| heard.failed.contains_key(peer) || late(peer)).collect();
        Self::merge(peers, heard, &lost, known, asked)
    }

    fn merge(
        peers: &Peers,
        heard: Heard,
        lost: &BTreeSet<usize>,
        known: Option<&Self>,
        asked: Instant,
    ) -> Result<Self> {
        let Heard { infos, clusters, failed, .. } = heard;
        let silence = || Error::unavailable("no Qdrant peer answered in time");
        // A refusal says more than silence.
        let refusal = failed.into_values().min_by_key(|failure| failure.elsewhere);
        let error = || refusal.map_or_else(silence, Error::from);
        if clusters.is_empty() || (infos.is_empty() && known.is_none()) {
            return Err(error());
        }
        let mut newest = known.map(|known| (known.layout.clone(), known.keyed));
        let mut analyzers = known.map(|known| known.analyzers.clone()).unwrap_or_default();
        let mut indexed = known.map(|known| known.indexed.clone()).unwrap_or_default();
        let mut epochs = BTreeMap::new();
        for (peer, info) in infos {
            let config = info.config.unwrap_or_default();
            let foreign = || Error::conflict("the collection was not made by Ragstone");
            let layout = Layout::from_metadata(&config.metadata)?.ok_or_else(foreign)?;
            let custom = config.params.and_then(|params| params.sharding_method);
            analyzers.extend(layout::analyzers_from_metadata(&config.metadata));
            indexed.extend(info.payload_schema.into_keys());
            epochs.insert(peer, layout.epoch);
            if newest.as_ref().is_none_or(|(known, _)| known.epoch < layout.epoch) {
                newest = Some((layout, custom == Some(ShardingMethod::Custom.into())));
            }
        }
        let (layout, keyed) = newest.ok_or_else(silence)?;
        clusters.iter().for_each(|(peer, cluster)| peers.learn_id(*peer, cluster.peer_id));
        let replicas = Replicas::new(peers, clusters.values(), lost, keyed);
        let names = layout.topology.all();
        let holders = names.iter().map(|shard| ((*shard).to_owned(), replicas.holders(shard))).collect();
        let served = replicas.served();
        Ok(Self { layout, keyed, holders, served, analyzers, indexed, epochs, asked })
    }
}

impl Heard {
    fn take(&mut self, peer: usize, answer: Answer) {
        match answer {
            Answer::Info(info) => match *info {
                Ok(info) => drop(self.infos.insert(peer, info.result.unwrap_or_default())),
                Err(failure) => {
                    self.untold += 1;
                    // Where it might be told elsewhere, this peer may have asked in vain another one that is lost.
                    if !failure.elsewhere {
                        self.failed.insert(peer, failure);
                    }
                }
            },
            Answer::Cluster(Ok(cluster)) => drop(self.clusters.insert(peer, cluster)),
            Answer::Cluster(Err(failure)) => drop(self.failed.insert(peer, failure)),
        }
    }
}

/// Whether an error says that the collection is not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    error.code == ErrorCode::NotFound
}

/// The replicas of every shard, as all peers together see them.
struct Replicas<'a> {
    peers: &'a Peers,
    /// Of a shard and Qdrant's number of a peer: healthy in every view that knows it.
    healthy: BTreeMap<(String, u64), bool>,
    /// Configured peers that failed to answer.
    lost: &'a BTreeSet<usize>,
}

impl<'a> Replicas<'a> {
    fn new<'b>(
        peers: &'a Peers,
        clusters: impl Iterator<Item = &'b CollectionClusterInfoResponse>,
        lost: &'a BTreeSet<usize>,
        keyed: bool,
    ) -> Self {
        let mut healthy: BTreeMap<(String, u64), bool> = BTreeMap::new();
        let name = |key: Option<&_>| {
            if keyed { convert::key_name(key).map(str::to_owned) } else { Some(ONLY_SHARD.to_owned()) }
        };
        for cluster in clusters {
            let local = cluster.local_shards.iter();
            let local = local.map(|shard| (shard.shard_key.as_ref(), cluster.peer_id, shard.state));
            let remote = cluster.remote_shards.iter();
            let remote = remote.map(|shard| (shard.shard_key.as_ref(), shard.peer_id, shard.state));
            for (key, id, state) in local.chain(remote) {
                let Some(shard) = name(key) else {
                    continue;
                };
                let well = state == i32::from(ReplicaState::Active) || state == i32::from(ReplicaState::ActiveRead);
                // A peer cut off from the others does not know that they gave up its replica: one doubt is enough.
                healthy.entry((shard, id)).and_modify(|known| *known &= well).or_insert(well);
            }
        }
        Self { peers, healthy, lost }
    }

    /// Configured peers that hold a healthy replica.
    fn holders(&self, shard: &str) -> Vec<usize> {
        let healthy = self.healthy.iter().filter(|((name, _), well)| name == shard && **well);
        let ours = healthy.filter_map(|((_, id), _)| self.peers.with_id(*id));
        ours.filter(|peer| !self.lost.contains(peer)).collect()
    }

    /// Shards that some peer, also one that is not configured, can serve.
    fn served(&self) -> BTreeSet<String> {
        let here = |id| self.peers.with_id(id).is_none_or(|peer| !self.lost.contains(&peer));
        let healthy = self.healthy.iter().filter(|((_, id), well)| **well && here(*id));
        healthy.map(|((name, _), _)| name.clone()).collect()
    }
}
