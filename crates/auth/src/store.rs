//! Stored API keys, remembered for a few seconds, and longer while their store does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::Entry;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};
use ragstone_core::{Error, Result, StoredKey};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::AuthConfig;
use crate::failure::Reason;

/// Keys remembered at most; what is asked for most stays.
const MAX_KEYS: u64 = 10_000;
/// Keys looked up at a time.
const LOOKUPS: usize = 32;
/// How long the store may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Where API keys are kept.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The key with this id, of any tenant, revoked and expired ones too.
    ///
    /// # Errors
    /// Any, when the store does not answer: it is asked again later.
    async fn find(&self, id: &str) -> Result<Option<StoredKey>>;
}

/// How long what is known is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// Without asking again.
    fresh: Duration,
    /// While the store does not answer.
    stale: Duration,
}

impl Ages {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let [fresh, stale] = [config.api_key_ttl_seconds, config.api_key_stale_seconds].map(Duration::from_secs);
        Self { fresh, stale }
    }
}

/// What the store said.
#[derive(Debug, Clone)]
struct Known {
    key: Option<StoredKey>,
    /// When it said so.
    confirmed: Instant,
    /// When it was last asked, answering or not.
    asked: Instant,
}

/// A store with a memory. The same id is asked for once at a time.
#[derive(Clone)]
pub(crate) struct Remembered {
    store: Arc<dyn KeyStore>,
    known: Cache<String, Known>,
    ages: Ages,
    clock: Clock,
    /// Lookups under way: made-up keys must not crowd out everything else that asks the store.
    lookups: Arc<Semaphore>,
}

impl Remembered {
    pub(crate) fn new(store: Arc<dyn KeyStore>, ages: Ages, clock: Clock) -> Self {
        let known = Cache::builder().max_capacity(MAX_KEYS).time_to_live(ages.fresh + ages.stale).build();
        Self { store, known, ages, clock, lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// The key with this id.
    ///
    /// # Errors
    /// `StoreUnavailable` when the store does not answer and has not lately.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<StoredKey>, Reason> {
        if let Some(known) = self.known.get(id).await.filter(|known| self.is_fresh(known)) {
            return Ok(known.key);
        }
        let entry = self.known.entry_by_ref(id);
        let result = entry.and_try_compute_with(|current| self.ask(id, current.map(Entry::into_value))).await?;
        match result {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry) => {
                Ok(entry.into_value().key)
            }
            CompResult::Removed(_) | CompResult::StillNone(_) => Ok(None),
        }
    }

    fn is_fresh(&self, known: &Known) -> bool {
        self.clock.instant().saturating_duration_since(known.asked) < self.ages.fresh
    }

    async fn ask(&self, id: &str, current: Option<Known>) -> Result<Op<Known>, Reason> {
        if current.as_ref().is_some_and(|known| self.is_fresh(known)) {
            return Ok(Op::Nop);
        }
        // Its own age counts from before the store looked.
        let asked = self.clock.instant();
        let answer = tokio::time::timeout(TIMEOUT, async {
            // It is never closed.
            let _turn = self.lookups.acquire().await;
            self.store.find(id).await
        })
        .await;
        match answer.unwrap_or_else(|_| Err(Error::deadline())) {
            Ok(key) => Ok(Op::Put(Known { key, confirmed: asked, asked })),
            Err(error) => {
                tracing::warn!(error = error.chain(), "the store of API keys does not answer");
                let usable = |known: &Known| {
                    known.key.is_some() && asked.saturating_duration_since(known.confirmed) < self.ages.stale
                };
                let known = current.filter(usable).ok_or(Reason::StoreUnavailable)?;
                Ok(Op::Put(Known { asked, ..known }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::SystemTime;

    use super::*;
    use crate::config::ApiKeyConfig;
    use crate::keys::configured;

    /// A store in memory that counts questions and can be broken.
    #[derive(Default)]
    struct Fake {
        keys: Mutex<BTreeMap<String, StoredKey>>,
        asked: AtomicUsize,
        broken: AtomicBool,
    }

    #[async_trait]
    impl KeyStore for Fake {
        async fn find(&self, id: &str) -> Result<Option<StoredKey>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(Error::unavailable("down"));
            }
            Ok(self.keys.lock().unwrap().get(id).cloned())
        }
    }

    fn stored(id: &str) -> StoredKey {
        let config = ApiKeyConfig {
            id: id.into(),
            hash: format!("sha256:{}", "0".repeat(64)),
            tenant: "t".into(),
            subject: "s".into(),
            scopes: vec!["query".into()],
            groups: Vec::new(),
            all_groups: false,
        };
        configured(&config).unwrap()
    }

    fn remembered() -> (Arc<Fake>, Remembered, Clock) {
        let (store, clock) = (Arc::new(Fake::default()), Clock::default());
        store.keys.lock().unwrap().insert("a".into(), stored("a"));
        let keys = Remembered::new(store.clone(), Ages::new(&AuthConfig::default()), clock.clone());
        (store, keys, clock)
    }

    #[tokio::test]
    async fn a_revocation_is_seen_after_five_seconds() {
        let (store, keys, clock) = remembered();
        assert!(keys.find("a").await.unwrap().unwrap().key.revoked_at.is_none());
        store.keys.lock().unwrap().get_mut("a").unwrap().key.revoked_at = Some(SystemTime::now());
        clock.advance(Duration::from_millis(4900));
        assert!(keys.find("a").await.unwrap().unwrap().key.revoked_at.is_none());
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_millis(100));
        assert!(keys.find("a").await.unwrap().unwrap().key.revoked_at.is_some());
    }

    #[tokio::test]
    async fn unknown_ids_are_remembered_too() {
        let (store, keys, clock) = remembered();
        for _ in 0..3 {
            assert_eq!(keys.find("b").await, Ok(None));
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        store.keys.lock().unwrap().insert("b".into(), stored("b"));
        clock.advance(Duration::from_secs(5));
        assert!(keys.find("b").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_outage_is_bridged_for_known_keys_only() {
        let (store, keys, clock) = remembered();
        keys.find("a").await.unwrap();
        keys.find("b").await.unwrap();
        store.broken.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_secs(6));
        for _ in 0..3 {
            assert!(keys.find("a").await.unwrap().is_some());
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 3, "a broken store is asked once in five seconds");
        assert_eq!(keys.find("b").await, Err(Reason::StoreUnavailable), "nobody knows whether it was made meanwhile");
        assert_eq!(keys.find("c").await, Err(Reason::StoreUnavailable));
        clock.advance(Duration::from_secs(294));
        assert_eq!(keys.find("a").await, Err(Reason::StoreUnavailable), "not for ever");
        store.broken.store(false, Ordering::SeqCst);
        assert!(keys.find("a").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_key_deleted_during_an_outage_does_not_come_back() {
        let (store, keys, clock) = remembered();
        keys.find("a").await.unwrap();
        store.keys.lock().unwrap().clear();
        clock.advance(Duration::from_secs(5));
        assert_eq!(keys.find("a").await, Ok(None));
        store.broken.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_secs(5));
        assert_eq!(keys.find("a").await, Err(Reason::StoreUnavailable));
    }

    #[tokio::test]
    async fn many_callers_ask_once() {
        let (store, keys, _) = remembered();
        let calls: Vec<_> = (0..50)
            .map(|_| {
                tokio::spawn({
                    let keys = keys.clone();
                    async move { keys.find("a").await }
                })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap().unwrap().is_some());
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    }
}
