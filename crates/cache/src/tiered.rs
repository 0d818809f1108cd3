//! A small tier in this process in front of Redis: it answers what is asked again, also while Redis is away.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ragstone_core::Result;
use ragstone_core::ports::Cache;

use crate::{MemoryCache, RedisCache};

/// Redis behind a `MemoryCache`. An entry stays in memory for a short time at most, so that what other processes change
/// is seen soon. An error of Redis is returned only where the memory has no answer; all are counted.
pub struct TieredCache {
    memory: MemoryCache,
    memory_ttl: Duration,
    redis: RedisCache,
}

impl TieredCache {
    /// Entries stay in `memory` for `memory_ttl` at most.
    #[must_use]
    pub fn new(memory: MemoryCache, memory_ttl: Duration, redis: RedisCache) -> Self {
        Self { memory, memory_ttl, redis }
    }

    fn short(&self, ttl: Option<Duration>) -> Duration {
        ttl.unwrap_or(Duration::MAX).min(self.memory_ttl)
    }

    /// Asks Redis for these keys and keeps what it has.
    async fn fetch(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(self.redis.get_many_aged(keys).await?) {
            if let Some((value, left)) = &found {
                self.memory.set_if_absent(key, value.clone(), self.short(*left)).await;
            }
            values.push(found.map(|(value, _)| value));
        }
        Ok(values)
    }
}

#[async_trait]
impl Cache for TieredCache {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(value) = self.memory.get(key).await? {
            return Ok(Some(value));
        }
        Ok(self.fetch(&[key.to_vec()]).await?.pop().flatten())
    }

    async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
        self.set_many(vec![(key.to_vec(), value)], ttl).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let mut values = self.memory.get_many(keys).await?;
        let missing: Vec<Vec<u8>> =
            keys.iter().zip(&values).filter(|(_, value)| value.is_none()).map(|(key, _)| key.clone()).collect();
        if missing.is_empty() {
            return Ok(values);
        }
        match self.fetch(&missing).await {
            Ok(found) => {
                let holes = values.iter_mut().filter(|value| value.is_none());
                holes.zip(found).for_each(|(hole, value)| *hole = value);
                Ok(values)
            }
            // What is here is worth having; the rest is as if it had never been stored.
            Err(_) if missing.len() < keys.len() => Ok(values),
            Err(error) => Err(error),
        }
    }

    async fn set_many(&self, entries: Vec<(Vec<u8>, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        self.memory.set_many(entries.clone(), Some(self.short(ttl))).await?;
        // This process has it: good enough while Redis is away.
        if let Err(error) = self.redis.set_many(entries, ttl).await {
            tracing::debug!(error = error.chain(), "kept in this process only");
        }
        Ok(())
    }

    async fn remove(&self, key: &[u8]) -> Result<()> {
        self.memory.remove(key).await?;
        self.redis.remove(key).await
    }

    async fn check(&self) -> Result<()> {
        self.redis.check().await
    }
}
