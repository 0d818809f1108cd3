//! Asking one shard: by a replica that is well and not busy, by another one when that fails, and by a second one at the
//! same time when it is slow. The one place where reads are repeated.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ragstone_resilience::{Deadline, Hedge};
use tokio::time::Instant;

use super::collection::Collection;
use super::error::Failure;
use super::peers::{Account, Peers};
use super::rpc::Rpc;
use super::view::View;

/// A call that was refused a hedge asks again after the same time, but not sooner than this.
const SHORTEST: Duration = Duration::from_millis(5);
/// At this time of asking it is urgent.
const URGENT: u32 = 3;

/// Who may answer for a shard.
struct Candidates {
    /// Peers with a healthy replica.
    holders: Vec<usize>,
    /// How many peers are tried at most.
    most: usize,
}

impl Collection {
    /// The answer of one shard, by its deadline. `hedge` says when a second replica is asked too; the first answer
    /// counts, and the other call is cancelled.
    pub(crate) async fn ask<M: Rpc>(
        &self,
        view: &View,
        shard: &str,
        message: M,
        deadline: Deadline,
        hedge: Option<&Hedge>,
    ) -> Result<M::Reply, Failure> {
        let mut race = Race::new(&self.peers, self.candidates(view, shard), message, deadline);
        let delay = hedge.and_then(Hedge::begin);
        if !race.enter(false) {
            return Err(Failure::nobody());
        }
        let pause = delay.unwrap_or_default().max(SHORTEST);
        let mut timer = pin!(tokio::time::sleep(delay.unwrap_or_default()));
        let mut late = 0;
        loop {
            tokio::select! {
                biased;
                Some(end) = race.running.next() => match end.result {
                    Ok(reply) => {
                        race.won(&end.ran, hedge);
                        return Ok(reply);
                    }
                    Err(failure) if failure.elsewhere => {
                        if !race.enter(false) && race.running.is_empty() {
                            return Err(failure);
                        }
                    }
                    Err(failure) => return Err(failure),
                },
                () = &mut timer, if delay.is_some() && race.more() && !race.hedged => {
                    late += 1;
                    if hedge.is_some_and(|hedge| hedge.allow(late >= URGENT)) {
                        race.hedged = race.enter(true);
                    } else if late == 1 {
                        count("denied");
                    }
                    timer.as_mut().reset(Instant::now() + pause);
                }
            }
        }
    }

    /// Has one peer change a shard. Never twice after an unknown outcome, save where the connection broke: every
    /// change may be repeated, so another peer is asked once.
    pub(crate) async fn change<M: Rpc>(
        &self,
        view: &View,
        shard: &str,
        message: M,
        deadline: Deadline,
    ) -> Result<M::Reply, Failure> {
        let candidates = self.candidates(view, shard);
        let (first, account) = candidates.choose(&self.peers, &[]).ok_or_else(Failure::nobody)?;
        let failure = match self.peers.call(first, message.clone(), deadline, account.of_write()).await {
            Err(failure) if failure.may_be_repeated() => failure,
            done => return done,
        };
        match candidates.choose(&self.peers, &[first]) {
            Some((other, account)) => self.peers.call(other, message, deadline, account.of_write()).await,
            None => Err(failure),
        }
    }

    fn candidates(&self, view: &View, shard: &str) -> Candidates {
        let replicas = self.config.replication_factor as usize;
        if self.peers.len() == 1 {
            return Candidates { holders: vec![0], most: 1 };
        }
        let holders = view.holders.get(shard).cloned().unwrap_or_default();
        Candidates { most: holders.len().max(replicas), holders }
    }
}

impl Candidates {
    /// A peer that was not `tried`, and what its answer says about it. When no holder is left any peer will do: it passes
    /// the call on, and may know of replicas that are not known here. That those fail is no fault of its own.
    fn choose(&self, peers: &Peers, tried: &[usize]) -> Option<(usize, Account)> {
        match peers.choose(&self.holders, tried) {
            Some(peer) => Some((peer, Account::Read)),
            None => peers.choose(&peers.all(), tried).map(|peer| (peer, Account::Nothing)),
        }
    }
}

impl Account {
    fn of_write(self) -> Self {
        if self == Self::Read { Self::Write } else { self }
    }
}

/// The calls for one answer.
struct Race<'a, M: Rpc> {
    peers: &'a Peers,
    candidates: Candidates,
    message: M,
    deadline: Deadline,
    tried: Vec<usize>,
    running: FuturesUnordered<BoxFuture<'a, End<M::Reply>>>,
    hedged: bool,
}

struct End<R> {
    ran: Ran,
    result: Result<R, Failure>,
}

struct Ran {
    peer: usize,
    /// Whether it was the second call of a hedge.
    extra: bool,
    time: Duration,
}

impl<'a, M: Rpc> Race<'a, M> {
    fn new(peers: &'a Peers, candidates: Candidates, message: M, deadline: Deadline) -> Self {
        let running = FuturesUnordered::new();
        Self { peers, candidates, message, deadline, tried: Vec::new(), running, hedged: false }
    }

    /// Whether a replica is left that was not asked.
    fn more(&self) -> bool {
        self.candidates.holders.iter().any(|peer| !self.tried.contains(peer))
    }

    /// Asks one more peer; `false` when there is none, or no time.
    fn enter(&mut self, extra: bool) -> bool {
        let first = self.tried.is_empty();
        if !first && (self.tried.len() >= self.candidates.most || self.deadline.remaining().is_zero()) {
            return false;
        }
        let Some((peer, account)) = self.candidates.choose(self.peers, &self.tried) else {
            return false;
        };
        self.tried.push(peer);
        let (peers, message, deadline) = (self.peers, self.message.clone(), self.deadline);
        self.running.push(Box::pin(async move {
            let began = Instant::now();
            let result = peers.call(peer, message, deadline, account).await;
            End { ran: Ran { peer, extra, time: began.elapsed() }, result }
        }));
        true
    }

    fn won(&self, ran: &Ran, hedge: Option<&Hedge>) {
        if let Some(hedge) = hedge {
            hedge.record(ran.time);
            let peer = self.peers.label(ran.peer).to_owned();
            metrics::histogram!("rag_shard_latency_seconds", "peer" => peer).record(ran.time);
        }
        if self.hedged {
            count(if ran.extra { "won" } else { "lost" });
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("rag_hedges_total", "outcome" => outcome).increment(1);
}
