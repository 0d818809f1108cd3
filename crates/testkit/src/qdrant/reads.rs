//! Reads of points: asking every shard that is meant, and merging what they say.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::try_join_all;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{
    CountPoints, FacetCounts, FacetHit, FacetValue, GetPoints, QueryPoints, ReadConsistency, RetrievedPoint,
    ScoredPoint, ScrollPoints, ScrollResponse, SearchParams, SearchPoints, ShardKey, ShardKeySelector, facet_value,
    vector_input,
};
use qdrant_edge as edge;
use qdrant_edge::{EdgeShard, OperationResult};
use tonic::Status;
use uuid::Uuid;

use super::collection::Collection;
use super::errors::{bad_input, invalid, unsupported};
use super::filters::optional;
use super::routing::select;
use super::server::Peer;
use super::shard::Shard;
use super::values::{id, ids, path, proto_id, proto_map, proto_vectors, sparse, with_payload, with_vectors};
use super::writes::check_kind;

const DEFAULT_LIMIT: u64 = 10;

/// Which shards are asked, and how many of their replicas must be there.
pub(super) struct Target {
    pub(super) selector: Option<ShardKeySelector>,
    pub(super) consistency: Option<ReadConsistency>,
}

impl Target {
    /// Asks each shard; the answers with the shard they are from.
    async fn ask<T: Send + 'static>(
        self,
        peer: &Peer,
        collection: &Collection,
        work: impl Fn(&EdgeShard) -> OperationResult<T> + Clone + Send + 'static,
    ) -> Result<Vec<(Arc<Shard>, T)>, Status> {
        let shards = select(collection, self.selector)?;
        let asked = shards.into_iter().map(|shard| {
            let work = work.clone();
            async move {
                let answer = shard.read(&peer.state, peer.index, self.consistency, work).await?;
                Ok((shard, answer))
            }
        });
        try_join_all(asked).await
    }
}

/// A search for the nearest points.
pub(super) struct Search {
    vector: edge::VectorInternal,
    using: String,
    request: edge::SearchRequest,
    /// Whether a point that is in several shards is shown once. The older call does so; the newer one shows both unless
    /// they have the same score.
    by_id: bool,
}

impl Search {
    pub(super) fn from_query(query: QueryPoints) -> Result<(Self, Target), Status> {
        if !query.prefetch.is_empty() || query.lookup_from.is_some() {
            return Err(unsupported("prefetch and lookup"));
        }
        check_params(query.params)?;
        let vector = match query.query.and_then(|query| query.variant) {
            Some(Variant::Nearest(input)) => match input.variant {
                Some(vector_input::Variant::Dense(dense)) => edge::VectorInternal::Dense(dense.data),
                Some(vector_input::Variant::Sparse(vector)) => sparse(vector.indices, vector.values)?,
                _ => return Err(unsupported("a query by anything but a dense or a sparse vector")),
            },
            _ => return Err(unsupported("a query that is not for the nearest points")),
        };
        let using = query.using.unwrap_or_default();
        let request = edge::SearchRequest {
            query: nearest(&vector, &using),
            filter: optional(query.filter)?,
            params: None,
            limit: positive("limit", query.limit.unwrap_or(DEFAULT_LIMIT))?,
            offset: size(query.offset.unwrap_or_default())?,
            with_payload: with_payload(query.with_payload)?,
            with_vector: Some(with_vectors(query.with_vectors)),
            score_threshold: query.score_threshold,
        };
        let target = Target { selector: query.shard_key_selector, consistency: query.read_consistency };
        Ok((Self { vector, using, request, by_id: false }, target))
    }

    pub(super) fn from_search(search: SearchPoints) -> Result<(Self, Target), Status> {
        check_params(search.params)?;
        let vector = match search.sparse_indices {
            Some(indices) => sparse(indices.data, search.vector)?,
            None => edge::VectorInternal::Dense(search.vector),
        };
        let using = search.vector_name.unwrap_or_default();
        let request = edge::SearchRequest {
            query: nearest(&vector, &using),
            filter: optional(search.filter)?,
            params: None,
            limit: positive("limit", search.limit)?,
            offset: size(search.offset.unwrap_or_default())?,
            with_payload: with_payload(search.with_payload)?,
            with_vector: Some(with_vectors(search.with_vectors)),
            score_threshold: search.score_threshold,
        };
        let target = Target { selector: search.shard_key_selector, consistency: search.read_consistency };
        Ok((Self { vector, using, request, by_id: true }, target))
    }

