//! Reading points outside of searches: what a write rests on, what a move copies, what is counted.
//!
//! One replica is asked, unless the configuration says otherwise: a write counts only when every healthy replica has
//! it, and a replica that missed one is no longer healthy. Asking for a majority would fail while a replica is down.

use std::collections::HashSet;

use futures::future::try_join_all;
use qdrant_client::qdrant::{
    CountPoints, Filter, PayloadIncludeSelector, PointId, ReadConsistency, RetrievedPoint, ScrollPoints,
    WithPayloadSelector, with_payload_selector,
};
use ragstone_core::Result;
use ragstone_resilience::Deadline;
use uuid::Uuid;

use super::collection::Collection;
use super::convert;
use super::filter;
use super::search::seconds;
use super::view::View;
use crate::payload::{Label, State};

/// Points read at a time, without their vectors and texts.
const PAGE: u32 = 1000;
/// Points read at a time with everything.
const WHOLE_PAGE: u32 = 64;
/// Counting a large shard exactly takes a while.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Points with ids, as they are known without their texts.
pub(crate) type Labels = Vec<(Uuid, Label)>;

impl Collection {
    /// All points of a document on one shard.
    pub(crate) async fn labels(
        &self,
        view: &View,
        shard: &str,
        (tenant, document): (&str, &str),
        deadline: Deadline,
    ) -> Result<Labels> {
        self.labelled(view, shard, filter::all(filter::document(tenant, document)), deadline).await
    }

    /// The points of one shard that meet `filter`.
    pub(crate) async fn labelled(
        &self,
        view: &View,
        shard: &str,
        filter: Filter,
        deadline: Deadline,
    ) -> Result<Labels> {
        let mut labels = Vec::new();
        let mut offset = None;
        loop {
            let page = self.page(view, shard, filter.clone(), offset, deadline, false).await?;
            for point in page.0 {
                let id = convert::uuid(point.id)?;
                labels.extend(Label::decode(convert::fields(point.payload)).map(|label| (id, label)));
            }
            offset = page.1;
            if offset.is_none() {
                return Ok(labels);
            }
        }
    }

    /// A page of a shard's points, whatever their state, and where the next one begins. A point that a crash has left without
    /// its payload has no label.
    pub(crate) async fn label_page(
        &self,
        view: &View,
        shard: &str,
        offset: Option<PointId>,
    ) -> Result<(Vec<(Uuid, Option<Label>)>, Option<PointId>)> {
        let deadline = Deadline::after(self.config.write_timeout());
        let (points, next) = self.page(view, shard, filter::all(Vec::new()), offset, deadline, false).await?;
        let label =
            |point: RetrievedPoint| Ok((convert::uuid(point.id)?, Label::decode(convert::fields(point.payload))));
        Ok((points.into_iter().map(label).collect::<Result<_>>()?, next))
    }

    /// A page of points with everything they hold, and where the next one begins.
    pub(crate) async fn whole_points(
        &self,
        view: &View,
        shard: &str,
        filter: Filter,
        offset: Option<PointId>,
        deadline: Deadline,
    ) -> Result<(Vec<RetrievedPoint>, Option<PointId>)> {
        self.page(view, shard, filter, offset, deadline, true).await
    }

    async fn page(
        &self,
        view: &View,
        shard: &str,
        filter: Filter,
        offset: Option<PointId>,
        deadline: Deadline,
        whole: bool,
    ) -> Result<(Vec<RetrievedPoint>, Option<PointId>)> {
        let fields = PayloadIncludeSelector { fields: Label::FIELDS.map(str::to_owned).to_vec() };
        let some = with_payload_selector::SelectorOptions::Include(fields);
        let some = WithPayloadSelector { selector_options: Some(some) };
        let scroll = ScrollPoints {
            collection_name: self.name.clone(),
            filter: Some(filter),
            offset,
            limit: Some(if whole { WHOLE_PAGE } else { PAGE }),
            with_payload: Some(if whole { true.into() } else { some }),
            with_vectors: Some(whole.into()),
            read_consistency: self.config.read_consistency.map(ReadConsistency::from),
            shard_key_selector: convert::only(shard, view.keyed),
            timeout: Some(seconds(self.config.write_timeout())),
            ..ScrollPoints::default()
        };
        let page = self.ask(view, shard, scroll, deadline, None).await?;
        Ok((page.result, page.next_page_offset))
    }

    /// How many documents have a live version.
    pub(crate) async fn live_documents(&self) -> Result<u64> {
        let view = self.fresh().await?;
        let shards = view.layout.topology.all();
        let live = || filter::all(vec![filter::in_state(State::Live), filter::first_chunk()]);
        if view.layout.topology.moving_to.is_none() {
            let counts = shards.iter().map(|shard| self.count(&view, shard, live()));
            return Ok(try_join_all(counts).await?.into_iter().sum());
        }
        // A document may be in two places now.
        let mut documents = HashSet::new();
        for shard in shards {
            let labels = self.labelled(&view, shard, live(), Deadline::after(PATIENCE)).await?;
            documents.extend(labels.into_iter().map(|(_, label)| (label.tenant, label.document_id)));
        }
        Ok(documents.len() as u64)
    }

    async fn count(&self, view: &View, shard: &str, filter: Filter) -> Result<u64> {
        let count = CountPoints {
            collection_name: self.name.clone(),
            filter: Some(filter),
            exact: Some(true),
            read_consistency: self.config.read_consistency.map(ReadConsistency::from),
            shard_key_selector: convert::only(shard, view.keyed),
            timeout: Some(seconds(PATIENCE)),
        };
        let answer = self.ask(view, shard, count, Deadline::after(PATIENCE), None).await?;
        Ok(answer.result.map_or(0, |result| result.count))
    }
}

/// The highest version of which a point is live.
pub(crate) fn live_version(labels: &Labels) -> Option<u64> {
    labels.iter().filter(|(_, label)| label.state == State::Live).map(|(_, label)| label.version).max()
}
