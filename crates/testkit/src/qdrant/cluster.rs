//! The cluster as a test holds it: starting and stopping peers, making them late, counting their calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::{Builder, Runtime};
use tonic::Code;

use super::server::{Peer, serve};
use super::state::{ClusterConfig, State};
use crate::ports::free_port;

/// How long the threads of a peer may take to end.
const STOPPING: Duration = Duration::from_secs(10);

/// A running cluster; it and its data go when this is dropped.
pub struct QdrantCluster {
    state: Arc<State>,
    ports: Vec<u16>,
    rest_ports: Vec<u16>,
    /// One per peer, none while it is stopped.
    servers: Mutex<Vec<Option<Runtime>>>,
    /// There until this is dropped.
    home: Option<Runtime>,
}

impl QdrantCluster {
    /// Starts the peers on free loopback ports.
    ///
    /// # Errors
    /// When there is no free port or the certificate is unusable.
    pub async fn start(config: ClusterConfig) -> Result<Self> {
        ensure!(config.peers > 0, "a cluster has a peer");
        ensure!(config.distributed || config.peers == 1, "without cluster mode there is one peer");
        let home = Builder::new_multi_thread().worker_threads(2).thread_name("qdrant-home").enable_all().build()?;
        let peers = config.peers;
        let cluster = Self {
            ports: (0..peers).map(|_| free_port()).collect::<Result<_>>()?,
            rest_ports: (0..peers).map(|_| free_port()).collect::<Result<_>>()?,
            state: Arc::new(State::new(config)?),
            servers: Mutex::new((0..peers).map(|_| None).collect()),
            home: Some(home),
        };
        for peer in 0..peers {
            cluster.start_peer(peer).await?;
        }
        Ok(cluster)
    }

    /// Where clients reach a peer.
    #[must_use]
    pub fn url(&self, peer: usize) -> String {
        self.on_port(self.ports[peer])
    }

    fn on_port(&self, port: u16) -> String {
        // A certificate names a host, and 127.0.0.1 spares everybody else the lookup.
        let host = if self.state.config.tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        format!("{host}:{port}")
    }

    /// Where clients reach all peers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.ports.len()).map(|peer| self.url(peer)).collect()
    }

    /// Where the peers serve their REST API.
    #[must_use]
    pub fn rest_urls(&self) -> Vec<String> {
        self.rest_ports.iter().map(|port| self.on_port(*port)).collect()
    }

    /// The id a peer has in Qdrant's API.
    #[must_use]
    pub fn peer_id(&self, peer: usize) -> u64 {
        self.state.peer_id(peer)
    }

    /// Kills a peer: its port and all its connections are closed when this returns. Its data stays.
    pub async fn stop_peer(&self, peer: usize) {
        self.state.set_up(peer, false);
        let server = self.servers()[peer].take();
        if let Some(server) = server {
            // Waits for its threads, which an async context must not do.
            let stopped = tokio::task::spawn_blocking(move || server.shutdown_timeout(STOPPING)).await;
            if let Err(error) = stopped {
                eprintln!("qdrant: stopping peer {peer}: {error}");
            }
        }
    }

    /// Starts a stopped peer on its port again. Replicas that missed writes are copies of live ones when this returns.
    ///
    /// # Errors
    /// When its port was taken by somebody else meanwhile, or a replica could not be copied.
    pub async fn start_peer(&self, peer: usize) -> Result<()> {
        ensure!(self.servers()[peer].is_none(), "peer {peer} is running");
        let Some(home) = &self.home else { return Ok(()) };
        let handlers = Peer { state: self.state.clone(), index: peer, home: home.handle().clone() };
        let ports = (self.ports[peer], self.rest_ports[peer]);
        let server = tokio::task::spawn_blocking(move || serve(handlers, ports)).await??;
        self.servers()[peer] = Some(server);
        self.state.set_up(peer, true);
        for collection in self.state.collections().await {
            for shard in collection.shards() {
                shard.recover(&self.state, peer).await?;
            }
        }
        Ok(())
    }

    /// From now on a peer answers nobody, until [`Self::resume`].
    pub fn pause(&self, peer: usize) {
        self.state.faults(peer).set_paused(true);
    }

    /// Ends a pause; calls that waited are answered.
    pub fn resume(&self, peer: usize) {
        self.state.faults(peer).set_paused(false);
    }

    /// From now on a peer is late by `delay` for clients and for other peers.
    pub fn delay(&self, peer: usize, delay: Duration) {
        self.state.faults(peer).set_delay(delay);
    }

    /// The next `times` calls of clients to a peer fail with this code; health checks do not.
    pub fn fail(&self, peer: usize, code: Code, times: usize) {
        self.state.faults(peer).set_failures(code, times);
    }

    /// From now on, or no longer, a peer's snapshots of shards arrive with a bit turned over.
    pub fn damage_snapshots(&self, peer: usize, damage: bool) {
        self.state.faults(peer).set_damage(damage);
    }

    /// How often clients called each method of a peer, by names like `Points/Query`.
    #[must_use]
    pub fn calls(&self, peer: usize) -> BTreeMap<String, u64> {
        self.state.faults(peer).calls()
    }

    /// Starts counting the calls of all peers anew.
    pub fn reset_calls(&self) {
        (0..self.ports.len()).for_each(|peer| self.state.faults(peer).reset_calls());
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Option<Runtime>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QdrantCluster {
    fn drop(&mut self) {
        let home = self.home.take();
        let runtimes: Vec<_> = self.servers().iter_mut().filter_map(Option::take).chain(home).collect();
        // Waiting for threads needs a thread outside any runtime. A panic there has been reported; nothing is left to do.
        let waiting = std::thread::spawn(move || runtimes.into_iter().for_each(|r| r.shutdown_timeout(STOPPING)));
        drop(waiting.join());
    }
}
