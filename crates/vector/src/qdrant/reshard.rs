//! Adding and removing shards while searches and writes go on.
//!
//! 1. Shards that are missing are made. The new set is stored, and a pause lets every reader learn of it: searches now
//!    ask the old and the new shards, writes still go to the old places, and removals to both.
//! 2. That writes go to the new places is stored, and a pause lets every write end that does not know it.
//! 3. Documents move, one by one: copied, shown in the new place, removed from the old one after a pause in which
//!    searches end that asked the new place too early. In between a chunk is found twice and counted once.
//! 4. Nothing is left in an old place: the new set alone is stored, a pause, and shards out of use are deleted.
//!
//! Every step may be repeated, so that a crash anywhere only means to do it again. Pauses rest on two rules: nobody
//! searches or writes with knowledge older than twice `topology_refresh_ms`, and every configured peer has confirmed
//! a change before its pause begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use qdrant_client::qdrant::{
    CreateShardKey, CreateShardKeyRequest, DeleteShardKey, DeleteShardKeyRequest, ListShardKeysRequest,
    UpdateCollection,
};
use ragstone_core::{Error, IndexName, Result, Topology, place};
use ragstone_resilience::Deadline;

use super::collection::Collection;
use super::config::MAX_SHARDS;
use super::convert;
use super::filter;
use super::layout::Layout;
use super::peers::Peers;
use super::scan::live_version;
use super::view::View;
use crate::payload::{STATE, State};

/// How long Qdrant may take to agree on a change of a collection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether it has.
const POLL: Duration = Duration::from_millis(50);
/// How long reading one shard through may take.
const SCAN: Duration = Duration::from_secs(600);

impl Collection {
    /// Makes new shards and lets writes go to their places among `shards`; on return everybody knows.
    pub(crate) async fn begin_reshard(&self, shards: &[String]) -> Result<()> {
        let target = checked(shards)?;
        let view = self.agreed().await?;
        if !view.keyed {
            return Err(Error::unprocessable("a Qdrant without cluster mode has one shard, always"));
        }
        let Topology { shards: now, moving_to } = &view.layout.topology;
        let announced = match moving_to {
            None if same(now, &target) => return Ok(()),
            Some(to) if !same(to, &target) => {
                return Err(Error::conflict(format!("documents are moving to the shards {}", to.join(", "))));
            }
            Some(_) => {
                // A beginning that broke off may have made some of them only.
                make_shards(&self.peers, &self.name, &target).await?;
                view.layout.clone()
            }
            None => {
                make_shards(&self.peers, &self.name, &target).await?;
                let topology = Topology { shards: now.clone(), moving_to: Some(target) };
                self.store(view.layout.next(topology, false)).await?
            }
        };
        if !announced.write_to_new {
            tokio::time::sleep(self.readers_know()).await;
            self.store(announced.next(announced.topology.clone(), true)).await?;
        }
        tokio::time::sleep(self.writers_know()).await;
        self.fresh().await.map(|_| ())
    }

    /// Brings the live version of a document to its new place. Whether it had to move.
    pub(crate) async fn move_document(&self, owner: (&str, &str)) -> Result<bool> {
        let view = self.view().await?;
        let home = view.layout.home(owner.0, owner.1)?;
        let Some(old) = home.other else {
            return Ok(false);
        };
        if !view.layout.write_to_new {
            return Err(Error::conflict("begin the move to other shards first"));
        }
        let deadline = || Deadline::after(self.config.write_timeout());
        let there = self.labels(&view, old, owner, deadline()).await?;
        let Some(version) = live_version(&there) else {
            if !there.is_empty() {
                // What was staged before the move began can no longer be published there.
                self.delete(&view, old, filter::all(filter::document(owner.0, owner.1)), deadline()).await?;
            }
            return Ok(false);
        };
        let here = self.labels(&view, home.shard, owner, deadline()).await?;
        if live_version(&here).is_none_or(|newer| newer <= version) {
            self.copy(&view, (old, home.shard), owner, version).await?;
        }
        self.clear(&view, old, owner, u64::MAX, true, deadline()).await?;
        Ok(true)
    }

