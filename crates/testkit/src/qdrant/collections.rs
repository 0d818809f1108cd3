//! The Collections service: collections, aliases, shard keys and where the shards are.

use std::sync::Arc;
use std::time::Instant;

use ::qdrant_client::qdrant::collections_server::Collections;
use ::qdrant_client::qdrant::update_collection_cluster_setup_request::Operation;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::collection::Collection;
use super::errors::{already_exists, bad_input, bad_request, timeout, unsupported};
use super::routing::display;
use super::server::Peer;
use super::{aliases, schema};

type Answer<T> = Result<Response<T>, Status>;

fn operation_response(start: Instant, result: bool) -> Response<CollectionOperationResponse> {
    Response::new(CollectionOperationResponse { result, time: start.elapsed().as_secs_f64() })
}

impl Peer {
    async fn create_collection(&self, request: CreateCollection) -> Result<(), Status> {
        let peers = self.state.peers();
        let collection = schema::collection(request, u32::try_from(peers).unwrap_or(1))?;
        let mut catalog = self.state.catalog.write().await;
        let name = collection.name.clone();
        if catalog.collections.contains_key(&name) {
            return Err(already_exists(format!("Collection `{name}` already exists!")));
        }
        if catalog.aliases.contains_key(&name) {
            return Err(bad_input(format!(
                "Can't create collection with name {name}. Alias with the same name already exists"
            )));
        }
        if collection.sharding == ShardingMethod::Auto {
            let params = collection.settings().params.clone();
            let pool: Vec<_> = (0..peers).collect();
            let (shards, replication) = (params.shard_number as usize, params.replication_factor.unwrap_or(1) as usize);
            let placement = collection.place(&pool, shards, replication);
            collection.add_shards(&self.state, None, placement).await?;
        }
        catalog.collections.insert(name, Arc::new(collection));
        Ok(())
    }

    fn require_cluster_mode(&self) -> Result<(), Status> {
        if self.state.config.distributed { Ok(()) } else { Err(bad_request("Distributed mode disabled")) }
    }

    async fn create_key(&self, name: &str, request: CreateShardKey) -> Result<(), Status> {
        self.require_cluster_mode()?;
        let collection = self.state.collection(name).await?;
        require_custom(&collection)?;
        if request.initial_state.is_some_and(|state| state != ReplicaState::Active as i32) {
            return Err(unsupported("an initial state of a shard key"));
        }
        let key = key_of(request.shard_key)?;
        let _change = collection.change.lock().await;
        if !collection.shards_of(Some(&key)).is_empty() {
            let key = display(&key);
            return Err(bad_request(format!("Sharding key {key} already exists for collection {name}")));
        }
        let pool = if request.placement.is_empty() {
            (0..self.state.peers()).collect()
        } else {
            let index = |&id| self.state.peer_of_id(id).ok_or_else(|| bad_request(format!("Peer {id} does not exist")));
            request.placement.iter().map(index).collect::<Result<Vec<_>, _>>()?
        };
        let params = collection.settings().params.clone();
        let shards = request.shards_number.unwrap_or(params.shard_number) as usize;
        let replication = request.replication_factor.or(params.replication_factor).unwrap_or(1) as usize;
        let placement = collection.place(&pool, shards, replication);
        let complete = placement.iter().flatten().all(|&peer| self.state.is_up(peer));
        collection.add_shards(&self.state, Some(key), placement).await?;
        // The real server waits ten seconds for the others before it says so; the key exists all the same.
        let late = "Timeout error: Operation 'wait for replica set state' timed out after 10s";
        if complete { Ok(()) } else { Err(timeout(late)) }
    }

    async fn delete_key(&self, name: &str, request: DeleteShardKey) -> Result<(), Status> {
        self.require_cluster_mode()?;
        let collection = self.state.collection(name).await?;
        require_custom(&collection)?;
        let key = key_of(request.shard_key)?;
        let _change = collection.change.lock().await;
        if collection.shards_of(Some(&key)).is_empty() {
            let key = display(&key);
            return Err(bad_request(format!("Sharding key {key} does not exist for collection {name}")));
        }
        collection.remove_shards(&key);
        Ok(())
    }

