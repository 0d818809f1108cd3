//! What the peers say about a collection: its layout, and which peer holds a healthy replica of which shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use qdrant_client::qdrant::{
    CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionInfo, GetCollectionInfoRequest,
    ReplicaState, ShardingMethod,
};
use ragstone_core::{Error, ErrorCode, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;

use super::convert;
use super::error::Failure;
use super::layout::{self, Layout};
use super::peers::{Account, Peers};

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

/// What one peer says.
struct Said {
    peer: usize,
    info: CollectionInfo,
    cluster: CollectionClusterInfoResponse,
}

impl View {
    /// Asks all peers. Once the first has answered, the others have `grace` to do so; `None`: until the deadline.
    pub(crate) async fn look(
        peers: &Peers,
        collection: &str,
        deadline: Deadline,
        grace: Option<Duration>,
    ) -> Result<Self> {
        let asked = Instant::now();
        let due = peers.due();
        let mut calls: FuturesUnordered<_> = peers
            .all()
            .into_iter()
            .map(|peer| {
                // The call that shows whether a peer that was left alone is well again.
                let account = if due.contains(&peer) { Account::Write } else { Account::Nothing };
                ask(peers, peer, collection, deadline, account)
            })
            .collect();
        let mut said = Vec::new();
        let mut failure: Option<Failure> = None;
        let mut end = deadline;
        while let Ok(Some(answer)) = end.run(async { Ok(calls.next().await) }).await {
            match answer {
                Ok(answer) => {
                    if said.is_empty() {
                        end = grace.map_or(end, |grace| end.cap(grace));
                    }
                    said.push(answer);
                }
                Err(other) if failure.as_ref().is_none_or(|known| known.elsewhere) => failure = Some(other),
                Err(_) => {}
            }
        }
        drop(calls);
        match failure {
            Some(failure) if said.is_empty() => Err(failure.into()),
            None if said.is_empty() => Err(Error::unavailable("no Qdrant peer answered in time")),
            _ => Self::merge(peers, said, asked),
        }
    }

    fn merge(peers: &Peers, said: Vec<Said>, asked: Instant) -> Result<Self> {
        let mut newest: Option<(Layout, bool)> = None;
        let (mut analyzers, mut indexed, mut epochs) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        for Said { peer, info, cluster } in &said {
            peers.learn_id(*peer, cluster.peer_id);
            let config = info.config.clone().unwrap_or_default();
            let foreign = || Error::conflict("the collection was not made by Ragstone");
            let layout = Layout::from_metadata(&config.metadata)?.ok_or_else(foreign)?;
            let custom = config.params.and_then(|params| params.sharding_method);
            let keyed = custom == Some(ShardingMethod::Custom.into());
            analyzers.extend(layout::analyzers_from_metadata(&config.metadata));
            indexed.extend(info.payload_schema.keys().cloned());
            epochs.insert(*peer, layout.epoch);
            if newest.as_ref().is_none_or(|(known, _)| known.epoch < layout.epoch) {
                newest = Some((layout, keyed));
            }
        }
        let (layout, keyed) = newest.ok_or_else(|| Error::internal("nobody said anything"))?;
        let replicas = Replicas::new(peers, &said, keyed);
        let names = layout.topology.all();
        let holders = names.iter().map(|shard| ((*shard).to_owned(), replicas.holders(shard))).collect();
        let served = replicas.served();
        Ok(Self { layout, keyed, holders, served, analyzers, indexed, epochs, asked })
    }
}

async fn ask(
    peers: &Peers,
    peer: usize,
    collection: &str,
    deadline: Deadline,
    account: Account,
) -> Result<Said, Failure> {
    let collection_name = collection.to_owned();
    let info = GetCollectionInfoRequest { collection_name: collection_name.clone() };
    let cluster = CollectionClusterInfoRequest { collection_name };
    let (info, cluster) =
        tokio::try_join!(peers.call(peer, info, deadline, account), peers.call(peer, cluster, deadline, account),)?;
    Ok(Said { peer, info: info.result.unwrap_or_default(), cluster })
}

/// Whether an error says that the collection is not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    error.code == ErrorCode::NotFound
}

/// The replicas of every shard, as all peers together see them.
struct Replicas {
    /// Of a shard and Qdrant's number of a peer: healthy in every view that knows it.
    healthy: BTreeMap<(String, u64), bool>,
    /// Qdrant's number, and ours, of each peer that answered.
    answered: BTreeMap<u64, usize>,
    /// Numbers of configured peers that did not answer.
    silent: BTreeSet<u64>,
}

impl Replicas {
    fn new(peers: &Peers, said: &[Said], keyed: bool) -> Self {
        let answered: BTreeMap<u64, usize> = said.iter().map(|one| (one.cluster.peer_id, one.peer)).collect();
        let mut healthy: BTreeMap<(String, u64), bool> = BTreeMap::new();
        let mut silent = BTreeSet::new();
        let name =
            |key: Option<&_>| if keyed { convert::key_name(key).map(str::to_owned) } else { Some("s0".to_owned()) };
        for one in said {
            let local = one.cluster.local_shards.iter();
            let local = local.map(|shard| (shard.shard_key.as_ref(), one.cluster.peer_id, shard.state));
            let remote = one.cluster.remote_shards.iter();
            let remote = remote.map(|shard| (shard.shard_key.as_ref(), shard.peer_id, shard.state));
            for (key, id, state) in local.chain(remote) {
                let Some(shard) = name(key) else {
                    continue;
                };
                let well = state == i32::from(ReplicaState::Active) || state == i32::from(ReplicaState::ActiveRead);
                // A peer cut off from the others does not know that they gave up its replica: one doubt is enough.
                healthy.entry((shard, id)).and_modify(|known| *known &= well).or_insert(well);
                if !answered.contains_key(&id) && peers.with_id(id).is_some() {
                    silent.insert(id);
                }
            }
        }
        Self { healthy, answered, silent }
    }

    /// Configured peers that answered and hold a healthy replica.
    fn holders(&self, shard: &str) -> Vec<usize> {
        let healthy = self.healthy.iter().filter(|((name, _), well)| name == shard && **well);
        healthy.filter_map(|((_, id), _)| self.answered.get(id).copied()).collect()
    }

    /// Shards that some peer, also one that is not configured, can serve.
    fn served(&self) -> BTreeSet<String> {
        let healthy = self.healthy.iter().filter(|((_, id), well)| **well && !self.silent.contains(id));
        healthy.map(|((name, _), _)| name.clone()).collect()
    }
}
