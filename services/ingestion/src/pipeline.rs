//! A document, step by step: from the accepted bytes to a searchable version, resumable at every stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ragstone_core::ports::{Catalog, LeasedJob};
use ragstone_core::{Chunk, Error, ErrorCode, Result, Stage};

use crate::bodies::Bodies;
use crate::embed::Embedding;
use crate::index::{Batch, Index};
use crate::text::TextMaker;

/// The most texts of a call, by the contract of both services.
const BATCH_CHUNKS: usize = 100;
/// The most text of a call, so that messages stay far below gRPC's 4 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// Embedding is nearly all of the work; what comes before and after is the rest.
const EMBED_FROM: f32 = 0.1;
const EMBED_TO: f32 = 0.9;

/// Share of a job's work that is done; the heartbeat tells it.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU32);

impl Progress {
    pub(crate) fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, share: f32) {
        self.0.store(share.to_bits(), Ordering::Relaxed);
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The version is live, or the document gone.
    Completed,
    /// A newer version made it needless.
    Superseded,
}

/// Everything a document passes through.
pub(crate) struct Pipeline {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) text: TextMaker,
    pub(crate) embedding: Arc<dyn Embedding>,
    pub(crate) index: Arc<dyn Index>,
}

impl Pipeline {
    /// Does what is left of the leased job. Each stage may be repeated: a crash anywhere costs at most the stage it
    /// was in. Dropping the future stops the work.
    pub(crate) async fn run(&self, leased: &LeasedJob, progress: &Progress) -> Result<Outcome> {
        let mut reached = leased.job.stage;
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= leased.job.stage) {
            if self.catalog.superseded(&leased.lease).await? {
                self.bodies.complete(&self.catalog, &leased.lease).await?;
                return Ok(Outcome::Superseded);
            }
            if stage > reached {
                self.catalog.advance(&leased.lease, stage).await?;
                reached = stage;
            }
            let started = Instant::now();
            match stage {
                Stage::Extract => {
                    self.extract(leased).await?;
                    reached = Stage::Embed;
                }
                Stage::Embed => self.embed(leased, progress).await?,
                Stage::Publish => self.publish(leased, progress).await?,
                Stage::Clean => self.clean(leased).await?,
            }
            let seconds = started.elapsed().as_secs_f64();
            metrics::histogram!("rag_ingest_stage_seconds", "stage" => stage.as_str()).record(seconds);
        }
        Ok(Outcome::Completed)
    }

    /// Body to chunks. Storing them moves the job to `Embed` in the same transaction.
    async fn extract(&self, leased: &LeasedJob) -> Result<()> {
        let model = self.embedding.model().await?;
        let body = self.bodies.get(&leased.version.content_hash).await?;
        let text = self.text.make(&leased.version, body, model.chunker.clone()).await?;
        self.catalog.store_text(&leased.lease, text).await
    }

    /// Chunks to the index, staged: nobody sees them yet.
    async fn embed(&self, leased: &LeasedJob, progress: &Progress) -> Result<()> {
        let text = self.catalog.text(&leased.lease).await?;
        let mut done = 0;
        while done < text.chunks.len() {
            progress.set(EMBED_FROM + (EMBED_TO - EMBED_FROM) * done as f32 / text.chunks.len() as f32);
            let chunks = next_batch(&text.chunks[done..]);
            let vectors = self.embedding.embed(chunks.iter().map(|chunk| chunk.content.clone()).collect()).await?;
            let (title, language) = (text.title.as_str(), text.language.as_deref());
            let batch = Batch { job: &leased.job, version: &leased.version, title, language, chunks, vectors };
            self.index.stage(batch).await?;
            done += chunks.len();
        }
        progress.set(EMBED_TO);
        Ok(())
    }

    /// The version becomes visible in place of the older one. Staged chunks may be gone after a crash of the index:
    /// then they are staged once more.
    async fn publish(&self, leased: &LeasedJob, progress: &Progress) -> Result<()> {
        let job = &leased.job;
        let chunks = self.catalog.text(&leased.lease).await?.chunks.len();
        let chunks = u32::try_from(chunks).map_err(|e| Error::internal("too many chunks").with_source(e))?;
        match self.index.publish(&job.tenant, &job.document_id, job.version, chunks).await {
            Err(error) if error.code == ErrorCode::NotFound => {
                tracing::warn!(job = %job.id, "the index has lost staged chunks, they are staged again");
                self.embed(leased, progress).await?;
                self.index.publish(&job.tenant, &job.document_id, job.version, chunks).await
            }
            outcome => outcome,
        }
    }

    /// Older versions go, from the index and then from the store. A removal is only this.
    async fn clean(&self, leased: &LeasedJob) -> Result<()> {
        let job = &leased.job;
        self.index.remove(&job.tenant, &job.document_id, job.version).await?;
        self.bodies.complete(&self.catalog, &leased.lease).await
    }
}

/// As many chunks from the front as one call may carry; at least one.
fn next_batch(chunks: &[Chunk]) -> &[Chunk] {
    let mut bytes = 0;
    let fitting = chunks.iter().take(BATCH_CHUNKS).take_while(|chunk| {
        bytes += chunk.content.len();
        bytes <= BATCH_BYTES
    });
    &chunks[..fitting.count().max(1).min(chunks.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sizes: &[usize]) -> Vec<Chunk> {
        let chunk = |size: &usize| Chunk {
            index: 0,
            content: "x".repeat(*size),
            heading_path: Vec::new(),
            start: 0,
            end: 0,
            tokens: 1,
        };
        sizes.iter().map(chunk).collect()
    }

    #[test]
    fn batches_are_bounded_in_number_and_bytes_and_never_empty() {
        assert_eq!(next_batch(&chunks(&[1; 250])).len(), 100);
        assert_eq!(next_batch(&chunks(&[BATCH_BYTES / 2, BATCH_BYTES / 2, 1])).len(), 2);
        assert_eq!(next_batch(&chunks(&[BATCH_BYTES + 1, 1])).len(), 1);
        assert_eq!(next_batch(&chunks(&[3])).len(), 1);
    }
}
