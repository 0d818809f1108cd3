//! A search: one batch of questions for each shard at the same time, then one ranking.

use std::sync::Arc;

use futures::future::join_all;
use qdrant_client::qdrant::{
    DenseVector, Query, QueryBatchPoints, QueryBatchResponse, QueryPoints, ReadConsistency, ScoredPoint, VectorInput,
    WithPayloadSelector, query, vector_input,
};
use ragstone_core::{Error, Result, SearchResult, ShardReport, VectorQuery};
use ragstone_resilience::Deadline;

use super::collection::Collection;
use super::convert::{self, DENSE, SPARSE};
use super::filter::ReadFilter;
use super::view::View;
use crate::fusion::{self, Found};
use crate::payload;
use crate::question::Question;

impl Collection {
    /// The best live chunks the caller may read.
    pub(crate) async fn search(self: &Arc<Self>, query: VectorQuery) -> Result<SearchResult> {
        let filter = ReadFilter::new(&query.access, &query.filter)?;
        let view = self.view().await?;
        // After the view: it may have brought languages with it.
        let question = Question::new(&query, &self.spec, &self.analyzers)?;
        self.index_fields_of(&query.filter);
        let shards = view.layout.topology.all();
        let answers = join_all(shards.iter().map(|shard| self.find(&view, shard, &question, &filter))).await;
        let mut report = ShardReport { asked: shards.len() as u32, ..ShardReport::default() };
        let mut found = Vec::with_capacity(answers.len());
        let mut failure = None;
        for (shard, answer) in shards.into_iter().zip(answers) {
            match answer {
                Ok(answer) => found.push(answer),
                Err(error) => {
                    tracing::warn!(shard, error = %error.chain(), "a shard is left out of a search");
                    report.missing.push(shard.to_owned());
                    failure = Some(error);
                }
            }
        }
        report.answered = found.len() as u32;
        match failure {
            Some(error) if found.is_empty() => Err(Error::unavailable("no shard answered").with_source(error)),
            _ => Ok(SearchResult { hits: fusion::fuse(found, question.limit, query.k), shards: report }),
        }
    }

    /// What one shard finds.
    async fn find(&self, view: &View, shard: &str, question: &Question, filter: &ReadFilter) -> Result<Found> {
        let dense = question.dense.clone().map(|data| vector_input::Variant::Dense(DenseVector { data }));
        let sparse = question.sparse.clone().filter(|sparse| !sparse.indices.is_empty());
        let sparse = sparse.map(|sparse| vector_input::Variant::Sparse(convert::grpc_sparse(sparse)));
        let (wants_dense, wants_sparse) = (dense.is_some(), sparse.is_some());
        let ask = |(using, input): (&str, _)| self.query(view, shard, using, input, question.limit, filter);
        let dense = dense.map(|input| (DENSE, input));
        let query_points: Vec<_> = dense.into_iter().chain(sparse.map(|input| (SPARSE, input))).map(ask).collect();
        if query_points.is_empty() {
            return Ok(Found::default());
        }
        let batch = QueryBatchPoints {
            collection_name: self.name.clone(),
            query_points,
            read_consistency: self.config.read_consistency.map(ReadConsistency::from),
            timeout: Some(seconds(self.config.shard_timeout())),
        };
        let deadline = Deadline::after(self.config.shard_timeout());
        let answer = self.ask(view, shard, batch, deadline, self.hedge.as_ref()).await?;
        collect(answer, wants_dense, wants_sparse)
    }

    fn query(
        &self,
        view: &View,
        shard: &str,
        using: &str,
        input: vector_input::Variant,
        limit: usize,
        filter: &ReadFilter,
    ) -> QueryPoints {
        let nearest = VectorInput { variant: Some(input) };
        QueryPoints {
            collection_name: self.name.clone(),
            query: Some(Query { variant: Some(query::Variant::Nearest(nearest)) }),
            using: Some(using.to_owned()),
            filter: Some(filter.grpc()),
            limit: Some(limit as u64),
            with_payload: Some(WithPayloadSelector::from(true)),
            shard_key_selector: convert::only(shard, view.keyed),
            ..QueryPoints::default()
        }
    }
}

/// Whole seconds, at least one, as Qdrant takes its limits; the exact one travels with the call.
pub(crate) fn seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The lists in the order they were asked for.
fn collect(answer: QueryBatchResponse, dense: bool, sparse: bool) -> Result<Found> {
    let mut lists = answer.result.into_iter().map(|list| list.result);
    let mut found = Found::default();
    let mut take = |wanted: bool| -> Result<Vec<_>> {
        if !wanted {
            return Ok(Vec::new());
        }
        let list = lists.next().ok_or_else(|| Error::internal("Qdrant answered fewer questions than were asked"))?;
        list.into_iter().map(|point| keep(point, &mut found)).collect()
    };
    let lists = (take(dense)?, take(sparse)?);
    (found.dense, found.sparse) = lists;
    Ok(found)
}

fn keep(point: ScoredPoint, found: &mut Found) -> Result<(uuid::Uuid, f32)> {
    let id = convert::uuid(point.id)?;
    if let std::collections::hash_map::Entry::Vacant(entry) = found.chunks.entry(id) {
        entry.insert(payload::decode(convert::fields(point.payload))?);
    }
    Ok((id, point.score))
}
