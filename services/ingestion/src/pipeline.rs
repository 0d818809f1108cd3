//! A document, step by step: from the accepted bytes to a searchable version, resumable at every stage.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ragstone_core::ports::{Catalog, LeasedJob, VersionText};
use ragstone_core::{Chunk, Error, ErrorCode, IndexName, Job, JobKind, Result, Stage};
use ragstone_text::injection;

use crate::bodies::Bodies;
use crate::embed::Model;
use crate::index::{Batch, Place};
use crate::targets::{Target, Targets};
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
    pub(crate) targets: Targets,
}

/// One run of one job.
struct Run<'a> {
    leased: &'a LeasedJob,
    progress: &'a Progress,
    /// The indexes it still writes to.
    targets: Vec<Target>,
    /// How many chunks the version has in each index, where that is known by now.
    chunks: HashMap<IndexName, u32>,
}

impl Pipeline {
    /// Does what is left of the leased job. Each stage may be repeated: a crash anywhere costs at most the stage it
    /// was in. Dropping the future stops the work.
    pub(crate) async fn run(&self, leased: &LeasedJob, progress: &Progress) -> Result<Outcome> {
        let targets = self.targets.of(leased).await?;
        let mut run = Run { leased, progress, targets, chunks: HashMap::new() };
        if leased.job.kind == JobKind::Move || run.targets.is_empty() {
            return self.relocate(&run).await;
        }
        let mut reached = leased.job.stage;
        // Which indexes a version was published in is not written down: a job resumed at its end publishes again, which
        // changes nothing where it was, and finds out where it was not.
        let removal = leased.job.kind == JobKind::Delete;
        let from = if removal { leased.job.stage } else { leased.job.stage.min(Stage::Publish) };
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= from) {
            if self.catalog.superseded(&leased.lease).await? {
                self.bodies.complete(&self.catalog, &leased.lease, &[]).await?;
                return Ok(Outcome::Superseded);
            }
            if stage > reached {
                self.catalog.advance(&leased.lease, stage).await?;
                reached = stage;
            }
            let started = Instant::now();
            match stage {
                Stage::Extract => {
                    self.extract(&run).await?;
                    reached = Stage::Embed;
                }
                Stage::Embed => self.on_each_index(&mut run, Step::Embed).await?,
                Stage::Publish => self.on_each_index(&mut run, Step::Publish).await?,
                Stage::Clean => self.clean(&mut run).await?,
            }
            let seconds = started.elapsed().as_secs_f64();
            metrics::histogram!("rag_ingest_stage_seconds", "stage" => stage.as_str()).record(seconds);
        }
        Ok(Outcome::Completed)
    }

    /// Brings the document to its shard in the index the job is about, if that is still there.
    async fn relocate(&self, run: &Run<'_>) -> Result<Outcome> {
        for target in &run.targets {
            self.targets.index.relocate(run.place(target)).await?;
        }
        self.bodies.complete(&self.catalog, &run.leased.lease, &[]).await?;
        Ok(Outcome::Completed)
    }

    /// Body to chunks, as long as the serving model reads them. Storing them moves the job to `Embed` in the same
    /// transaction.
    async fn extract(&self, run: &Run<'_>) -> Result<()> {
        let serving = run.targets.first().ok_or_else(|| Error::internal("there is no index"))?;
        let model = self.targets.model(&serving.spec).await?;
        let body = self.bodies.get(&run.leased.version.content_hash).await?;
        let text = self.text.make(&run.leased.version, body, model.chunker.clone()).await?;
        self.catalog.store_text(&run.leased.lease, text).await
    }

    /// Takes the step on every index. An index that does not serve and fails is left to a later `Rebuild` job: nobody
    /// has to wait for it.
    async fn on_each_index(&self, run: &mut Run<'_>, step: Step) -> Result<()> {
        for target in run.targets.clone() {
            let outcome = match step {
                Step::Embed => self.embed(run, &target).await,
                Step::Publish => self.publish(run, &target).await,
                Step::Remove => self.targets.index.remove(run.place(&target), run.leased.job.version).await,
            };
            match outcome {
                Err(error) if !target.serving && run.leased.job.kind == JobKind::Ingest => {
                    tracing::warn!(index = %target.spec.name, error = error.chain(), "left to a rebuild of this index");
                    run.targets.retain(|other| other.spec.name != target.spec.name);
                }
                // The index was dropped in the meantime.
                Err(error) if error.code == ErrorCode::NotFound && step == Step::Remove && !target.serving => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Chunks to the index, staged: nobody sees them yet.
    async fn embed(&self, run: &mut Run<'_>, target: &Target) -> Result<()> {
        let model = self.targets.model(&target.spec).await?;
        let (text, scores) = self.fitted(run, &model).await?;
        let mut done = 0;
        while done < text.chunks.len() {
            run.progress.set(EMBED_FROM + (EMBED_TO - EMBED_FROM) * done as f32 / text.chunks.len() as f32);
            let chunks = next_batch(&text.chunks[done..]);
            let texts = chunks.iter().map(|chunk| chunk.content.clone()).collect();
            let vectors = self.targets.embedding.embed(&model, texts).await?;
            let (title, language) = (text.title.as_str(), text.language.as_deref());
            let (job, version) = (&run.leased.job, &run.leased.version);
            let scores = &scores[done..done + chunks.len()];
            let batch = Batch { job, version, title, language, chunks, vectors, scores };
            self.targets.index.stage(&target.spec.name, batch).await?;
            done += chunks.len();
        }
        run.progress.set(EMBED_TO);
        Ok(())
    }

    /// The version's text in chunks that this model reads whole, and how much each looks like an injection; `run` knows
    /// their number from now on. The scores are not stored with the text: they follow from it, and a rebuilt index gets
    /// those of today's rules.
    async fn fitted(&self, run: &mut Run<'_>, model: &Arc<Model>) -> Result<(VersionText, Vec<f32>)> {
        let mut text = self.catalog.text(&run.leased.lease).await?;
        let (fitting_model, chunks) = (model.clone(), std::mem::take(&mut text.chunks));
        // Counting a long text's tokens takes a while.
        let fitting = tokio::task::spawn_blocking(move || {
            let chunks = fitting_model.chunker.refit(chunks)?;
            let scores = chunks.iter().map(|chunk| injection::score(&chunk.content).score).collect();
            Ok::<_, Error>((chunks, scores))
        });
        let fitted = fitting.await.map_err(|e| Error::internal("fitting chunks to the model failed").with_source(e))?;
        let scores;
        (text.chunks, scores) = fitted?;
        let count = u32::try_from(text.chunks.len()).map_err(|e| Error::internal("too many chunks").with_source(e))?;
        run.chunks.insert(model.spec.name.clone(), count);
        Ok((text, scores))
    }

    /// The version becomes visible in place of the older one. Staged chunks may be gone after a crash of the index:
    /// then they are staged once more.
    async fn publish(&self, run: &mut Run<'_>, target: &Target) -> Result<()> {
        let (name, version) = (&target.spec.name, run.leased.job.version);
        if !run.chunks.contains_key(name) {
            let model = self.targets.model(&target.spec).await?;
            self.fitted(run, &model).await?;
        }
        let chunks = run.chunks.get(name).copied().unwrap_or_default();
        match self.targets.index.publish(run.place(target), version, chunks).await {
            Err(error) if error.code == ErrorCode::NotFound => {
                tracing::warn!(index = %name, "the index has lost staged chunks, they are staged again");
                self.embed(run, target).await?;
                self.targets.index.publish(run.place(target), version, chunks).await
            }
            outcome => outcome,
        }
    }

    /// Older versions go, from the indexes and then from the store. A removal is only this.
    async fn clean(&self, run: &mut Run<'_>) -> Result<()> {
        self.on_each_index(run, Step::Remove).await?;
        let written: Vec<IndexName> = run.targets.iter().map(|target| target.spec.name.clone()).collect();
        self.bodies.complete(&self.catalog, &run.leased.lease, &written).await
    }
}

/// What is done on one index after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Embed,
    Publish,
    Remove,
}

impl Run<'_> {
    fn place<'a>(&'a self, target: &'a Target) -> Place<'a> {
        let Job { tenant, document_id: document, .. } = &self.leased.job;
        Place { index: &target.spec.name, tenant, document }
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
