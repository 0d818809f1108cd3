//! The embedding cache: a text embedded once by a model need not be embedded again. Vectors never change for a
//! model revision.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ragstone_core::ports::{Cache, EmbedKind, EmbedderInfo};
use ragstone_core::{Error, Result};
use ragstone_resilience::Deadline;

use crate::engine::Engine;

/// A model behind a cache.
pub(crate) struct Cached {
    engine: Arc<dyn Engine>,
    cache: Arc<dyn Cache>,
    ttl: Option<Duration>,
}

impl Cached {
    pub(crate) fn new(engine: Arc<dyn Engine>, cache: Arc<dyn Cache>, ttl: Option<Duration>) -> Self {
        Self { engine, cache, ttl }
    }

    pub(crate) fn info(&self) -> &EmbedderInfo {
        self.engine.info()
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// One vector for each text, in order; only those not in the cache are computed. A cache that fails is passed by.
    pub(crate) async fn embed(&self, texts: Vec<String>, kind: EmbedKind, deadline: Deadline) -> Result<Vec<Vec<f32>>> {
        let keys: Vec<Vec<u8>> = texts.iter().map(|text| self.key(text, kind).to_vec()).collect();
        let mut vectors = self.lookup(&keys).await;
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        count("hit", texts.len() - missing.len());
        count("miss", missing.len());
        if missing.is_empty() {
            return Ok(vectors.into_iter().flatten().collect());
        }
        let mut texts = texts;
        let wanted = missing.iter().map(|&i| std::mem::take(&mut texts[i])).collect();
        let computed = self.engine.embed(wanted, kind, deadline).await?;
        if computed.len() != missing.len() {
            return Err(Error::internal("the embedder returned another number of vectors than texts"));
        }
        let mut entries = Vec::with_capacity(missing.len());
        for (&i, vector) in missing.iter().zip(computed) {
            let bytes = Bytes::from_iter(vector.iter().flat_map(|value| value.to_le_bytes()));
            entries.push((keys[i].clone(), bytes));
            vectors[i] = Some(vector);
        }
        if let Err(error) = self.cache.set_many(entries, self.ttl).await {
            tracing::warn!(%error, "embeddings could not be cached");
        }
        Ok(vectors.into_iter().flatten().collect())
    }

    /// BLAKE3 over length-prefixed {model, revision, text}, dimension and kind.
    fn key(&self, text: &str, kind: EmbedKind) -> [u8; 32] {
        let info = self.info();
        let mut hasher = blake3::Hasher::new();
        for part in [info.model.as_bytes(), info.revision.as_bytes(), text.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.update(&(info.dimension as u64).to_le_bytes());
        hasher.update(&[match kind {
            EmbedKind::Query => 0,
            EmbedKind::Passage => 1,
        }]);
        *hasher.finalize().as_bytes()
    }

    /// What the cache has of these, in order.
    async fn lookup(&self, keys: &[Vec<u8>]) -> Vec<Option<Vec<f32>>> {
        match self.cache.get_many(keys).await {
            Ok(found) if found.len() == keys.len() => found.into_iter().map(|bytes| self.vector(&bytes?)).collect(),
            Ok(found) => {
                tracing::warn!(asked = keys.len(), answered = found.len(), "the embedding cache lost count");
                vec![None; keys.len()]
            }
            Err(error) => {
                tracing::warn!(%error, "the embedding cache does not answer");
                vec![None; keys.len()]
            }
        }
    }

    fn vector(&self, bytes: &Bytes) -> Option<Vec<f32>> {
        let (values, rest) = bytes.as_chunks::<4>();
        let whole = rest.is_empty() && values.len() == self.info().dimension;
        whole.then(|| values.iter().copied().map(f32::from_le_bytes).collect())
    }
}

fn count(result: &'static str, number: usize) {
    let counter = metrics::counter!("rag_cache_requests_total", "cache" => "embedding", "result" => result);
    counter.increment(number as u64);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use ragstone_cache::MemoryCache;

    use super::*;

    /// Embeds a text as its length and remembers what it was asked.
    struct Lengths {
        info: EmbedderInfo,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Engine for Lengths {
        fn info(&self) -> &EmbedderInfo {
            &self.info
        }

        async fn embed(&self, texts: Vec<String>, _kind: EmbedKind, _deadline: Deadline) -> Result<Vec<Vec<f32>>> {
            let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect();
            self.asked.lock().unwrap().extend(texts);
            Ok(vectors)
        }

        fn tokenizer_json(&self) -> &[u8] {
            &[]
        }

        fn bytes_per_token(&self) -> u32 {
            1
        }
    }

    /// Counts round trips; broken, it fails them.
    struct Counting {
        inner: MemoryCache,
        trips: AtomicUsize,
        broken: bool,
    }

    impl Counting {
        fn new(broken: bool) -> Arc<Self> {
            Arc::new(Self { inner: MemoryCache::new(1 << 20), trips: AtomicUsize::new(0), broken })
        }

        fn trip(&self) -> Result<()> {
            self.trips.fetch_add(1, Ordering::SeqCst);
            if self.broken { Err(Error::unavailable("broken")) } else { Ok(()) }
        }
    }

    #[async_trait]
    impl Cache for Counting {
        async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
            self.trip()?;
            self.inner.get(key).await
        }

        async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
            self.trip()?;
            self.inner.set(key, value, ttl).await
        }

        async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
            self.trip()?;
            self.inner.get_many(keys).await
        }

        async fn set_many(&self, entries: Vec<(Vec<u8>, Bytes)>, ttl: Option<Duration>) -> Result<()> {
            self.trip()?;
            self.inner.set_many(entries, ttl).await
        }

        async fn remove(&self, key: &[u8]) -> Result<()> {
            self.inner.remove(key).await
        }

        async fn check(&self) -> Result<()> {
            Ok(())
        }
    }

