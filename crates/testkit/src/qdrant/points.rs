//! The Points service: every call of it becomes a write or a read, or is refused by its name.

use std::time::Instant;

use ::qdrant_client::qdrant::points_server::Points;
use ::qdrant_client::qdrant::points_update_operation as wire;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::errors::unsupported;
use super::reads::{self, Search, Target};
use super::server::Peer;
use super::writes::{self, Wanted};
use super::{errors, indexes};

type Answer<T> = Result<Response<T>, Status>;

impl Peer {
    async fn update(
        &self,
        collection: &str,
        wait: Option<bool>,
        ordering: Option<WriteOrdering>,
        operation: wire::Operation,
    ) -> Answer<PointsOperationResponse> {
        let start = Instant::now();
        let result = writes::run(self, collection, Wanted::new(wait, ordering)?, operation).await?;
        Ok(operation_response(start, result))
    }

    async fn search_all(
        &self,
        collection: &str,
        consistency: Option<ReadConsistency>,
        searches: Vec<(Search, Target)>,
    ) -> Result<Vec<BatchResult>, Status> {
        let mut results = Vec::new();
        for (search, target) in searches {
            let target = Target { consistency, ..target };
            results.push(BatchResult { result: search.run(self, collection, target).await? });
        }
        Ok(results)
    }
}

fn operation_response(start: Instant, result: UpdateResult) -> Response<PointsOperationResponse> {
    Response::new(PointsOperationResponse { result: Some(result), time: start.elapsed().as_secs_f64(), usage: None })
}

fn done(peer: &Peer) -> UpdateResult {
    UpdateResult { operation_id: Some(peer.state.next_number()), status: UpdateStatus::Completed.into() }
}

#[tonic::async_trait]
impl Points for Peer {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Answer<PointsOperationResponse> {
        let UpsertPoints {
            collection_name,
            wait,
            ordering,
            points,
            shard_key_selector,
            update_filter,
            update_mode,
            ..
        } = request.into_inner();
        let list = wire::PointStructList { points, shard_key_selector, update_filter, update_mode };
        self.update(&collection_name, wait, ordering, wire::Operation::Upsert(list)).await
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Answer<PointsOperationResponse> {
        let DeletePoints { collection_name, wait, ordering, points, shard_key_selector, .. } = request.into_inner();
        let operation = wire::Operation::DeletePoints(wire::DeletePoints { points, shard_key_selector });
        self.update(&collection_name, wait, ordering, operation).await
    }

