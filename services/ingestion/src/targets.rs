//! The indexes a document is written to: every one there is, each by its own model.

use std::sync::Arc;

use ragstone_core::ports::{Catalog, LeasedJob};
use ragstone_core::{Error, ErrorCode, IndexSpec, IndexState, JobKind, Result};

use crate::embed::{Embedding, Model};
use crate::index::Index;

/// An index to write to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// What it holds.
    pub(crate) spec: IndexSpec,
    /// Whether searches use it: without it a document is not done. What the others miss is brought in later.
    pub(crate) serving: bool,
}

/// Knows the indexes and their models.
#[derive(Clone)]
pub(crate) struct Targets {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) embedding: Arc<dyn Embedding>,
    pub(crate) index: Arc<dyn Index>,
}

impl Targets {
    /// The indexes that this job is about, the serving one first. The very first index is made here, for the embedding
    /// service's default model.
    ///
    /// # Errors
    /// When a first index is needed and another service is away.
    pub(crate) async fn of(&self, leased: &LeasedJob) -> Result<Vec<Target>> {
        let mut targets = self.all().await?;
        if let Some(name) = &leased.index {
            targets.retain(|target| target.spec.name == *name);
        }
        Ok(targets)
    }

    /// Every index, the serving one first.
    async fn all(&self) -> Result<Vec<Target>> {
        let known = self.catalog.indexes().await?;
        if known.is_empty() {
            let spec = self.first().await?;
            return Ok(vec![Target { spec, serving: true }]);
        }
        let target =
            |index: ragstone_core::Index| Target { serving: index.state == IndexState::Serving, spec: index.spec };
        let mut targets: Vec<Target> = known.into_iter().map(target).collect();
        targets.sort_by_key(|target| !target.serving);
        Ok(targets)
    }

    async fn first(&self) -> Result<IndexSpec> {
        let spec = self.embedding.model("").await?.spec.clone();
        self.index.create(&spec).await?;
        self.catalog.add_index(&spec, None).await?;
        tracing::info!(index = %spec.name, dimension = spec.dimension, "the first index is made");
        Ok(spec)
    }

    /// Makes sure that every index of the catalog is in the store and that the same one serves in both: a store that was
    /// lost or restored, or a switch that broke off, is mended. What a new empty index misses is enqueued.
    ///
    /// # Errors
    /// When another service is away; `Conflict` when an index of the store holds something else.
    pub(crate) async fn reconcile(&self) -> Result<()> {
        let stored = self.index.scan(false).await?;
        for target in self.all().await? {
            let name = &target.spec.name;
            let found = stored.iter().find(|entry| entry.name == *name);
            if found.is_none() {
                // The jobs first: were they second and missing, an empty index would pass for a whole one.
                self.catalog.add_index(&target.spec, None).await?;
                self.index.create(&target.spec).await?;
                self.catalog.retry_unfinished(JobKind::Rebuild, name).await?;
            }
            if target.serving && !found.is_some_and(|entry| entry.serving) {
                self.index.serve(name).await?;
            }
            if target.serving {
                self.model(&target.spec).await?;
            }
        }
        Ok(())
    }

    /// The model whose vectors this index holds.
    ///
    /// # Errors
    /// `Unavailable` when the embedding service does not have it (any more): with it, the jobs that wait go on.
    pub(crate) async fn model(&self, spec: &IndexSpec) -> Result<Arc<Model>> {
        let missing = |found: &str| {
            let (name, model) = (&spec.name, &spec.model);
            Error::unavailable(format!(
                "index '{name}' holds vectors of model '{model}' in revision {}, but the embedding service {found}: \
                 let embedding.model or embedding.models name that model, or `ragstone reindex` to another one",
                spec.revision
            ))
        };
        match self.embedding.model(&spec.model).await {
            Ok(model) if model.spec == *spec => Ok(model),
            Ok(other) => Err(missing(&format!("has revision {}", other.spec.revision))),
            Err(error) if error.code == ErrorCode::NotFound => Err(missing("does not have it").with_source(error)),
            Err(error) => Err(error),
        }
    }
}
