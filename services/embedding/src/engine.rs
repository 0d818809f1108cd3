//! What makes the vectors: a model in this process or one behind an API.

use async_trait::async_trait;
use ragstone_core::Result;
use ragstone_core::ports::{EmbedKind, Embedder, EmbedderInfo};
use ragstone_llm::HttpEmbedder;
use ragstone_models::LocalEmbedder;
use ragstone_resilience::Deadline;

/// An embedder that knows until when its answer is wanted.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    fn info(&self) -> &EmbedderInfo;

    /// As [`Embedder::embed`]; waits for nothing that ends after `deadline`.
    async fn embed(&self, texts: Vec<String>, kind: EmbedKind, deadline: Deadline) -> Result<Vec<Vec<f32>>>;

    /// The tokenizer's JSON, empty where it is not known.
    fn tokenizer_json(&self) -> &[u8];

    /// How many bytes count as one token, where the tokenizer is not known.
    fn bytes_per_token(&self) -> u32;
}

#[async_trait]
impl Engine for LocalEmbedder {
    fn info(&self) -> &EmbedderInfo {
        Embedder::info(self)
    }

    async fn embed(&self, texts: Vec<String>, kind: EmbedKind, deadline: Deadline) -> Result<Vec<Vec<f32>>> {
        deadline.run(Embedder::embed(self, texts, kind)).await
    }

    fn tokenizer_json(&self) -> &[u8] {
        self.tokenizer_json()
    }

    fn bytes_per_token(&self) -> u32 {
        0
    }
}

#[async_trait]
impl Engine for HttpEmbedder {
    fn info(&self) -> &EmbedderInfo {
        Embedder::info(self)
    }

    async fn embed(&self, texts: Vec<String>, kind: EmbedKind, deadline: Deadline) -> Result<Vec<Vec<f32>>> {
        self.embed_by(texts, kind, deadline).await
    }

    fn tokenizer_json(&self) -> &[u8] {
        self.tokenizer_json()
    }

    fn bytes_per_token(&self) -> u32 {
        self.bytes_per_token()
    }
}
