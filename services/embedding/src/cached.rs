//! The embedding cache: a text embedded once by a model need not be embedded again. Vectors never change for a
//! model revision, so entries have no time to live.

use std::sync::Arc;

use bytes::Bytes;
use ragstone_core::ports::{Cache, EmbedKind, Embedder, EmbedderInfo};
use ragstone_core::{Error, Result};

/// An embedder behind a cache.
pub(crate) struct Cached {
    embedder: Arc<dyn Embedder>,
    cache: Arc<dyn Cache>,
}

impl Cached {
    pub(crate) fn new(embedder: Arc<dyn Embedder>, cache: Arc<dyn Cache>) -> Self {
        Self { embedder, cache }
    }

    pub(crate) fn info(&self) -> &EmbedderInfo {
        self.embedder.info()
    }

    /// One vector for each text, in order; only those not in the cache are computed. A cache that fails is passed by.
    pub(crate) async fn embed(&self, texts: Vec<String>, kind: EmbedKind) -> Result<Vec<Vec<f32>>> {
        let keys: Vec<[u8; 32]> = texts.iter().map(|text| self.key(text, kind)).collect();
        let mut vectors: Vec<Option<Vec<f32>>> = Vec::with_capacity(texts.len());
        for key in &keys {
            vectors.push(self.lookup(key).await);
        }
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        count("hit", texts.len() - missing.len());
        count("miss", missing.len());
        if missing.is_empty() {
            return Ok(vectors.into_iter().flatten().collect());
        }
        let mut texts = texts;
        let wanted = missing.iter().map(|&i| std::mem::take(&mut texts[i])).collect();
        let computed = self.embedder.embed(wanted, kind).await?;
        if computed.len() != missing.len() {
            return Err(Error::internal("the embedder returned another number of vectors than texts"));
        }
        for (&i, vector) in missing.iter().zip(computed) {
            let bytes = Bytes::from_iter(vector.iter().flat_map(|value| value.to_le_bytes()));
            if let Err(error) = self.cache.set(&keys[i], bytes, None).await {
                tracing::warn!(%error, "an embedding could not be cached");
            }
            vectors[i] = Some(vector);
        }
        Ok(vectors.into_iter().flatten().collect())
    }

    /// BLAKE3 over length-prefixed {revision, dimension, kind, text}.
    fn key(&self, text: &str, kind: EmbedKind) -> [u8; 32] {
        let info = self.embedder.info();
        let mut hasher = blake3::Hasher::new();
        for part in [info.revision.as_bytes(), text.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.update(&(info.dimension as u64).to_le_bytes());
        hasher.update(&[match kind {
            EmbedKind::Query => 0,
            EmbedKind::Passage => 1,
        }]);
        *hasher.finalize().as_bytes()
    }

    async fn lookup(&self, key: &[u8]) -> Option<Vec<f32>> {
        let bytes = match self.cache.get(key).await {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(%error, "the embedding cache does not answer");
                return None;
            }
        };
        let (values, rest) = bytes.as_chunks::<4>();
        let whole = rest.is_empty() && values.len() == self.embedder.info().dimension;
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
    use super::*;
    use ragstone_cache::MemoryCache;
    use std::sync::Mutex;

    /// Embeds a text as its length and remembers what it was asked.
    struct Lengths {
        info: EmbedderInfo,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait::async_trait]
    impl Embedder for Lengths {
        fn info(&self) -> &EmbedderInfo {
            &self.info
        }

        async fn embed(&self, texts: Vec<String>, _kind: EmbedKind) -> Result<Vec<Vec<f32>>> {
            let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect();
            self.asked.lock().unwrap().extend(texts);
            Ok(vectors)
        }
    }

    #[tokio::test]
    async fn only_what_is_missing_is_computed_and_the_order_is_kept() {
        let info = EmbedderInfo { model: "m".into(), revision: "r".into(), dimension: 2, max_tokens: 9 };
        let embedder = Arc::new(Lengths { info, asked: Mutex::default() });
        let cached = Cached::new(embedder.clone(), Arc::new(MemoryCache::new(1 << 20)));
        let texts = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();

        cached.embed(texts(&["a", "bbb"]), EmbedKind::Passage).await.unwrap();
        let vectors = cached.embed(texts(&["cc", "bbb", "a", "dddd"]), EmbedKind::Passage).await.unwrap();
        assert_eq!(vectors.iter().map(|v| v[0]).collect::<Vec<_>>(), [2.0, 3.0, 1.0, 4.0]);
        assert_eq!(*embedder.asked.lock().unwrap(), ["a", "bbb", "cc", "dddd"]);
        // A query is another key than a passage.
        cached.embed(texts(&["a"]), EmbedKind::Query).await.unwrap();
        assert_eq!(embedder.asked.lock().unwrap().len(), 5);
    }
}
