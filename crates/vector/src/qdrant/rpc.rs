//! Qdrant's calls as values: a message knows its reply and how it is sent.

use futures::future::BoxFuture;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::{
    ChangeAliases, CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionOperationResponse,
    CountPoints, CountResponse, CreateCollection, CreateFieldIndexCollection, CreateShardKeyRequest,
    CreateShardKeyResponse, DeleteCollection, DeletePoints, DeleteShardKeyRequest, DeleteShardKeyResponse,
    GetCollectionInfoRequest, GetCollectionInfoResponse, ListAliasesRequest, ListAliasesResponse,
    ListCollectionsRequest, ListCollectionsResponse, ListShardKeysRequest, ListShardKeysResponse,
    PointsOperationResponse, QueryBatchPoints, QueryBatchResponse, ScrollPoints, ScrollResponse, SetPayloadPoints,
    UpdateCollection, UpsertPoints,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// The largest answer read: a search of the largest `k` in a long-winded index stays below it.
const MAX_ANSWER: usize = 64 << 20;

/// Adds the API key to every call.
#[derive(Clone)]
pub(crate) struct Credential(pub(crate) Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("api-key", key.clone());
        }
        Ok(request)
    }
}

type Transport = InterceptedService<Channel, Credential>;

/// The clients of one peer; they share its connection.
#[derive(Clone)]
pub(crate) struct Clients {
    points: PointsClient<Transport>,
    collections: CollectionsClient<Transport>,
}

impl Clients {
    pub(crate) fn new(channel: Channel, credential: Credential) -> Self {
        let transport = InterceptedService::new(channel, credential);
        Self {
            points: PointsClient::new(transport.clone()).max_decoding_message_size(MAX_ANSWER),
            collections: CollectionsClient::new(transport).max_decoding_message_size(MAX_ANSWER),
        }
    }
}

/// A message to Qdrant.
pub(crate) trait Rpc: Clone + Send + Sync + 'static {
    /// What comes back.
    type Reply: Send + 'static;
    /// What the call is named in messages.
    const NAME: &'static str;

    /// Sends it. Dropping the future cancels the call.
    fn send(clients: &Clients, request: Request<Self>) -> BoxFuture<'static, Result<Response<Self::Reply>, Status>>;
}

macro_rules! rpc {
    ($($message:ty => $client:ident.$method:ident -> $reply:ty;)*) => {$(
        impl Rpc for $message {
            type Reply = $reply;
            const NAME: &'static str = stringify!($method);

            fn send(clients: &Clients, request: Request<Self>) -> BoxFuture<'static, Result<Response<$reply>, Status>> {
                let mut client = clients.$client.clone();
                Box::pin(async move { client.$method(request).await })
            }
        }
    )*};
}

rpc! {
    QueryBatchPoints => points.query_batch -> QueryBatchResponse;
    ScrollPoints => points.scroll -> ScrollResponse;
    CountPoints => points.count -> CountResponse;
    UpsertPoints => points.upsert -> PointsOperationResponse;
    SetPayloadPoints => points.set_payload -> PointsOperationResponse;
    DeletePoints => points.delete -> PointsOperationResponse;
    CreateFieldIndexCollection => points.create_field_index -> PointsOperationResponse;
    GetCollectionInfoRequest => collections.get -> GetCollectionInfoResponse;
    ListCollectionsRequest => collections.list -> ListCollectionsResponse;
    CreateCollection => collections.create -> CollectionOperationResponse;
    UpdateCollection => collections.update -> CollectionOperationResponse;
    DeleteCollection => collections.delete -> CollectionOperationResponse;
    ChangeAliases => collections.update_aliases -> CollectionOperationResponse;
    ListAliasesRequest => collections.list_aliases -> ListAliasesResponse;
    CollectionClusterInfoRequest => collections.collection_cluster_info -> CollectionClusterInfoResponse;
    CreateShardKeyRequest => collections.create_shard_key -> CreateShardKeyResponse;
    DeleteShardKeyRequest => collections.delete_shard_key -> DeleteShardKeyResponse;
    ListShardKeysRequest => collections.list_shard_keys -> ListShardKeysResponse;
}