    async fn cluster_info(&self, collection: &Collection) -> CollectionClusterInfoResponse {
        let start = Instant::now();
        let shards = collection.shards();
        let mut response = CollectionClusterInfoResponse {
            peer_id: self.state.peer_id(self.index),
            shard_count: shards.len() as u64,
            ..CollectionClusterInfoResponse::default()
        };
        for shard in shards {
            for replica in shard.replicas() {
                let (shard_id, shard_key, state) = (shard.id, shard.key.clone(), replica.state.into());
                if replica.peer == self.index {
                    let points = replica.engine.call(|shard| Ok(shard.info().points_count)).await;
                    // As the real server: a replica that cannot be read counts as empty.
                    let points_count = points.unwrap_or_default() as u64;
                    response.local_shards.push(LocalShardInfo { shard_id, points_count, state, shard_key });
                } else {
                    let peer_id = self.state.peer_id(replica.peer);
                    response.remote_shards.push(RemoteShardInfo { shard_id, peer_id, state, shard_key });
                }
            }
        }
        response.time = start.elapsed().as_secs_f64();
        response
    }

    async fn aliases(&self, collection: Option<&str>) -> ListAliasesResponse {
        let start = Instant::now();
        let catalog = self.state.catalog.read().await;
        let wanted = catalog.aliases.iter().filter(|(_, name)| collection.is_none_or(|wanted| wanted == *name));
        let describe = |(alias, name): (&String, &String)| AliasDescription {
            alias_name: alias.clone(),
            collection_name: name.clone(),
        };
        ListAliasesResponse { aliases: wanted.map(describe).collect(), time: start.elapsed().as_secs_f64() }
    }
}

fn require_custom(collection: &Collection) -> Result<(), Status> {
    match collection.sharding {
        ShardingMethod::Custom => Ok(()),
        ShardingMethod::Auto => Err(bad_request("Shard Key cannot be created with Auto sharding method")),
    }
}

fn key_of(key: Option<ShardKey>) -> Result<ShardKey, Status> {
    key.filter(|key| key.key.is_some()).ok_or_else(|| Status::invalid_argument("Malformed shard key"))
}

#[tonic::async_trait]
impl Collections for Peer {
    async fn get(&self, request: Request<GetCollectionInfoRequest>) -> Answer<GetCollectionInfoResponse> {
        let start = Instant::now();
        let collection = self.state.collection(&request.get_ref().collection_name).await?;
        let result = Some(schema::info(self, &collection).await?);
        Ok(Response::new(GetCollectionInfoResponse { result, time: start.elapsed().as_secs_f64() }))
    }

    async fn list(&self, _: Request<ListCollectionsRequest>) -> Answer<ListCollectionsResponse> {
        let start = Instant::now();
        let collections = self.state.collections().await;
        let describe = |collection: Arc<Collection>| CollectionDescription { name: collection.name.clone() };
        let collections = collections.into_iter().map(describe).collect();
        Ok(Response::new(ListCollectionsResponse { collections, time: start.elapsed().as_secs_f64() }))
    }

    async fn create(&self, request: Request<CreateCollection>) -> Answer<CollectionOperationResponse> {
        let start = Instant::now();
        self.create_collection(request.into_inner()).await?;
        Ok(operation_response(start, true))
    }

