//! One shard: its replicas, who of them answers a read, and how a write reaches all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{join_all, try_join_all};
use qdrant_client::qdrant::read_consistency::Value as Consistency;
use qdrant_client::qdrant::{ReadConsistency, ReadConsistencyType, ReplicaState, ShardKey, WriteOrderingType};
use qdrant_edge as edge;
use qdrant_edge::{EdgeShard, OperationResult};
use tonic::Status;

use super::errors::{service, timeout};
use super::replica::Engine;
use super::state::State;

/// A change of points, as the engine takes it.
pub(super) type Operation = edge::UpdateOperation;

/// One shard of a collection.
pub(super) struct Shard {
    pub(super) id: u32,
    pub(super) key: Option<ShardKey>,
    replicas: Mutex<Vec<Replica>>,
    /// Writes go to all replicas in one order, and none goes on while a replica is copied.
    order: tokio::sync::Mutex<()>,
}

/// One copy of a shard.
#[derive(Clone)]
pub(super) struct Replica {
    /// Index of its peer.
    pub(super) peer: usize,
    pub(super) state: ReplicaState,
    pub(super) engine: Arc<Engine>,
}

/// How a write is to be carried out.
#[derive(Clone, Copy)]
pub(super) struct WriteRules {
    /// Index of the peer that got it from the client.
    pub(super) via: usize,
    pub(super) ordering: WriteOrderingType,
    /// How many replicas must take it.
    pub(super) consistency: usize,
}

impl Shard {
    pub(super) fn new(id: u32, key: Option<ShardKey>, replicas: Vec<Replica>) -> Self {
        Self { id, key, replicas: Mutex::new(replicas), order: tokio::sync::Mutex::default() }
    }

    /// A copy of the list of replicas.
    pub(super) fn replicas(&self) -> Vec<Replica> {
        self.lock().clone()
    }

    /// Whether any replica is thought to be alive.
    pub(super) fn is_active(&self) -> bool {
        self.lock().iter().any(Replica::is_active)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_dead(&self, peer: usize) {
        for replica in self.lock().iter_mut().filter(|replica| replica.peer == peer) {
            replica.state = ReplicaState::Dead;
        }
    }

    /// Reads from the replica of the peer `via`, or else from the quickest other.
    ///
    /// All live replicas hold the same, so that a stricter consistency only asks for more of them to be there.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        state: &State,
        via: usize,
        consistency: Option<ReadConsistency>,
        work: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        let replicas = self.replicas();
        let required = required_replicas(consistency, replicas.len())?;
        let active: Vec<_> = replicas.into_iter().filter(Replica::is_active).collect();
        if active.len() < required {
            return Err(service(format!(
                "The replica set for shard {} on peer {} does not have enough active replicas",
                self.id,
                state.peer_id(via)
            )));
        }
        let asked = active.len();
        let mut reachable: Vec<_> = active.into_iter().filter(|replica| state.is_up(replica.peer)).collect();
        if reachable.len() < required {
            let failed = asked - reachable.len();
            return Err(service(format!("{failed} of {asked} read operations failed: peers are unreachable")));
        }
        reachable.sort_by_key(|replica| (replica.peer != via, state.faults(replica.peer).slowness()));
        reachable.truncate(required);
        try_join_all(reachable.iter().map(|replica| reach(state, via, replica.peer))).await?;
        let first = reachable.first().ok_or_else(|| service("no replica was asked"))?;
        first.engine.call(work).await
    }