    async fn get(&self, request: Request<GetPoints>) -> Answer<GetResponse> {
        let start = Instant::now();
        let result = reads::get(self, request.into_inner()).await?;
        Ok(Response::new(GetResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn update_vectors(&self, request: Request<UpdatePointVectors>) -> Answer<PointsOperationResponse> {
        let UpdatePointVectors { collection_name, wait, ordering, points, shard_key_selector, update_filter, .. } =
            request.into_inner();
        let update = wire::UpdateVectors { points, shard_key_selector, update_filter };
        self.update(&collection_name, wait, ordering, wire::Operation::UpdateVectors(update)).await
    }

    async fn delete_vectors(&self, request: Request<DeletePointVectors>) -> Answer<PointsOperationResponse> {
        let DeletePointVectors {
            collection_name, wait, ordering, points_selector, vectors, shard_key_selector, ..
        } = request.into_inner();
        let delete = wire::DeleteVectors { points_selector, vectors, shard_key_selector };
        self.update(&collection_name, wait, ordering, wire::Operation::DeleteVectors(delete)).await
    }

    async fn set_payload(&self, request: Request<SetPayloadPoints>) -> Answer<PointsOperationResponse> {
        let SetPayloadPoints {
            collection_name, wait, ordering, payload, points_selector, shard_key_selector, key, ..
        } = request.into_inner();
        let set = wire::SetPayload { payload, points_selector, shard_key_selector, key };
        self.update(&collection_name, wait, ordering, wire::Operation::SetPayload(set)).await
    }

    async fn overwrite_payload(&self, request: Request<SetPayloadPoints>) -> Answer<PointsOperationResponse> {
        let SetPayloadPoints {
            collection_name, wait, ordering, payload, points_selector, shard_key_selector, key, ..
        } = request.into_inner();
        let set = wire::OverwritePayload { payload, points_selector, shard_key_selector, key };
        self.update(&collection_name, wait, ordering, wire::Operation::OverwritePayload(set)).await
    }

    async fn delete_payload(&self, request: Request<DeletePayloadPoints>) -> Answer<PointsOperationResponse> {
        let DeletePayloadPoints { collection_name, wait, ordering, keys, points_selector, shard_key_selector, .. } =
            request.into_inner();
        let delete = wire::DeletePayload { keys, points_selector, shard_key_selector };
        self.update(&collection_name, wait, ordering, wire::Operation::DeletePayload(delete)).await
    }

    async fn clear_payload(&self, request: Request<ClearPayloadPoints>) -> Answer<PointsOperationResponse> {
        let ClearPayloadPoints { collection_name, wait, ordering, points, shard_key_selector, .. } =
            request.into_inner();
        let clear = wire::ClearPayload { points, shard_key_selector };
        self.update(&collection_name, wait, ordering, wire::Operation::ClearPayload(clear)).await
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Answer<PointsOperationResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = self.state.collection(&request.collection_name).await?;
        indexes::create(&collection, request).await?;
        Ok(operation_response(start, done(self)))
    }

    async fn delete_field_index(
        &self,
        request: Request<DeleteFieldIndexCollection>,
    ) -> Answer<PointsOperationResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = self.state.collection(&request.collection_name).await?;
        indexes::delete(&collection, request).await?;
        Ok(operation_response(start, done(self)))
    }

    async fn search(&self, request: Request<SearchPoints>) -> Answer<SearchResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = request.collection_name.clone();
        let (search, target) = Search::from_search(request)?;
        let result = search.run(self, &collection, target).await?;
        Ok(Response::new(SearchResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn search_batch(&self, request: Request<SearchBatchPoints>) -> Answer<SearchBatchResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let searches = request.search_points.into_iter().map(Search::from_search).collect::<Result<_, _>>()?;
        let result = self.search_all(&request.collection_name, request.read_consistency, searches).await?;
        Ok(Response::new(SearchBatchResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Answer<ScrollResponse> {
        let start = Instant::now();
        let response = reads::scroll(self, request.into_inner()).await?;
        Ok(Response::new(ScrollResponse { time: start.elapsed().as_secs_f64(), ..response }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Answer<CountResponse> {
        let start = Instant::now();
        let count = reads::count(self, request.into_inner()).await?;
        let result = Some(CountResult { count });
        Ok(Response::new(CountResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    /// The operations one after the other; the first that fails ends it.
    async fn update_batch(&self, request: Request<UpdateBatchPoints>) -> Answer<UpdateBatchResponse> {
        let start = Instant::now();
        let UpdateBatchPoints { collection_name, wait, operations, ordering, .. } = request.into_inner();
        if operations.is_empty() {
            return Err(errors::invalid("operations", "length must be at least 1"));
        }
        let wanted = Wanted::new(wait, ordering)?;
        let mut result = Vec::new();
        for operation in operations {
            let operation = operation.operation.ok_or_else(|| Status::invalid_argument("Operation is missing"))?;
            result.push(writes::run(self, &collection_name, wanted, operation).await?);
        }
        Ok(Response::new(UpdateBatchResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Answer<QueryResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = request.collection_name.clone();
        let (search, target) = Search::from_query(request)?;
        let result = search.run(self, &collection, target).await?;
        Ok(Response::new(QueryResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn query_batch(&self, request: Request<QueryBatchPoints>) -> Answer<QueryBatchResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let searches = request.query_points.into_iter().map(Search::from_query).collect::<Result<_, _>>()?;
        let result = self.search_all(&request.collection_name, request.read_consistency, searches).await?;
        Ok(Response::new(QueryBatchResponse { result, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn facet(&self, request: Request<FacetCounts>) -> Answer<FacetResponse> {
        let start = Instant::now();
        let hits = reads::facet(self, request.into_inner()).await?;
        Ok(Response::new(FacetResponse { hits, time: start.elapsed().as_secs_f64(), usage: None }))
    }

    async fn create_vector_name(&self, _: Request<CreateVectorNameRequest>) -> Answer<PointsOperationResponse> {
        Err(unsupported("Points/CreateVectorName"))
    }

    async fn delete_vector_name(&self, _: Request<DeleteVectorNameRequest>) -> Answer<PointsOperationResponse> {
        Err(unsupported("Points/DeleteVectorName"))
    }

    async fn search_groups(&self, _: Request<SearchPointGroups>) -> Answer<SearchGroupsResponse> {
        Err(unsupported("Points/SearchGroups"))
    }

    async fn recommend(&self, _: Request<RecommendPoints>) -> Answer<RecommendResponse> {
        Err(unsupported("Points/Recommend"))
    }

    async fn recommend_batch(&self, _: Request<RecommendBatchPoints>) -> Answer<RecommendBatchResponse> {
        Err(unsupported("Points/RecommendBatch"))
    }

    async fn recommend_groups(&self, _: Request<RecommendPointGroups>) -> Answer<RecommendGroupsResponse> {
        Err(unsupported("Points/RecommendGroups"))
    }

    async fn discover(&self, _: Request<DiscoverPoints>) -> Answer<DiscoverResponse> {
        Err(unsupported("Points/Discover"))
    }

    async fn discover_batch(&self, _: Request<DiscoverBatchPoints>) -> Answer<DiscoverBatchResponse> {
        Err(unsupported("Points/DiscoverBatch"))
    }

    async fn query_groups(&self, _: Request<QueryPointGroups>) -> Answer<QueryGroupsResponse> {
        Err(unsupported("Points/QueryGroups"))
    }

    async fn search_matrix_pairs(&self, _: Request<SearchMatrixPoints>) -> Answer<SearchMatrixPairsResponse> {
        Err(unsupported("Points/SearchMatrixPairs"))
    }

    async fn search_matrix_offsets(&self, _: Request<SearchMatrixPoints>) -> Answer<SearchMatrixOffsetsResponse> {
        Err(unsupported("Points/SearchMatrixOffsets"))
    }
}