    fn model(name: &str, cache: &Arc<Counting>) -> (Arc<Lengths>, Cached) {
        let info = EmbedderInfo { model: name.into(), revision: "r".into(), dimension: 2, max_tokens: 9 };
        let engine = Arc::new(Lengths { info, asked: Mutex::default() });
        (Arc::clone(&engine), Cached::new(engine, cache.clone(), None))
    }

    async fn lengths(cached: &Cached, texts: &[&str], kind: EmbedKind) -> Vec<f32> {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        let vectors = cached.embed(texts, kind, Deadline::after(Duration::from_secs(9))).await.unwrap();
        vectors.iter().map(|vector| vector[0]).collect()
    }

    #[tokio::test]
    async fn only_what_is_missing_is_computed_and_the_order_is_kept() {
        let cache = Counting::new(false);
        let (engine, cached) = model("m", &cache);
        lengths(&cached, &["a", "bbb"], EmbedKind::Passage).await;
        assert_eq!(lengths(&cached, &["cc", "bbb", "a", "dddd"], EmbedKind::Passage).await, [2.0, 3.0, 1.0, 4.0]);
        assert_eq!(*engine.asked.lock().unwrap(), ["a", "bbb", "cc", "dddd"]);
        // A query is another key than a passage, and so is another model.
        lengths(&cached, &["a"], EmbedKind::Query).await;
        assert_eq!(engine.asked.lock().unwrap().len(), 5);
        let (other, of_other) = model("other", &cache);
        lengths(&of_other, &["a"], EmbedKind::Passage).await;
        assert_eq!(other.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_batch_costs_one_round_trip_each_way() {
        let cache = Counting::new(false);
        let (_, cached) = model("m", &cache);
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        lengths(&cached, &texts, EmbedKind::Passage).await;
        assert_eq!(cache.trips.load(Ordering::SeqCst), 2);
        lengths(&cached, &texts, EmbedKind::Passage).await;
        assert_eq!(cache.trips.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_broken_cache_is_passed_by() {
        let (engine, cached) = model("m", &Counting::new(true));
        for _ in 0..2 {
            assert_eq!(lengths(&cached, &["a", "bbb"], EmbedKind::Passage).await, [1.0, 3.0]);
        }
        assert_eq!(engine.asked.lock().unwrap().len(), 4);
    }
}
