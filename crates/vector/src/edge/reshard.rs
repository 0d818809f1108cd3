//! Other shards for an index, while it is searched and written.
//!
//! Why no search misses or doubles a document meanwhile, and no crash loses one:
//!
//! - *Copy, then wait, then remove.* A document is copied to its new shard and flushed there while the old one still has it
//!   whole. Then all searches that began before are waited for: one of them may have asked the new shard too early, and
//!   would miss the document if the old one lost it now. Any later search finds it on the new shard. Only then the old
//!   shard removes it. A search that meets both copies, or half of the old one, has the whole new one; merging keeps
//!   each chunk once, as the ids are the same.
//! - *Writes move the document first.* From the moment on in which the layout names new places, whatever is written goes
//!   to the new one, and a document that is still on the old one is brought over before. So nothing ever happens to a
//!   document in two places, and publishing stays one moment of one shard.
//! - *Removal is on disk before the move is over.* Else a crash could bring the old copy back beside a newer version, or
//!   beside nothing where the document was deleted since. A crash before that leaves two equal copies, and moving the
//!   document again removes the old one.
//! - *The manifest comes first.* It names new shards before anything is written to them, and forgets old ones, which by
//!   then are empty, before their directories go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ragstone_core::{Error, Result, Topology};
use tokio::sync::OwnedMutexGuard;

use crate::edge::config::MAX_SHARDS;
use crate::edge::files;
use crate::edge::layout::{Layout, Shards};
use crate::edge::manifest::CLEAN;
use crate::edge::shard::Shard;
use crate::edge::store::blocking;

/// The longest name of a shard.
const MAX_NAME: usize = 32;

impl Shards {
    /// Lets writes go to their places among `wanted` from now on.
    pub(crate) async fn begin(self: &Arc<Self>, wanted: &[String]) -> Result<()> {
        check_names(wanted)?;
        let changing = Arc::clone(&self.changing).lock_owned().await;
        let now = self.now();
        match &now.topology.moving_to {
            Some(target) if same(target, wanted) => {}
            Some(target) => {
                return Err(Error::conflict(format!(
                    "documents of the index {} are moving to the shards {}: finish that first",
                    self.spec.name,
                    target.join(", ")
                )));
            }
            None if same(&now.topology.shards, wanted) => {}
            None => {
                let changing = self.sweep(changing).await?;
                let (shards, wanted) = (Arc::clone(self), wanted.to_vec());
                // On the blocking pool as a whole: a caller that leaves does not stop it halfway.
                blocking(move || {
                    let _changing = changing;
                    shards.extend(&now, wanted)
                })
                .await?;
            }
        }
        self.settle().await;
        Ok(())
    }

    /// Makes the shards that `wanted` has and `now` has not, and installs the layout in which documents go there.
    fn extend(&self, now: &Layout, wanted: Vec<String>) -> Result<()> {
        let mut next = now.clone();
        for name in wanted.iter().filter(|name| !now.shards.contains_key(*name)) {
            now.shards.values().try_for_each(|shard| shard.check_space())?;
            let path = self.directory.join(name);
            // No manifest has named it, so nothing that counts is in there: an earlier attempt may have left it.
            files::remove_directory(&path)?;
            let shard = Shard::open(name.clone(), path, self.setting.clone(), true);
            if !shard.is_healthy() {
                return Err(Error::unavailable(format!("the new shard {name} cannot be made: see the log")));
            }
            next.shards.insert(name.clone(), Arc::new(shard));
        }
        next.topology.moving_to = Some(wanted);
        self.install(next, Vec::new())
    }

    /// Brings the document from the shard it has to leave to its place. Whether it was still there.
    pub(crate) async fn bring(&self, layout: &Layout, tenant: &str, document: &str) -> Result<bool> {
        let Some(old) = layout.leaves(tenant, document) else {
            return Ok(false);
        };
        let new = layout.place(tenant, document)?;
        let _alone = self.stripe(tenant, document).lock().await;
        let ids = || (tenant.to_owned(), document.to_owned());
        let (t, d) = ids();
        let points = old.write(move |shard, writer| shard.export(writer, &t, &d)).await?;
        let found = !points.is_empty();
        if found {
            let (t, d) = ids();
            new.write(move |shard, writer| shard.import(writer, &t, &d, points)).await?;
            self.searches.drain().await;
        }
        let (t, d) = ids();
        old.write(move |shard, writer| shard.forget(writer, &t, &d)).await?;
        Ok(found)
    }

    /// Ends the move: documents are placed on the new shards only.
    pub(crate) async fn finish(self: &Arc<Self>) -> Result<()> {
        let mut changing = Arc::clone(&self.changing).lock_owned().await;
        let now = self.now();
        if let Some(target) = now.topology.moving_to.clone() {
            let mut left = 0;
            for shard in now.shards.values() {
                let target = target.clone();
                left += shard.write(move |shard, writer| shard.misplaced(writer, &target)).await?;
            }
            if left > 0 {
                return Err(Error::conflict(format!(
                    "{left} documents of the index {} have yet to move",
                    self.spec.name
                )));
            }
            let gone = now.shards.iter().filter(|(name, _)| !target.contains(name));
            let gone: BTreeMap<String, Arc<Shard>> = gone.map(|(name, shard)| (name.clone(), shard.clone())).collect();
            // Before the layout changes: from then on `sweep` has to know of them.
            self.retired.lock().await.extend(gone.clone());
            let shards = Arc::clone(self);
            changing = blocking(move || {
                let mut next = (*now).clone();
                next.shards.retain(|name, _| !gone.contains_key(name));
                next.topology = Topology { shards: target, moving_to: None };
                shards.install(next, gone.into_keys().collect())?;
                Ok(changing)
            })
            .await?;
        }
        self.sweep(changing).await.map(drop)
    }

    /// Closes the shards that are no longer part of the layout and removes their directories.
    async fn sweep(self: &Arc<Self>, changing: OwnedMutexGuard<()>) -> Result<OwnedMutexGuard<()>> {
        let mut retired = self.retired.lock().await;
        let now = self.now();
        // Still named by the layout: the manifest could not be written when they were to go.
        retired.retain(|name, _| !now.shards.contains_key(name));
        if retired.is_empty() {
            return Ok(changing);
        }
        self.settle().await;
        for shard in retired.values() {
            shard.write(Shard::retire).await?;
        }
        let shards = Arc::clone(self);
        let names: Vec<String> = retired.keys().cloned().collect();
        let changing = blocking(move || {
            names.iter().try_for_each(|name| files::remove_directory(&shards.directory.join(name)))?;
            shards.install((*now).clone(), Vec::new())?;
            Ok(changing)
        })
        .await?;
        retired.clear();
        Ok(changing)
    }
}

fn same(a: &[String], b: &[String]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}

/// Names of shards are names of directories, beside the files of the index.
fn check_names(names: &[String]) -> Result<()> {
    if !(1..=MAX_SHARDS as usize).contains(&names.len()) {
        return Err(Error::invalid(format!("{} shards; there can be 1 to {MAX_SHARDS}", names.len())));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    for name in names {
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || name.len() > MAX_NAME || !name.chars().all(fits) || [CLEAN, files::LOCK].contains(&name.as_str())
        {
            return Err(Error::invalid(format!("'{name}' cannot be the name of a shard")));
        }
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err(Error::invalid("a shard is named twice"));
    }
    Ok(())
}