    /// The best points of all shards, best first.
    pub(super) async fn run(self, peer: &Peer, name: &str, target: Target) -> Result<Vec<ScoredPoint>, Status> {
        let collection = peer.state.collection(name).await?;
        let (vector, using) = (&self.vector, &self.using);
        check_kind(&collection, using, vector)?;
        let smaller_is_better = match collection.engine.vectors.get(using) {
            Some(params) => matches!(params.distance, edge::Distance::Euclid | edge::Distance::Manhattan),
            None if collection.engine.sparse_vectors.contains_key(using) => false,
            None => return Err(bad_input(format!("Not existing vector name error: {using}"))),
        };
        let (limit, offset) = (self.request.limit, self.request.offset);
        let request = edge::SearchRequest { limit: limit + offset, offset: 0, ..self.request };
        let answers = target.ask(peer, &collection, move |shard| shard.search(request.clone())).await?;
        let mut hits: Vec<_> = answers
            .into_iter()
            .flat_map(|(shard, hits)| hits.into_iter().map(move |hit| (shard.key.clone(), hit)))
            .collect();
        hits.sort_by(|(_, a), (_, b)| {
            let order = a.score.total_cmp(&b.score).then(a.id.cmp(&b.id));
            if smaller_is_better { order } else { order.reverse() }
        });
        if self.by_id {
            let mut seen = HashSet::new();
            hits.retain(|(_, hit)| seen.insert(hit.id));
        } else {
            hits.dedup_by(|(_, a), (_, b)| a.id == b.id && a.score == b.score);
        }
        hits.into_iter().skip(offset).take(limit).map(|(key, hit)| scored(key, hit)).collect()
    }
}

fn nearest(vector: &edge::VectorInternal, using: &str) -> edge::QueryEnum {
    edge::QueryEnum::Nearest(edge::NamedQuery { query: vector.clone(), using: Some(using.to_owned()) })
}

/// Without an index over the vectors every search is exact, so that most parameters change nothing.
fn check_params(params: Option<SearchParams>) -> Result<(), Status> {
    match params {
        Some(params) if params.idf.is_some() => Err(unsupported("IDF parameters")),
        Some(params) if params.indexed_only == Some(true) => Err(unsupported("indexed_only")),
        _ => Ok(()),
    }
}

fn scored(key: Option<ShardKey>, hit: edge::ScoredPoint) -> Result<ScoredPoint, Status> {
    Ok(ScoredPoint {
        id: Some(proto_id(hit.id)),
        payload: hit.payload.map(|payload| proto_map(payload.0)).unwrap_or_default(),
        score: hit.score,
        version: hit.version,
        vectors: hit.vector.map(proto_vectors).transpose()?,
        shard_key: key,
        order_value: None,
    })
}

fn retrieved(key: Option<ShardKey>, record: edge::Record) -> Result<RetrievedPoint, Status> {
    Ok(RetrievedPoint {
        id: Some(proto_id(record.id)),
        payload: record.payload.map(|payload| proto_map(payload.0)).unwrap_or_default(),
        vectors: record.vector.map(proto_vectors).transpose()?,
        shard_key: key,
        order_value: None,
    })
}

/// The points with these ids, in the order asked for.
pub(super) async fn get(peer: &Peer, request: GetPoints) -> Result<Vec<RetrievedPoint>, Status> {
    let collection = peer.state.collection(&request.collection_name).await?;
    let target = Target { selector: request.shard_key_selector, consistency: request.read_consistency };
    let wanted = ids(request.ids)?;
    let payload = with_payload(request.with_payload)?.unwrap_or(edge::WithPayloadInterface::Bool(false));
    let vectors = with_vectors(request.with_vectors);
    let asked = wanted.clone();
    let work = move |shard: &EdgeShard| shard.retrieve(&asked, Some(payload.clone()), Some(vectors.clone()));
    let mut found = HashMap::new();
    for (shard, records) in target.ask(peer, &collection, work).await? {
        found.extend(records.into_iter().map(|record| (record.id, (shard.key.clone(), record))));
    }
    wanted.iter().filter_map(|id| found.remove(id)).map(|(key, record)| retrieved(key, record)).collect()
}