    async fn update(&self, request: Request<UpdateCollection>) -> Answer<CollectionOperationResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = self.state.collection(&request.collection_name).await?;
        schema::update(&collection, request)?;
        Ok(operation_response(start, true))
    }

    async fn delete(&self, request: Request<DeleteCollection>) -> Answer<CollectionOperationResponse> {
        let start = Instant::now();
        let name = request.into_inner().collection_name;
        let mut catalog = self.state.catalog.write().await;
        catalog.aliases.retain(|_, collection| *collection != name);
        let existed = catalog.collections.remove(&name).is_some();
        Ok(operation_response(start, existed))
    }

    async fn update_aliases(&self, request: Request<ChangeAliases>) -> Answer<CollectionOperationResponse> {
        let start = Instant::now();
        aliases::change(&mut *self.state.catalog.write().await, request.into_inner().actions)?;
        Ok(operation_response(start, true))
    }

    async fn list_collection_aliases(
        &self,
        request: Request<ListCollectionAliasesRequest>,
    ) -> Answer<ListAliasesResponse> {
        let name = request.into_inner().collection_name;
        Ok(Response::new(self.aliases(Some(&name)).await))
    }

    async fn list_aliases(&self, _: Request<ListAliasesRequest>) -> Answer<ListAliasesResponse> {
        Ok(Response::new(self.aliases(None).await))
    }

    async fn collection_cluster_info(
        &self,
        request: Request<CollectionClusterInfoRequest>,
    ) -> Answer<CollectionClusterInfoResponse> {
        let collection = self.state.collection(&request.get_ref().collection_name).await?;
        Ok(Response::new(self.cluster_info(&collection).await))
    }

    async fn collection_exists(&self, request: Request<CollectionExistsRequest>) -> Answer<CollectionExistsResponse> {
        let start = Instant::now();
        let exists = self.state.collection(&request.get_ref().collection_name).await.is_ok();
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, time: start.elapsed().as_secs_f64() }))
    }

    async fn update_collection_cluster_setup(
        &self,
        request: Request<UpdateCollectionClusterSetupRequest>,
    ) -> Answer<UpdateCollectionClusterSetupResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        self.require_cluster_mode()?;
        match request.operation {
            Some(Operation::CreateShardKey(create)) => self.create_key(&request.collection_name, create).await?,
            Some(Operation::DeleteShardKey(delete)) => self.delete_key(&request.collection_name, delete).await?,
            Some(_) => return Err(unsupported("moving and copying shards")),
            None => return Err(Status::invalid_argument("empty operation")),
        }
        let time = start.elapsed().as_secs_f64();
        Ok(Response::new(UpdateCollectionClusterSetupResponse { result: true, time }))
    }

    async fn create_shard_key(&self, request: Request<CreateShardKeyRequest>) -> Answer<CreateShardKeyResponse> {
        let start = Instant::now();
        let CreateShardKeyRequest { collection_name, request, .. } = request.into_inner();
        let request = request.ok_or_else(|| Status::invalid_argument("empty request"))?;
        self.create_key(&collection_name, request).await?;
        Ok(Response::new(CreateShardKeyResponse { result: true, time: start.elapsed().as_secs_f64() }))
    }

    async fn delete_shard_key(&self, request: Request<DeleteShardKeyRequest>) -> Answer<DeleteShardKeyResponse> {
        let start = Instant::now();
        let DeleteShardKeyRequest { collection_name, request, .. } = request.into_inner();
        let request = request.ok_or_else(|| Status::invalid_argument("empty request"))?;
        self.delete_key(&collection_name, request).await?;
        Ok(Response::new(DeleteShardKeyResponse { result: true, time: start.elapsed().as_secs_f64() }))
    }

    async fn list_shard_keys(&self, request: Request<ListShardKeysRequest>) -> Answer<ListShardKeysResponse> {
        let start = Instant::now();
        let collection = self.state.collection(&request.get_ref().collection_name).await?;
        let mut keys: Vec<_> = collection.shards().iter().filter_map(|shard| shard.key.clone()).collect();
        keys.dedup();
        let shard_keys = keys.into_iter().map(|key| ShardKeyDescription { key: Some(key) }).collect();
        Ok(Response::new(ListShardKeysResponse { shard_keys, time: start.elapsed().as_secs_f64() }))
    }
}
