//! The Qdrant peers: one lazily made connection each, how they are doing, and single calls to them.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ragstone_core::{Error, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::balance::{Chooser, Load};
use super::config::QdrantConfig;
use super::ejection::Ejection;
use super::error::Failure;
use super::rpc::{Clients, Credential, Rpc};

/// A peer that vanished without a word is noticed after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One peer.
struct Peer {
    /// Host and port, for messages and metrics.
    label: String,
    clients: Clients,
    load: Load,
    /// Qdrant's own number for it, once it was reached.
    id: Mutex<Option<u64>>,
}

/// What a call says about its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// Its latency and whether it works.
    Read,
    /// Whether it is there. How long it takes, and whether it succeeds, depends on the other replicas too.
    Write,
    /// Nothing: the peer had to ask others, or this only looks after it.
    Nothing,
}

/// All configured peers.
pub(crate) struct Peers {
    peers: Vec<Peer>,
    ejection: Ejection,
    chooser: Chooser,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.peers.iter().map(|peer| &peer.label)).finish()
    }
}

impl Peers {
    /// Prepares the connections; each is made when it is first needed, and again when it broke, with the name looked up
    /// anew.
    pub(crate) fn new(config: &QdrantConfig) -> Result<Self> {
        let credential = credential(config)?;
        let ca = config.ca_file.as_deref().map(read_ca).transpose()?;
        let peer = |url: &String| {
            let (label, endpoint) = endpoint(url, config, ca.as_ref())?;
            let clients = Clients::new(endpoint.connect_lazy(), credential.clone());
            Ok(Peer { label, clients, load: Load::default(), id: Mutex::new(None) })
        };
        let peers = config.urls.iter().map(peer).collect::<Result<Vec<_>>>()?;
        let ejection = Ejection::new(config.ejection, peers.len());
        let chooser = Chooser::new(config.balance, Box::new(|n| fastrand::usize(..n)));
        Ok(Self { peers, ejection, chooser })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The numbers of all of them.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.peers.len()).collect()
    }

    /// Host and port.
    pub(crate) fn label(&self, peer: usize) -> &str {
        self.peers.get(peer).map_or("?", |peer| &peer.label)
    }

    /// Remembers Qdrant's number for a peer.
    pub(crate) fn learn_id(&self, peer: usize, id: u64) {
        if let Some(peer) = self.peers.get(peer) {
            *peer.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        }
    }

    /// The peer with this number of Qdrant's, where it is one of ours and was ever reached.
    pub(crate) fn with_id(&self, id: u64) -> Option<usize> {
        self.peers.iter().position(|peer| *peer.id.lock().unwrap_or_else(PoisonError::into_inner) == Some(id))
    }

    /// One of `candidates` that was not `tried`. Peers that are out come last: a doubtful one is better than none.
    pub(crate) fn choose(&self, candidates: &[usize], tried: &[usize]) -> Option<usize> {
        let open: Vec<usize> = candidates.iter().copied().filter(|peer| !tried.contains(peer)).collect();
        let good: Vec<usize> = open.iter().copied().filter(|&peer| self.ejection.is_in(peer)).collect();
        let now = Instant::now();
        let from = if good.is_empty() { &open } else { &good };
        self.chooser.choose(from, |peer| self.peers[peer].load.cost(now))
    }

    /// Peers that have been out for long enough to be tried by one call.
    pub(crate) fn due(&self) -> Vec<usize> {
        self.ejection.due(Instant::now())
    }

    /// Sends `message` to one peer. When the future is dropped, the call is cancelled.
    pub(crate) async fn call<M: Rpc>(
        &self,
        peer: usize,
        message: M,
        deadline: Deadline,
        account: Account,
    ) -> Result<M::Reply, Failure> {
        let Some(state) = self.peers.get(peer) else {
            return Err(Failure::nobody());
        };
        let call = Call::begin(self, peer, deadline, account);
        let mut request = Request::new(message);
        request.set_timeout(deadline.remaining());
        let answer = deadline.run(async { Ok(M::send(&state.clients, request).await) }).await;
        let result = match answer {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(Failure::new(M::NAME, &state.label, status)),
            Err(_) => Err(Failure::late(M::NAME, &state.label)),
        };
        call.end(result.as_ref().err());
        result
    }

    /// Asks one peer after the other until one answers; each has a third of the time, so that one that hangs does not
    /// use it up.
    pub(crate) async fn any<M: Rpc>(&self, message: M, deadline: Deadline) -> Result<M::Reply, Failure> {
        let each = if self.len() == 1 { deadline.remaining() } else { deadline.remaining() / 3 };
        self.one_by_one(message, deadline, each).await
    }

    /// Has one peer after the other change something until one has done it; what is sent here may be repeated.
    pub(crate) async fn change_any<M: Rpc>(&self, message: M, deadline: Deadline) -> Result<M::Reply, Failure> {
        self.one_by_one(message, deadline, deadline.remaining()).await
    }

    async fn one_by_one<M: Rpc>(&self, message: M, deadline: Deadline, each: Duration) -> Result<M::Reply, Failure> {
        let mut tried = Vec::new();
        let mut last = Failure::nobody();
        while let Some(peer) = self.choose(&self.all(), &tried)
            && !deadline.remaining().is_zero()
        {
            tried.push(peer);
            match self.call(peer, message.clone(), deadline.cap(each), Account::Write).await {
                Err(failure) if failure.elsewhere => last = failure,
                done => return done,
            }
        }
        Err(last)
    }

    fn note(&self, peer: usize, works: bool) {
        let now = Instant::now();
        let label = || self.label(peer).to_owned();
        if works && self.ejection.success(peer, now) {
            tracing::info!(peer = label(), "a Qdrant peer is back");
        } else if !works && self.ejection.failure(peer, now) {
            tracing::warn!(peer = label(), "a Qdrant peer keeps failing and is left alone for a while");
            metrics::counter!("rag_peer_ejections_total", "peer" => label()).increment(1);
        }
    }
}