/// One page of all points that match, in the order of their ids.
pub(super) async fn scroll(peer: &Peer, request: ScrollPoints) -> Result<ScrollResponse, Status> {
    if request.order_by.is_some() {
        return Err(unsupported("order_by"));
    }
    let collection = peer.state.collection(&request.collection_name).await?;
    let target = Target { selector: request.shard_key_selector, consistency: request.read_consistency };
    let limit = positive("limit", request.limit.map_or(DEFAULT_LIMIT, u64::from))?;
    let page = edge::ScrollRequest {
        offset: request.offset.map(id).transpose()?,
        limit: Some(limit + 1),
        filter: optional(request.filter)?,
        with_payload: with_payload(request.with_payload)?,
        with_vector: with_vectors(request.with_vectors),
        order_by: None,
    };
    let answers = target.ask(peer, &collection, move |shard| shard.scroll(page.clone())).await?;
    let mut records: Vec<_> = answers
        .into_iter()
        .flat_map(|(shard, (records, _))| records.into_iter().map(move |record| (shard.key.clone(), record)))
        .collect();
    records.sort_by_key(|(_, record)| record.id);
    records.dedup_by_key(|(_, record)| record.id);
    let next = records.get(limit).map(|(_, record)| proto_id(record.id));
    let result =
        records.into_iter().take(limit).map(|(key, record)| retrieved(key, record)).collect::<Result<_, _>>()?;
    Ok(ScrollResponse { next_page_offset: next, result, ..ScrollResponse::default() })
}

/// How many points match; always exact.
pub(super) async fn count(peer: &Peer, request: CountPoints) -> Result<u64, Status> {
    let collection = peer.state.collection(&request.collection_name).await?;
    let target = Target { selector: request.shard_key_selector, consistency: request.read_consistency };
    let filter = optional(request.filter)?;
    let work = move |shard: &EdgeShard| shard.count(edge::CountRequest { filter: filter.clone(), exact: true });
    Ok(target.ask(peer, &collection, work).await?.into_iter().map(|(_, count)| count as u64).sum())
}

/// The commonest values of a field with their counts. As in the real server, an exact answer asks each shard for no more
/// values than are wanted: over several shards it is right only when the limit is above the number of values.
pub(super) async fn facet(peer: &Peer, request: FacetCounts) -> Result<Vec<FacetHit>, Status> {
    let collection = peer.state.collection(&request.collection_name).await?;
    let target = Target { selector: request.shard_key_selector, consistency: request.read_consistency };
    let limit = size(request.limit.unwrap_or(DEFAULT_LIMIT))?;
    let (key, filter) = (path(&request.key)?, optional(request.filter)?);
    let of_each = if request.exact.unwrap_or_default() { limit } else { (limit * 4).max(128) };
    let all = edge::FacetRequest { key, limit: of_each, filter, exact: true };
    let mut counts: HashMap<edge::FacetValue, usize> = HashMap::new();
    for (_, response) in target.ask(peer, &collection, move |shard| shard.facet(all.clone())).await? {
        for hit in response.hits {
            *counts.entry(hit.value).or_default() += hit.count;
        }
    }
    let mut hits: Vec<_> = counts.into_iter().collect();
    hits.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    hits.truncate(limit);
    Ok(hits
        .into_iter()
        .map(|(value, count)| FacetHit { value: Some(facet_value(value)), count: count as u64 })
        .collect())
}

fn facet_value(value: edge::FacetValue) -> FacetValue {
    let variant = match value {
        edge::FacetValue::Keyword(text) => facet_value::Variant::StringValue(text),
        edge::FacetValue::Int(number) => facet_value::Variant::IntegerValue(number),
        edge::FacetValue::Uuid(uuid) => facet_value::Variant::StringValue(Uuid::from_u128(uuid).to_string()),
        edge::FacetValue::Bool(value) => facet_value::Variant::BoolValue(value),
    };
    FacetValue { variant: Some(variant) }
}

fn size(number: u64) -> Result<usize, Status> {
    usize::try_from(number).map_err(|_| Status::invalid_argument("a number is too large"))
}

fn positive(field: &str, number: u64) -> Result<usize, Status> {
    if number == 0 { Err(invalid(field, "value 0 invalid, must be 1 or larger")) } else { size(number) }
}