    /// Ends a move: documents that are still elsewhere than they belong are in its way.
    pub(crate) async fn finish_reshard(&self) -> Result<()> {
        let view = self.agreed().await?;
        let Topology { shards, moving_to } = &view.layout.topology;
        let now = match moving_to {
            None => shards.clone(),
            Some(_) if !view.layout.write_to_new => {
                return Err(Error::conflict("the move to other shards has not begun yet"));
            }
            Some(target) => {
                for shard in shards {
                    self.check_left(&view, shard, target).await?;
                }
                // A write that knew the old places only may have been under way.
                tokio::time::sleep(self.writers_know()).await;
                for shard in shards {
                    self.check_left(&view, shard, target).await?;
                }
                let target = target.clone();
                let topology = Topology { shards: target.clone(), moving_to: None };
                self.store(view.layout.next(topology, false)).await?;
                target
            }
        };
        if !view.keyed {
            return Ok(());
        }
        let unused: Vec<String> =
            keys(&self.peers, &self.name).await?.into_iter().filter(|k| !now.contains(k)).collect();
        if !unused.is_empty() {
            tokio::time::sleep(self.writers_know().max(self.readers_know() + self.searches_end())).await;
        }
        // Another move may have begun meanwhile, to one of these.
        let layout = self.agreed().await?.layout;
        let used = layout.topology.all();
        for shard in unused.iter().filter(|shard| !used.contains(&shard.as_str())) {
            self.delete_shard(shard).await?;
        }
        Ok(())
    }