/// A call under way; it counts also when it is dropped.
struct Call<'a> {
    peers: &'a Peers,
    peer: usize,
    began: Instant,
    deadline: Deadline,
    account: Account,
    ended: bool,
}

impl<'a> Call<'a> {
    fn begin(peers: &'a Peers, peer: usize, deadline: Deadline, account: Account) -> Self {
        peers.peers[peer].load.begin();
        Self { peers, peer, began: Instant::now(), deadline, account, ended: false }
    }

    fn end(mut self, failure: Option<&Failure>) {
        self.ended = true;
        if self.account == Account::Nothing {
            return;
        }
        let fault = failure.is_some_and(|failure| match self.account {
            Account::Write => failure.unreached(),
            Account::Read | Account::Nothing => failure.fault,
        });
        // A quick refusal must not make a peer look fast.
        if self.account == Account::Read && failure.is_none() {
            self.record();
        }
        self.peers.note(self.peer, !fault);
    }

    fn record(&self) {
        self.peers.peers[self.peer].load.record(self.began.elapsed(), Instant::now());
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.peers.peers[self.peer].load.end();
        if self.ended || self.account != Account::Read {
            return;
        }
        // Another was faster, the caller left, or the time was over: it took at least this long.
        self.record();
        if self.deadline.remaining().is_zero() {
            self.peers.note(self.peer, false);
        }
    }
}

fn credential(config: &QdrantConfig) -> Result<Credential> {
    let Some(key) = Some(config.api_key.expose()).filter(|key| !key.is_empty()) else {
        return Ok(Credential(None));
    };
    let mut value =
        MetadataValue::try_from(key).map_err(|_| Error::invalid("api_key may hold visible ASCII characters only"))?;
    value.set_sensitive(true);
    Ok(Credential(Some(value)))
}

fn read_ca(path: &Path) -> Result<Certificate> {
    let unusable = |why: &str| Error::invalid(format!("retrieval.qdrant.ca_file: {} {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unusable("cannot be read").with_source(error))?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(unusable("holds no PEM certificate"));
    }
    Ok(Certificate::from_pem(pem))
}

fn endpoint(url: &str, config: &QdrantConfig, ca: Option<&Certificate>) -> Result<(String, Endpoint)> {
    let invalid = || Error::invalid("urls holds what is not a URL");
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| invalid().with_source(error))?;
    let uri = endpoint.uri().clone();
    let label = uri.authority().map_or_else(String::new, |authority| authority.to_string());
    let mut endpoint = endpoint
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .tcp_nodelay(true);
    if uri.scheme_str() == Some("https") {
        let mut tls = match ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(ca.clone()),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(name) = &config.server_name {
            tls = tls.domain_name(name.clone());
        }
        let unusable =
            |error| Error::invalid("retrieval.qdrant.ca_file or server_name cannot be used").with_source(error);
        endpoint = endpoint.tls_config(tls).map_err(unusable)?;
    }
    Ok((label, endpoint))
}
