//! What all peers of a cluster share: who is up, the collections, the aliases, and the directory of the data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tonic::Status;

use super::collection::Collection;
use super::errors::not_found;
use super::faults::Faults;

/// How a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// How many peers.
    pub peers: usize,
    /// Whether cluster mode is on; without it there is one peer and there are no shard keys.
    pub distributed: bool,
    /// When set, calls without this key are refused.
    pub api_key: Option<String>,
    /// When set, the peers speak TLS only.
    pub tls: Option<PemPair>,
    /// How long a peer waits for another before it takes it for lost.
    pub internal_timeout: Duration,
}

/// A certificate and its private key, both as PEM text.
#[derive(Debug, Clone)]
pub struct PemPair {
    /// The certificate, or a chain of them.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { peers: 1, distributed: true, api_key: None, tls: None, internal_timeout: Duration::from_secs(60) }
    }
}

/// The state of a cluster.
pub(super) struct State {
    pub(super) config: ClusterConfig,
    pub(super) catalog: tokio::sync::RwLock<Catalog>,
    peers: Vec<Peer>,
    directory: TempDir,
    next: AtomicU64,
}

#[derive(Default)]
struct Peer {
    up: AtomicBool,
    faults: Arc<Faults>,
}

/// Collections by name, and names of collections by alias.
#[derive(Default)]
pub(super) struct Catalog {
    pub(super) collections: BTreeMap<String, Arc<Collection>>,
    pub(super) aliases: BTreeMap<String, String>,
}

impl State {
    pub(super) fn new(config: ClusterConfig) -> std::io::Result<Self> {
        Ok(Self {
            peers: (0..config.peers).map(|_| Peer::default()).collect(),
            config,
            catalog: tokio::sync::RwLock::default(),
            directory: TempDir::with_prefix("qdrant-")?,
            next: AtomicU64::new(1),
        })
    }

    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The id that peer goes by in Qdrant's API.
    pub(super) fn peer_id(&self, peer: usize) -> u64 {
        7_000_001 + peer as u64
    }

    /// The peer that goes by this id.
    pub(super) fn peer_of_id(&self, id: u64) -> Option<usize> {
        (0..self.peers()).find(|&peer| self.peer_id(peer) == id)
    }

    pub(super) fn is_up(&self, peer: usize) -> bool {
        self.peers[peer].up.load(Ordering::SeqCst)
    }

    pub(super) fn set_up(&self, peer: usize, up: bool) {
        self.peers[peer].up.store(up, Ordering::SeqCst);
    }

    pub(super) fn faults(&self, peer: usize) -> &Arc<Faults> {
        &self.peers[peer].faults
    }

    /// A number nobody else has.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A directory that does not exist yet.
    pub(super) fn new_directory(&self) -> PathBuf {
        self.directory.path().join(format!("shard-{}", self.next_number()))
    }

    /// Where the snapshots of a collection are.
    pub(super) fn snapshots(&self, collection: &str) -> PathBuf {
        self.directory.path().join("snapshots").join(collection)
    }

    /// The collection with that name or alias.
    pub(super) async fn collection(&self, name: &str) -> Result<Arc<Collection>, Status> {
        self.catalog.read().await.resolve(name)
    }

    pub(super) async fn collections(&self) -> Vec<Arc<Collection>> {
        self.catalog.read().await.collections.values().cloned().collect()
    }
}

impl Catalog {
    pub(super) fn resolve(&self, name: &str) -> Result<Arc<Collection>, Status> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.collections.get(name).cloned().ok_or_else(|| missing(name))
    }
}

pub(super) fn missing(collection: &str) -> Status {
    not_found(format!("Collection `{collection}` doesn't exist!"))
}
