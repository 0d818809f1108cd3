//! Buckets in this process: for one gateway alone, or its share of the limits while Redis is away.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ragstone_core::ports::{Charge, Decision, Limit, RateLimiter, Settlement};
use ragstone_core::{Result, TenantId};
use tokio::time::Instant;

use super::{BucketId, bucket_ids, check_costs};

const SHARDS: usize = 16;
/// The most buckets of one shard: all together take some 64 MB.
const SHARD_BUCKETS: usize = 1 << 16;
/// The highest level: twice the largest charge of the smallest share of any limit.
const DEEPEST: u64 = 1 << 61;

/// Buckets in this process, at most about a million. Where more are in use, those that are nearest to being empty are
/// forgotten, and what is forgotten counts as unused.
pub struct LocalLimiter {
    /// By tenant: the buckets of one call lie in one shard, so that one lock decides on all of them.
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    epoch: Instant,
    replicas: u32,
}

struct Shard {
    buckets: HashMap<BucketId, Bucket>,
    most: usize,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    level: u64,
    /// Microseconds of the limiter's clock.
    at: u64,
    leak: u64,
}

impl Bucket {
    fn level(&self, now: u64) -> u64 {
        self.level.saturating_sub(self.leak.saturating_mul(now.saturating_sub(self.at)))
    }
}

impl Shard {
    fn level(&self, id: &BucketId, now: u64) -> u64 {
        self.buckets.get(id).map_or(0, |bucket| bucket.level(now))
    }

    fn store(&mut self, id: BucketId, limit: &Limit, level: u64, now: u64) {
        if level == 0 {
            self.buckets.remove(&id);
            return;
        }
        if self.buckets.len() >= self.most && !self.buckets.contains_key(&id) {
            self.make_room(now);
        }
        self.buckets.insert(id, Bucket { level, at: now, leak: limit.leak() });
    }

    /// Forgets the empty buckets, and, where hardly any is, those that are the first to be empty: an eighth at once, so
    /// that few calls pay for it.
    fn make_room(&mut self, now: u64) {
        self.buckets.retain(|_, bucket| bucket.level(now) > 0);
        let surplus = self.buckets.len().saturating_sub(self.most / 8 * 7);
        let mut by_end: Vec<(u64, BucketId)> =
            self.buckets.iter().map(|(id, bucket)| (bucket.level(now) / bucket.leak.max(1), *id)).collect();
        if surplus > 0 && surplus < by_end.len() {
            by_end.select_nth_unstable(surplus);
        }
        for (_, id) in by_end.into_iter().take(surplus) {
            self.buckets.remove(&id);
        }
    }
}

impl LocalLimiter {
    /// A limiter that lets in an equal share of every limit, for one of `replicas` (1 to 512) processes.
    #[must_use]
    pub fn new(replicas: u32) -> Self {
        Self::with_room(replicas, SHARD_BUCKETS)
    }

    fn with_room(replicas: u32, most: usize) -> Self {
        let shard = || Mutex::new(Shard { buckets: HashMap::new(), most });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            epoch: Instant::now(),
            replicas,
        }
    }

    fn shard(&self, tenant: &TenantId) -> Option<MutexGuard<'_, Shard>> {
        let index = usize::try_from(self.hasher.hash_one(tenant) % SHARDS as u64).unwrap_or_default();
        // Nothing in the lock can leave a bucket half changed.
        Some(self.shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    fn decide(&self, tenant: &TenantId, charges: &[Charge], ids: &[BucketId]) -> Decision {
        let mut decision = Decision { allowed: true, standings: Vec::with_capacity(charges.len()), local: false };
        let Some(mut shard) = self.shard(tenant) else { return decision };
        let now = self.now();
        let mut levels: Vec<(Limit, u64)> =
            charges.iter().zip(ids).map(|(c, id)| (c.limit.share(self.replicas), shard.level(id, now))).collect();
        decision.allowed =
            charges.iter().zip(&levels).all(|(charge, (limit, level))| limit.admits(*level, charge.cost));
        if decision.allowed {
            for ((charge, id), (limit, level)) in charges.iter().zip(ids).zip(&mut levels) {
                *level = level.saturating_add(limit.amount(charge.cost)).min(DEEPEST);
                shard.store(*id, limit, *level, now);
            }
        }
        decision.standings =
            charges.iter().zip(&levels).map(|(charge, (limit, level))| limit.standing(*level, charge.cost)).collect();
        decision
    }

    fn correct(&self, tenant: &TenantId, settlements: &[Settlement], ids: &[BucketId]) {
        let Some(mut shard) = self.shard(tenant) else { return };
        let now = self.now();
        for (Settlement { charge, used }, id) in settlements.iter().zip(ids) {
            let limit = charge.limit.share(self.replicas);
            let level = shard.level(id, now);
            let level = level.saturating_sub(limit.amount(charge.cost.saturating_sub(*used)));
            let level = level.saturating_add(limit.amount(used.saturating_sub(charge.cost))).min(DEEPEST);
            shard.store(*id, &limit, level, now);
        }
    }
}

#[async_trait]
impl RateLimiter for LocalLimiter {
    async fn charge(&self, tenant: &TenantId, charges: &[Charge]) -> Result<Decision> {
        check_costs(charges)?;
        let ids = bucket_ids(tenant, charges.iter())?;
        Ok(self.decide(tenant, charges, &ids))
    }

    async fn settle(&self, tenant: &TenantId, settlements: &[Settlement]) -> Result<()> {
        let ids = bucket_ids(tenant, settlements.iter().map(|settlement| &settlement.charge))?;
        self.correct(tenant, settlements, &ids);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
