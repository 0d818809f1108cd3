//! The background thread of a store: heals shards, optimises them, and shortens their logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ragstone_core::{Error, Result};

use crate::edge::layout::Shards;
use crate::edge::shard::Shard;

/// How often the thread looks around.
const TICK: Duration = Duration::from_secs(1);
/// Points stored or removed before a shard is optimised again.
pub(crate) const OPTIMIZE_AFTER: u64 = 2000;
/// Closed log files, in bytes, before a shard is reopened to be rid of them.
const LOG_LIMIT: u64 = 512 << 20;
/// How long a broken shard stays out of service before it is opened again, and between attempts. Opening drops what was
/// not flushed: whoever published just before the failure must have found `flush` refused by then.
const HEAL_AFTER: Duration = Duration::from_secs(30);
/// How long closing waits for an optimisation under way; a broken-off one leaves nothing half done.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Maintenance {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Maintenance {
    /// Starts it.
    pub(crate) fn start(shards: Arc<Shards>) -> Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("vector-maintenance".to_owned())
            .spawn(move || run(&shards, &stopped))
            .map_err(|error| Error::internal("no thread for the vector index").with_source(error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends it and waits a while for what it is doing.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        let end = Instant::now() + STOP_WAIT;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn run(shards: &Shards, stopped: &Receiver<()>) {
    // Of each shard out of service: since when, or when it was last tried.
    let mut waiting: BTreeMap<String, Instant> = BTreeMap::new();
    while matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
        let now = shards.now();
        waiting.retain(|name, _| now.shards.get(name).is_some_and(|shard| !shard.is_healthy()));
        for shard in now.shards.values() {
            if shard.is_healthy() {
                if let Err(error) = tend(shard) {
                    tracing::warn!(shard = %shard.name, error = %error.chain(), "maintenance of a shard failed");
                }
                continue;
            }
            let since = waiting.entry(shard.name.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= HEAL_AFTER {
                *since = Instant::now();
                heal(shard);
            }
        }
    }
}

fn heal(shard: &Shard) {
    let _only_writer = shard.writer().blocking_lock();
    match shard.reopen(true) {
        Ok(()) => tracing::info!(shard = %shard.name, "a shard is back in service"),
        Err(error) => tracing::debug!(shard = %shard.name, error = %error.chain(), "a shard is still out of service"),
    }
}

fn tend(shard: &Shard) -> Result<()> {
    if shard.changed().load(Ordering::Relaxed) >= OPTIMIZE_AFTER && shard.check_space().is_ok() {
        shard.changed().store(0, Ordering::Relaxed);
        let start = Instant::now();
        let changed = shard.optimize()?;
        let elapsed_ms = start.elapsed().as_millis() as u64;
        tracing::debug!(shard = %shard.name, changed, elapsed_ms, "shard optimised");
    }
    if shard.engine()?.closed_log_bytes() > LOG_LIMIT {
        let mut writer = shard.writer().blocking_lock();
        shard.flush_to(&mut writer, shard.applied())?;
        shard.reopen(false)?;
    }
    Ok(())
}
