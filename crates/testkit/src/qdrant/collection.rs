//! One collection: its settings, its shards and where their replicas are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use qdrant_client::qdrant::{
    CollectionParams, HnswConfigDiff, OptimizersConfigDiff, PayloadIndexParams, ReplicaState, ShardKey, ShardingMethod,
    WalConfigDiff,
};
use qdrant_edge as edge;
use serde_json::{Map, Value};
use tonic::Status;

use super::errors::service;
use super::replica::Engine;
use super::shard::{Operation, Replica, Shard};
use super::state::State;

/// A collection.
pub(super) struct Collection {
    pub(super) name: String,
    /// What every shard of it is created with.
    pub(super) engine: edge::EdgeConfig,
    pub(super) sharding: ShardingMethod,
    settings: Mutex<Settings>,
    shards: RwLock<Vec<Arc<Shard>>>,
    /// Held while the set of shards or indexes changes.
    pub(super) change: tokio::sync::Mutex<()>,
}

/// What can be changed about a collection.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) params: CollectionParams,
    pub(super) hnsw: HnswConfigDiff,
    pub(super) optimizers: OptimizersConfigDiff,
    pub(super) wal: WalConfigDiff,
    pub(super) metadata: Map<String, Value>,
    /// By field.
    pub(super) indexes: BTreeMap<String, Index>,
}

/// An index of a payload field.
#[derive(Clone)]
pub(super) struct Index {
    pub(super) path: edge::JsonPath,
    pub(super) schema: edge::PayloadFieldSchema,
    /// A `PayloadSchemaType`.
    pub(super) kind: i32,
    pub(super) params: Option<PayloadIndexParams>,
}

impl Index {
    pub(super) fn operation(&self) -> Operation {
        Operation::FieldIndexOperation(edge::FieldIndexOperations::CreateIndex(edge::CreateIndex {
            field_name: self.path.clone(),
            field_schema: Some(self.schema.clone()),
        }))
    }
}

impl Collection {
    pub(super) fn new(name: String, engine: edge::EdgeConfig, sharding: ShardingMethod, settings: Settings) -> Self {
        Self {
            name,
            engine,
            sharding,
            settings: Mutex::new(settings),
            shards: RwLock::default(),
            change: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many replicas must take a write.
    pub(super) fn write_consistency(&self) -> usize {
        self.settings().params.write_consistency_factor.unwrap_or(1) as usize
    }

    /// All shards in order of their ids.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The shards with this key; of a collection without keys, all.
    pub(super) fn shards_of(&self, key: Option<&ShardKey>) -> Vec<Arc<Shard>> {
        self.shards().into_iter().filter(|shard| shard.key.as_ref() == key).collect()
    }

    /// Creates one shard for each set of peers. The caller holds `change`.
    pub(super) async fn add_shards(
        &self,
        state: &State,
        key: Option<ShardKey>,
        placement: Vec<Vec<usize>>,
    ) -> Result<(), Status> {
        let indexes: Vec<_> = self.settings().indexes.values().map(Index::operation).collect();
        let mut next = self.shards().last().map_or(0, |shard| shard.id) + 1;
        if key.is_none() {
            next = 0;
        }
        let mut added = Vec::new();
        for (id, peers) in (next..).zip(placement) {
            let mut replicas = Vec::new();
            for peer in peers {
                let engine = self.new_engine(state, &indexes).await?;
                let up = state.is_up(peer);
                let state = if up { ReplicaState::Active } else { ReplicaState::Initializing };
                replicas.push(Replica { peer, state, engine });
            }
            added.push(Arc::new(Shard::new(id, key.clone(), replicas)));
        }
        self.shards.write().unwrap_or_else(PoisonError::into_inner).extend(added);
        Ok(())
    }

    /// Drops the shards with this key. The caller holds `change`.
    pub(super) fn remove_shards(&self, key: &ShardKey) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.retain(|shard| shard.key.as_ref() != Some(key));
    }

    async fn new_engine(&self, state: &State, indexes: &[Operation]) -> Result<Arc<Engine>, Status> {
        let (path, config) = (state.new_directory(), self.engine.clone());
        let created = tokio::task::spawn_blocking(move || Engine::create(path, config));
        let engine = Arc::new(created.await.map_err(service)??);
        for index in indexes.iter().cloned() {
            engine.call(move |shard| shard.update(index)).await?;
        }
        Ok(engine)
    }

    /// The peers for `shards` new shards of `replication` replicas, from `pool`, those with the fewest replicas first.
    pub(super) fn place(&self, pool: &[usize], shards: usize, replication: usize) -> Vec<Vec<usize>> {
        let mut load: BTreeMap<usize, usize> = pool.iter().map(|&peer| (peer, 0)).collect();
        for replica in self.shards().iter().flat_map(|shard| shard.replicas()) {
            load.entry(replica.peer).and_modify(|count| *count += 1);
        }
        let mut one_shard = || {
            let mut peers: Vec<_> = load.keys().copied().collect();
            peers.sort_by_key(|peer| load[peer]);
            peers.truncate(replication);
            for peer in &peers {
                load.entry(*peer).and_modify(|count| *count += 1);
            }
            peers
        };
        (0..shards).map(|_| one_shard()).collect()
    }
}