    /// Applies `operation` to all live replicas. Must run to its end: callers spawn it.
    pub(super) async fn write(&self, state: &State, rules: WriteRules, operation: &Operation) -> Result<(), Status> {
        self.reach_leader(state, rules).await?;
        let _order = self.order.lock().await;
        let replicas = self.replicas();
        let targets: Vec<_> = replicas.iter().filter(|replica| replica.is_active()).collect();
        if targets.is_empty() {
            let peer = state.peer_id(rules.via);
            return Err(service(format!("The replica set for shard {} on peer {peer} has no active replica", self.id)));
        }
        let outcomes = join_all(targets.iter().map(|replica| apply(state, rules.via, replica, operation))).await;
        let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let enough = taken >= rules.consistency.min(replicas.len());
        for (replica, outcome) in targets.iter().zip(outcomes) {
            match outcome {
                Err(_) if enough => self.mark_dead(replica.peer),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Stricter orderings are carried out by one replica, which must be there.
    async fn reach_leader(&self, state: &State, rules: WriteRules) -> Result<(), Status> {
        let replicas = self.replicas();
        let leader = match rules.ordering {
            WriteOrderingType::Weak => return Ok(()),
            WriteOrderingType::Medium => replicas.iter().filter(|replica| replica.is_active()).map(|r| r.peer).max(),
            WriteOrderingType::Strong => replicas.iter().map(|replica| replica.peer).max(),
        };
        let ordering = format!("{:?}", rules.ordering);
        let leader = leader.ok_or_else(|| {
            service(format!(
                "Cannot update shard {} with {ordering} ordering because no leader could be selected",
                self.id
            ))
        })?;
        if let Err(error) = reach(state, rules.via, leader).await {
            self.mark_dead(leader);
            let peer = state.peer_id(leader);
            let text = error.message();
            return Err(service(format!(
                "Failed to apply update with {ordering} ordering via leader peer {peer}: {text}"
            )));
        }
        Ok(())
    }

    /// Applies a change of the collection itself, such as an index, to every replica, dead or alive.
    pub(super) async fn everywhere(&self, operation: &Operation) -> Result<(), Status> {
        let _order = self.order.lock().await;
        for replica in self.replicas() {
            let operation = operation.clone();
            replica.engine.call(move |shard| shard.update(operation)).await?;
        }
        Ok(())
    }

    /// Makes the replica of `peer`, when it is not alive, a copy of a live one. Without a live one it stays dead, but one
    /// that was only being created is complete.
    pub(super) async fn recover(&self, state: &State, peer: usize) -> Result<(), Status> {
        let _order = self.order.lock().await;
        let replicas = self.replicas();
        let source = replicas.iter().find(|replica| replica.is_active() && state.is_up(replica.peer));
        let Some(own) = replicas.iter().find(|replica| replica.peer == peer && !replica.is_active()) else {
            return Ok(());
        };
        let Some(source) = source else {
            if own.state == ReplicaState::Initializing {
                self.set(peer, own.engine.clone());
            }
            return Ok(());
        };
        let (source, path) = (source.engine.clone(), state.new_directory());
        let copy = tokio::task::spawn_blocking(move || {
            source.copy_to(&path)?;
            Engine::open(path)
        });
        self.set(peer, Arc::new(copy.await.map_err(service)??));
        Ok(())
    }

    fn set(&self, peer: usize, engine: Arc<Engine>) {
        for replica in self.lock().iter_mut().filter(|replica| replica.peer == peer) {
            replica.engine = engine.clone();
            replica.state = ReplicaState::Active;
        }
    }

    /// Copies the replica of a peer, which must be alive, into `target`.
    pub(super) async fn copy_replica_to(&self, peer: usize, target: std::path::PathBuf) -> Result<(), Status> {
        let _order = self.order.lock().await;
        let own = self.replicas().into_iter().find(|replica| replica.peer == peer && replica.is_active());
        let own = own.ok_or_else(|| service(format!("shard {} has no active replica on this peer", self.id)))?;
        tokio::task::spawn_blocking(move || own.engine.copy_to(&target)).await.map_err(service)?
    }

    /// Lets `engine` take the place of what the replica of a peer holds.
    pub(super) async fn replace(&self, peer: usize, engine: Arc<Engine>) {
        let _order = self.order.lock().await;
        self.set(peer, engine);
    }

    /// Copies a live replica into `target`.
    pub(super) async fn copy_to(&self, target: std::path::PathBuf) -> Result<(), Status> {
        let _order = self.order.lock().await;
        let source = self.replicas().into_iter().find(Replica::is_active);
        let source = source.ok_or_else(|| service(format!("shard {} has no active replica", self.id)))?;
        tokio::task::spawn_blocking(move || source.engine.copy_to(&target)).await.map_err(service)?
    }
}

impl Replica {
    pub(super) fn is_active(&self) -> bool {
        self.state == ReplicaState::Active
    }
}

async fn apply(state: &State, via: usize, replica: &Replica, operation: &Operation) -> Result<(), Status> {
    reach(state, via, replica.peer).await?;
    let operation = operation.clone();
    replica.engine.call(move |shard| shard.update(operation)).await
}

/// A call from one peer to another: fails when that is down, is as late as that is.
async fn reach(state: &State, via: usize, peer: usize) -> Result<(), Status> {
    if !state.is_up(peer) {
        return Err(service(format!("Tonic transport error: peer {} refuses the connection", state.peer_id(peer))));
    }
    if via == peer {
        return Ok(());
    }
    let limit = state.config.internal_timeout;
    tokio::time::timeout(limit, state.faults(peer).reach())
        .await
        .map_err(|_| timeout(format!("peer {} did not answer in {limit:?}", state.peer_id(peer))))
}

fn required_replicas(consistency: Option<ReadConsistency>, replicas: usize) -> Result<usize, Status> {
    let unknown = || Status::invalid_argument("invalid read consistency");
    match consistency.and_then(|consistency| consistency.value) {
        None => Ok(1),
        Some(Consistency::Factor(0)) => Err(unknown()),
        Some(Consistency::Factor(factor)) => Ok(usize::try_from(factor).unwrap_or(replicas).clamp(1, replicas.max(1))),
        Some(Consistency::Type(kind)) => match ReadConsistencyType::try_from(kind).map_err(|_| unknown())? {
            ReadConsistencyType::All | ReadConsistencyType::Majority => Ok(replicas),
            ReadConsistencyType::Quorum => Ok(replicas / 2 + 1),
        },
    }
}