    /// What all peers say; they must all answer and agree.
    async fn agreed(&self) -> Result<View> {
        let end = Deadline::after(PATIENCE);
        loop {
            let view = self.ask_all(self.config.write_timeout()).await?;
            let behind = |peer: &usize| view.epochs.get(peer) != Some(&view.layout.epoch);
            let Some(peer) = self.peers.all().into_iter().find(behind) else {
                return Ok(view);
            };
            if end.remaining().is_zero() || !view.epochs.contains_key(&peer) {
                return Err(Error::unavailable(format!(
                    "Qdrant at {} does not answer or lags behind: shards change only when all peers of \
                     retrieval.qdrant.urls are well",
                    self.peers.label(peer)
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stores a layout; on return all configured peers have it.
    async fn store(&self, layout: Layout) -> Result<Layout> {
        let update = UpdateCollection {
            collection_name: self.name.clone(),
            metadata: layout.metadata()?,
            ..UpdateCollection::default()
        };
        self.peers.change_any(update, Deadline::after(PATIENCE)).await?;
        let end = Deadline::after(PATIENCE);
        loop {
            let view = self.agreed().await?;
            if view.layout.epoch >= layout.epoch {
                if view.layout != layout {
                    return Err(Error::conflict("somebody else changes the shards of this index"));
                }
                return Ok(layout);
            }
            if end.remaining().is_zero() {
                return Err(Error::unavailable("Qdrant has not stored a change of the shards in time"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn copy(&self, view: &View, (old, new): (&str, &str), owner: (&str, &str), version: u64) -> Result<()> {
        let deadline = || Deadline::after(self.config.write_timeout());
        let mut live = filter::document(owner.0, owner.1);
        live.extend([filter::in_state(State::Live), filter::of_version(version)]);
        let mut offset = None;
        let mut count = 0;
        loop {
            let filter = filter::all(live.clone());
            let (page, next) = self.whole_points(view, old, filter, offset, deadline()).await?;
            count += page.len();
            let staged = HashMap::from([(STATE.to_owned(), State::Staged.as_str().into())]);
            let points = page.into_iter().map(|point| convert::copy(point, staged.clone())).collect::<Result<_>>()?;
            self.put_staged(view, new, points, deadline()).await?;
            offset = next;
            if offset.is_none() {
                break;
            }
        }
        let here = self.labels(view, new, owner, deadline()).await?;
        let copied = here.iter().filter(|(_, label)| label.version == version).cloned().collect::<Vec<_>>();
        if copied.len() != count {
            return Err(Error::unavailable("a document changed while it moved to another shard"));
        }
        self.show(view, new, &copied, deadline()).await?;
        self.hide_others(view, new, &here, version, deadline()).await
    }

    /// Refuses while live points are on a shard that is not their place among `target`; others are removed.
    async fn check_left(&self, view: &View, shard: &str, target: &[String]) -> Result<()> {
        let strays = |labels: super::scan::Labels| {
            let stray = |tenant: &str, document: &str| place(target, tenant, document) != Some(shard);
            labels.into_iter().filter(move |(_, label)| stray(&label.tenant, &label.document_id))
        };
        let live = filter::all(vec![filter::in_state(State::Live)]);
        let left: BTreeSet<_> = strays(self.labelled(view, shard, live, Deadline::after(SCAN)).await?)
            .map(|(_, label)| (label.tenant, label.document_id))
            .collect();
        if !left.is_empty() {
            let count = left.len();
            return Err(Error::conflict(format!("{count} documents have not moved from shard {shard} yet")));
        }
        let mut hidden = filter::all(Vec::new());
        hidden.must_not.push(filter::in_state(State::Live));
        let doomed: Vec<_> =
            strays(self.labelled(view, shard, hidden, Deadline::after(SCAN)).await?).map(|(id, _)| id).collect();
        if doomed.is_empty() {
            return Ok(());
        }
        self.delete_points(view, shard, convert::selector(doomed), Deadline::after(self.config.write_timeout())).await
    }

    async fn delete_shard(&self, shard: &str) -> Result<()> {
        let request = DeleteShardKeyRequest {
            collection_name: self.name.clone(),
            request: Some(DeleteShardKey { shard_key: Some(convert::key(shard)) }),
            timeout: Some(PATIENCE.as_secs()),
        };
        let Err(failure) = self.peers.change_any(request, Deadline::after(PATIENCE)).await else {
            return Ok(());
        };
        // Done by an earlier attempt?
        if keys(&self.peers, &self.name).await?.contains(shard) { Err(failure.into()) } else { Ok(()) }
    }
}

/// The shard keys of a collection.
pub(crate) async fn keys(peers: &Peers, collection: &str) -> Result<BTreeSet<String>> {
    let request = ListShardKeysRequest { collection_name: collection.to_owned() };
    let answer = peers.any(request, Deadline::after(PATIENCE)).await?;
    let names = answer.shard_keys.iter().filter_map(|key| convert::key_name(key.key.as_ref()));
    Ok(names.map(str::to_owned).collect())
}

/// Makes the shards that are missing, and returns when each can be written to and read.
pub(crate) async fn make_shards(peers: &Peers, collection: &str, shards: &[String]) -> Result<()> {
    let there = keys(peers, collection).await?;
    for shard in shards.iter().filter(|shard| !there.contains(*shard)) {
        let create = CreateShardKey {
            shard_key: Some(convert::key(shard)),
            shards_number: Some(1),
            ..CreateShardKey::default()
        };
        let request = CreateShardKeyRequest {
            collection_name: collection.to_owned(),
            request: Some(create),
            timeout: Some(PATIENCE.as_secs()),
        };
        if let Err(failure) = peers.change_any(request, Deadline::after(PATIENCE)).await
            && !keys(peers, collection).await?.contains(shard)
        {
            return Err(failure.into());
        }
    }
    let end = Deadline::after(PATIENCE);
    loop {
        let served = View::look(peers, collection, Deadline::after(PATIENCE), Some(POLL), None).await?.served;
        let Some(missing) = shards.iter().find(|shard| !served.contains(*shard)) else {
            return Ok(());
        };
        if end.remaining().is_zero() {
            return Err(Error::unavailable(format!("shard {missing} of {collection} has no replica that works yet")));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn checked(shards: &[String]) -> Result<Vec<String>> {
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        return Err(Error::invalid(format!("an index has 1 to {MAX_SHARDS} shards")));
    }
    let mut seen = BTreeMap::new();
    for shard in shards {
        IndexName::new(shard.as_str()).map_err(|_| Error::invalid(format!("'{shard}' is not the name of a shard")))?;
        if seen.insert(shard, ()).is_some() {
            return Err(Error::invalid(format!("shard '{shard}' is named twice")));
        }
    }
    Ok(shards.to_vec())
}

fn same(a: &[String], b: &[String]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}
