//! The in-process cache: bounded by bytes, least useful entries leave first.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache as Moka;
use ragstone_core::Result;
use ragstone_core::ports::Cache;

/// What an entry costs beside its bytes, roughly.
const ENTRY_OVERHEAD: usize = 128;

/// Entries in this process's memory.
#[derive(Clone)]
pub struct MemoryCache(Moka<Vec<u8>, Entry>);

#[derive(Clone)]
struct Entry {
    value: Bytes,
    ttl: Option<Duration>,
}

struct OwnTtl;

impl Expiry<Vec<u8>, Entry> for OwnTtl {
    fn expire_after_create(&self, _key: &Vec<u8>, entry: &Entry, _now: Instant) -> Option<Duration> {
        entry.ttl
    }

    fn expire_after_update(
        &self,
        _key: &Vec<u8>,
        entry: &Entry,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        entry.ttl
    }
}

impl MemoryCache {
    /// A cache of at most about `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |key: &Vec<u8>, entry: &Entry| {
            u32::try_from(key.len() + entry.value.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        Self(Moka::builder().max_capacity(max_bytes).weigher(weigh).expire_after(OwnTtl).build())
    }

    /// Stores an entry unless there is one: what is there was written later than what is brought here.
    pub(crate) async fn set_if_absent(&self, key: &[u8], value: Bytes, ttl: Duration) {
        self.0.entry_by_ref(key).or_insert(Entry { value, ttl: Some(ttl) }).await;
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).await.map(|entry| entry.value))
    }

    async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
        self.0.insert(key.to_vec(), Entry { value, ttl }).await;
        Ok(())
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    async fn set_many(&self, entries: Vec<(Vec<u8>, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        for (key, value) in entries {
            self.0.insert(key, Entry { value, ttl }).await;
        }
        Ok(())
    }

    async fn remove(&self, key: &[u8]) -> Result<()> {
        self.0.invalidate(key).await;
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn entries_live_as_long_as_they_may() {
        let cache = MemoryCache::new(1 << 20);
        cache.set(b"kept", Bytes::from_static(b"1"), None).await.unwrap();
        cache.set(b"gone", Bytes::from_static(b"2"), Some(Duration::ZERO)).await.unwrap();
        assert_eq!(cache.get(b"kept").await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(cache.get(b"gone").await.unwrap(), None);
        cache.set(b"kept", Bytes::from_static(b"3"), None).await.unwrap();
        assert_eq!(cache.get(b"kept").await.unwrap().as_deref(), Some(&b"3"[..]));
    }

    #[tokio::test]
    async fn it_stays_within_its_bytes() {
        let cache = MemoryCache::new(100_000);
        for n in 0..1_000_u32 {
            cache.set(&n.to_be_bytes(), Bytes::from(vec![0; 1_000]), None).await.unwrap();
        }
        cache.0.run_pending_tasks().await;
        assert!(cache.0.weighted_size() <= 100_000, "{}", cache.0.weighted_size());
        assert!(cache.0.entry_count() > 0);
    }
}
