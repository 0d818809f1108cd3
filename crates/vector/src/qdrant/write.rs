//! Staging, publishing and removing versions of documents.
//!
//! Every write waits until all healthy replicas have it, so that the next search sees it whoever answers. While
//! documents move, a document may be in two places: new versions go to one, and the other is cleared only when no
//! search can be under way that has already asked the first and is yet to ask the second.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use qdrant_client::qdrant::{
    DeletePoints, Filter, PointStruct, PointsOperationResponse, PointsSelector, SetPayloadPoints, UpdateCollection,
    UpdateStatus, UpsertPoints,
};
use ragstone_core::ports::Point;
use ragstone_core::{Error, Result};
use ragstone_resilience::Deadline;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::collection::Collection;
use super::convert;
use super::filter;
use super::layout;
use super::scan::{Labels, live_version};
use super::search::seconds;
use super::view::View;
use crate::payload::{self, CHUNKS, Label, STATE, State};
use crate::question::check_vector;

/// Points sent in one call.
const BATCH: usize = 200;

impl Collection {
    /// Stores points staged. Points that are already live or replaced stay as they are, and so does a document whose
    /// live version is newer.
    pub(crate) async fn upsert_staged(&self, points: Vec<Point>) -> Result<()> {
        points.iter().try_for_each(|point| check_vector(&point.vector, &self.spec))?;
        let mut documents: BTreeMap<(String, String, u64), Vec<PointStruct>> = BTreeMap::new();
        let mut analyzers = BTreeSet::new();
        for mut point in points {
            let (analyzer, sparse) = self.analyzers.document(&point)?;
            analyzers.insert(analyzer);
            let (id, dense) = (point.id(), std::mem::take(&mut point.vector));
            let key = (point.tenant.to_string(), point.document_id.to_string(), point.version);
            let payload = payload::encode(point, analyzer)?;
            documents.entry(key).or_default().push(convert::point(id, dense, sparse, payload));
        }
        self.announce(analyzers).await?;
        let (view, deadline) = self.begin().await?;
        let stored = documents.into_iter().map(|((tenant, document, version), points)| {
            let view = &view;
            async move { self.stage(view, (&tenant, &document), version, points, deadline).await }
        });
        try_join_all(stored).await.map(|_| ())
    }

    /// Makes the version visible and every other one not.
    pub(crate) async fn publish(&self, owner: (&str, &str), version: u64, chunks: u32) -> Result<()> {
        let (view, deadline) = self.begin().await?;
        let home = view.layout.home(owner.0, owner.1)?;
        let here = self.labels(&view, home.shard, owner, deadline).await?;
        let there = match home.other {
            Some(other) => self.labels(&view, other, owner, deadline).await?,
            None => Labels::new(),
        };
        if live_version(&here).max(live_version(&there)).is_some_and(|live| live > version) {
            tracing::debug!(version, "publishing a version older than the live one ignored");
            return Ok(());
        }
        let of_version = |labels: &Labels| -> Labels {
            labels.iter().filter(|(_, label)| label.version == version).cloned().collect()
        };
        let target = of_version(&here);
        if !is_whole(&target, chunks) {
            let moved_later = of_version(&there);
            let visible = moved_later.iter().all(|(_, label)| label.state == State::Live);
            if visible && is_whole(&moved_later, chunks) {
                return Ok(());
            }
            let (document, said) = (owner.1, "is not stored completely: store its chunks again");
            return Err(Error::not_found(format!("version {version} of document '{document}' {said}")));
        }
        self.show(&view, home.shard, &target, deadline).await?;
        self.hide_others(&view, home.shard, &here, version, deadline).await?;
        match home.other {
            Some(other) if !there.is_empty() => {
                let visible = live_version(&there).is_some();
                self.clear(&view, other, owner, version.saturating_add(1), visible, deadline).await
            }
            _ => Ok(()),
        }
    }

    /// Removes the document's versions below `below`.
    pub(crate) async fn remove_versions(&self, owner: (&str, &str), below: u64) -> Result<()> {
        let (view, deadline) = self.begin().await?;
        let home = view.layout.home(owner.0, owner.1)?;
        let places = [Some(home.shard), home.other];
        let removed = places.into_iter().flatten().map(|shard| self.clear(&view, shard, owner, below, false, deadline));
        try_join_all(removed).await.map(|_| ())
    }

    /// The knowledge a write rests on, and when the write must have ended.
    async fn begin(&self) -> Result<(std::sync::Arc<View>, Deadline)> {
        let deadline = Deadline::after(self.config.write_timeout());
        Ok((deadline.run(self.view()).await.map_err(late)?, deadline))
    }

    /// Lets everybody who searches know the analysers of texts that are about to be stored. It takes a while, once for
    /// each language of an index.
    async fn announce(&self, used: BTreeSet<&'static str>) -> Result<()> {
        let known = self.view().await?;
        let new: Vec<_> = used.into_iter().filter(|name| !known.analyzers.contains(*name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let metadata = layout::analyzer_metadata(new.iter().copied());
        let update = UpdateCollection { collection_name: self.name.clone(), metadata, ..UpdateCollection::default() };
        self.peers.change_any(update, Deadline::after(self.config.write_timeout())).await?;
        tokio::time::sleep(self.readers_know()).await;
        let view = self.fresh().await?;
        if new.iter().all(|name| view.analyzers.contains(*name)) {
            return Ok(());
        }
        Err(Error::unavailable("Qdrant has not stored the languages of the index yet"))
    }

    async fn stage(
        &self,
        view: &View,
        owner: (&str, &str),
        version: u64,
        points: Vec<PointStruct>,
        deadline: Deadline,
    ) -> Result<()> {
        let home = view.layout.home(owner.0, owner.1)?;
        for shard in [Some(home.shard), home.other].into_iter().flatten() {
            let mut live = filter::document(owner.0, owner.1);
            live.extend([filter::in_state(State::Live), filter::first_chunk()]);
            let labels = self.labelled(view, shard, filter::all(live), deadline).await?;
            if live_version(&labels).is_some_and(|live| live > version) {
                tracing::debug!(shard, version, "chunks of a version older than the live one dropped");
                return Ok(());
            }
        }
        self.put_staged(view, home.shard, points, deadline).await
    }

    /// Stores points; those that are there and not staged stay as they are.
    pub(crate) async fn put_staged(
        &self,
        view: &View,
        shard: &str,
        points: Vec<PointStruct>,
        deadline: Deadline,
    ) -> Result<()> {
        for batch in points.chunks(BATCH) {
            let upsert = UpsertPoints {
                collection_name: self.name.clone(),
                wait: Some(true),
                points: batch.to_vec(),
                ordering: Some(self.config.write_ordering.into()),
                shard_key_selector: convert::only(shard, view.keyed),
                update_filter: Some(filter::all(vec![filter::in_state(State::Staged)])),
                timeout: Some(seconds(self.config.write_timeout())),
                update_mode: None,
            };
            confirmed(&self.change(view, shard, upsert, deadline).await?)?;
        }
        Ok(())
    }

    /// Makes the points of a whole version visible, where they are not.
    pub(crate) async fn show(&self, view: &View, shard: &str, whole: &Labels, deadline: Deadline) -> Result<()> {
        let hidden = ids(whole, |label| label.state != State::Live);
        self.set(view, shard, hidden, json!({STATE: State::Live, CHUNKS: whole.len()}), deadline).await
    }

    /// Makes all other versions invisible.
    pub(crate) async fn hide_others(
        &self,
        view: &View,
        shard: &str,
        labels: &Labels,
        version: u64,
        deadline: Deadline,
    ) -> Result<()> {
        let others = ids(labels, |label| label.version != version && label.state == State::Live);
        self.set(view, shard, others, json!({STATE: State::Old}), deadline).await
    }

    async fn set(&self, view: &View, shard: &str, ids: Vec<Uuid>, fields: Value, deadline: Deadline) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        let set = SetPayloadPoints {
            collection_name: self.name.clone(),
            wait: Some(true),
            payload: convert::values(fields),
            points_selector: Some(convert::selector(ids)),
            ordering: Some(self.config.write_ordering.into()),
            shard_key_selector: convert::only(shard, view.keyed),
            key: None,
            timeout: Some(seconds(self.config.write_timeout())),
        };
        confirmed(&self.change(view, shard, set, deadline).await?)
    }

    /// Removes a document's versions below `below` from a shard; where they are `visible` and have just become so
    /// elsewhere, only when no search can miss them any more.
    pub(crate) async fn clear(
        &self,
        view: &View,
        shard: &str,
        owner: (&str, &str),
        below: u64,
        visible: bool,
        deadline: Deadline,
    ) -> Result<()> {
        if visible {
            let pause = async {
                tokio::time::sleep(self.searches_end()).await;
                Ok(())
            };
            deadline.run(pause).await.map_err(late)?;
        }
        let mut doomed = filter::document(owner.0, owner.1);
        doomed.push(filter::below_version(below));
        self.delete(view, shard, filter::all(doomed), deadline).await
    }

    /// Removes what meets `filter`.
    pub(crate) async fn delete(&self, view: &View, shard: &str, filter: Filter, deadline: Deadline) -> Result<()> {
        self.delete_points(view, shard, convert::matching(filter), deadline).await
    }

    /// Removes these points.
    pub(crate) async fn delete_points(
        &self,
        view: &View,
        shard: &str,
        points: PointsSelector,
        deadline: Deadline,
    ) -> Result<()> {
        let delete = DeletePoints {
            collection_name: self.name.clone(),
            wait: Some(true),
            points: Some(points),
            ordering: Some(self.config.write_ordering.into()),
            shard_key_selector: convert::only(shard, view.keyed),
            timeout: Some(seconds(self.config.write_timeout())),
        };
        confirmed(&self.change(view, shard, delete, deadline).await?)
    }
}

/// Whether these chunks of one version are numbered from 0 without a gap.
pub(crate) fn is_whole(labels: &Labels, chunks: u32) -> bool {
    let mut numbers: Vec<u32> = labels.iter().map(|(_, label)| label.chunk_index).collect();
    numbers.sort_unstable();
    numbers.into_iter().eq(0..chunks)
}

fn ids(labels: &Labels, which: impl Fn(&Label) -> bool) -> Vec<Uuid> {
    labels.iter().filter(|(_, label)| which(label)).map(|(id, _)| *id).collect()
}

/// A write counts only when it is done: Qdrant may also say that it goes on.
fn confirmed(response: &PointsOperationResponse) -> Result<()> {
    let status = response.result.as_ref().map(|result| result.status);
    if status == Some(UpdateStatus::Completed.into()) {
        return Ok(());
    }
    Err(Error::unavailable("Qdrant has taken a write but not confirmed it in time"))
}

/// The time of a write is ours, not its caller's.
fn late(error: Error) -> Error {
    if error.code == ragstone_core::ErrorCode::DeadlineExceeded {
        return Error::unavailable("a write to Qdrant took longer than retrieval.qdrant.write_timeout_ms");
    }
    error
}
