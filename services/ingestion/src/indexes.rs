//! Changing the indexes while they serve: moving to another embedding model, and to other shards.

use std::time::Duration;

use futures::future::join_all;
use ragstone_core::ports::Unfinished;
use ragstone_core::{
    AuditAct, AuditAction, Caller, DocumentId, Error, ErrorCode, Index, IndexName, IndexState, JobKind, Result,
    TenantId, Topology,
};

use crate::follow::Changes;
use crate::index::Entry;
use crate::targets::Targets;

/// Documents looked at, and jobs enqueued, at a time.
const PAGE: u32 = 1000;
/// Documents become live in the index a moment before the catalog says so: counts may differ for that long.
const COUNT_TRIES: u32 = 20;
const COUNT_PAUSE: Duration = Duration::from_millis(250);

/// An index and how far it is.
#[derive(Debug, Clone)]
pub(crate) struct IndexProgress {
    /// As the catalog has it.
    pub(crate) index: Index,
    /// Its `Rebuild` jobs.
    pub(crate) unfinished: Unfinished,
    /// Documents live in it; where they were not counted, those expected less those that have a job.
    pub(crate) documents: u64,
    /// Documents live in the catalog.
    pub(crate) expected: u64,
    /// Where its documents are placed.
    pub(crate) topology: Topology,
}

/// How far a move between shards is, over all indexes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReshardProgress {
    /// Of the index that serves.
    pub(crate) topology: Topology,
    /// The `Move` jobs.
    pub(crate) unfinished: Unfinished,
}

/// What administrators ask for.
#[derive(Clone)]
pub(crate) struct Indexes {
    pub(crate) targets: Targets,
    pub(crate) changes: Changes,
}

impl Indexes {
    /// Every index with its progress, oldest first.
    pub(crate) async fn read(&self) -> Result<Vec<IndexProgress>> {
        let stored = self.targets.index.scan(true).await?;
        let expected = self.targets.catalog.live_count().await?;
        let mut all = Vec::new();
        for index in self.targets.catalog.indexes().await? {
            let entry = stored.iter().find(|entry| entry.name == index.spec.name).cloned();
            let (documents, topology) = entry
                .map_or((0, Topology::default()), |entry: Entry| (entry.documents.unwrap_or_default(), entry.topology));
            let unfinished = self.targets.catalog.unfinished(JobKind::Rebuild, &index.spec.name).await?;
            all.push(IndexProgress { index, unfinished, documents, expected, topology });
        }
        Ok(all)
    }

    /// This index with its progress. Counting its documents takes the store long: that is done only when none is missing.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn progress(&self, name: &IndexName) -> Result<IndexProgress> {
        let known = self.targets.catalog.indexes().await?;
        let index = known.into_iter().find(|index| index.spec.name == *name);
        let index = index.ok_or_else(|| Error::not_found(format!("there is no index '{name}'")))?;
        let unfinished = self.targets.catalog.unfinished(JobKind::Rebuild, name).await?;
        let expected = self.targets.catalog.live_count().await?;
        let missing = unfinished.active + unfinished.stuck;
        let entry = self.targets.index.look(name, missing == 0).await?;
        let there = if entry.is_some() { expected.saturating_sub(missing) } else { 0 };
        let (counted, topology) = entry.map(|entry| (entry.documents, entry.topology)).unwrap_or_default();
        let documents = if missing == 0 { counted.unwrap_or_default() } else { there };
        Ok(IndexProgress { index, unfinished, documents, expected, topology })
    }

    /// Begins an index for `model`, or goes on with it; jobs that failed get another chance.
    ///
    /// # Errors
    /// `NotFound` when the embedding service has no such model; `Conflict` when its index serves already, or when
    /// something else is in the store under its name.
    pub(crate) async fn begin_reindex(&self, caller: &Caller, model: &str) -> Result<IndexProgress> {
        if model.is_empty() {
            return Err(Error::invalid("field 'model' is missing"));
        }
        let spec = self.targets.embedding.model(model).await?.spec.clone();
        let known = self.targets.catalog.indexes().await?;
        if known.iter().any(|index| index.spec == spec && index.state == IndexState::Serving) {
            return Err(Error::conflict(format!("the index of model '{model}' serves already")));
        }
        self.targets.index.create(&spec).await?;
        // One that is known has its jobs already: only those that failed are enqueued again.
        if known.iter().any(|index| index.spec == spec) {
            self.note(caller, AuditAction::ReindexBegin, spec.name.as_str()).await?;
        } else {
            self.targets.catalog.add_index(&spec, Some(caller)).await?;
        }
        let again = self.targets.catalog.retry_unfinished(JobKind::Rebuild, &spec.name).await?;
        tracing::info!(index = %spec.name, again, "an index is being filled");
        self.changes.work_added();
        self.progress(&spec.name).await
    }

    /// Lets a complete index serve; without a name the one that served before.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while documents are missing in it.
    pub(crate) async fn switch(&self, caller: &Caller, name: Option<IndexName>) -> Result<IndexProgress> {
        let name = match name {
            Some(name) => name,
            None => self.standby().await?,
        };
        let complete = self.check_counts(&name).await?;
        // The catalog first, which refuses while jobs are unfinished; a switch that breaks off here is mended by
        // `Targets::reconcile`, or by asking again.
        self.targets.catalog.serve_index(&name, Some(caller)).await?;
        self.targets.index.serve(&name).await?;
        tracing::info!(index = %name, "this index serves now");
        Ok(IndexProgress { index: Index { state: IndexState::Serving, ..complete.index }, ..complete })
    }

    /// The index that served last before the one that serves.
    async fn standby(&self) -> Result<IndexName> {
        let indexes = self.targets.catalog.indexes().await?;
        let standby = indexes.into_iter().rev().find(|index| index.state == IndexState::Standby);
        let standby = standby.ok_or_else(|| Error::conflict("there is no earlier index to go back to"))?;
        Ok(standby.spec.name)
    }

    /// The index, when it holds every document.
    async fn check_counts(&self, name: &IndexName) -> Result<IndexProgress> {
        let mut tries = 0;
        loop {
            let progress = self.progress(name).await?;
            let IndexProgress { documents, expected, unfinished: Unfinished { active, stuck }, .. } = progress;
            if active + stuck > 0 {
                let message = format!("index '{name}' is not complete: {active} documents wait, {stuck} failed");
                return Err(Error::conflict(message));
            }
            // Each running job may have published its document and not yet told the catalog.
            let (_, running, _) = self.targets.catalog.queue_depth().await?;
            if documents.abs_diff(expected) <= running {
                return Ok(progress);
            }
            tries += 1;
            if tries == COUNT_TRIES {
                let message = format!(
                    "index '{name}' holds {documents} documents, the catalog {expected}: drop it and build it anew"
                );
                return Err(Error::conflict(message));
            }
            tokio::time::sleep(COUNT_PAUSE).await;
        }
    }

    /// Removes an index that does not serve.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it serves.
    pub(crate) async fn drop_index(&self, caller: &Caller, name: &IndexName) -> Result<()> {
        let known = self.targets.catalog.indexes().await?;
        // A removal that broke off may have left it in the store alone.
        let in_store = async || Ok::<_, Error>(self.targets.index.scan(false).await?.iter().any(|e| e.name == *name));
        if !known.iter().any(|index| index.spec.name == *name) && !in_store().await? {
            return Err(Error::not_found(format!("there is no index '{name}'")));
        }
        // The catalog first: from then on nobody writes to it.
        self.targets.catalog.remove_index(name, Some(caller)).await?;
        self.targets.index.drop_index(name).await
    }

    /// Begins to place documents on `shards`, in every index, or goes on with it.
    ///
    /// # Errors
    /// `Conflict` while documents move to other shards; `Unprocessable` where the store cannot.
    pub(crate) async fn reshard(&self, caller: &Caller, shards: &[String]) -> Result<ReshardProgress> {
        if shards.is_empty() {
            return Err(Error::invalid("field 'shards' is missing: name at least one"));
        }
        // At once: each waits until every reader and writer of its index knows.
        let indexes = self.targets.catalog.indexes().await?;
        if indexes.is_empty() {
            return Err(Error::conflict("there is no index yet: the first document makes it"));
        }
        // First: nothing moves without a trace of who wanted it.
        self.note(caller, AuditAction::ReshardBegin, &shards.join(" ")).await?;
        let begun = join_all(indexes.iter().map(|index| self.begin_reshard(&index.spec.name, shards))).await;
        begun.into_iter().collect::<Result<()>>()?;
        self.changes.work_added();
        self.reshard_progress().await
    }

    async fn note(&self, caller: &Caller, action: AuditAction, object: &str) -> Result<()> {
        let act = AuditAct { action, object_id: object.to_owned(), detail: String::new() };
        self.targets.catalog.record(caller, act).await
    }

    async fn begin_reshard(&self, name: &IndexName, shards: &[String]) -> Result<()> {
        let topology = self.targets.index.begin_reshard(name, shards).await?;
        let enqueued = self.enqueue_moves(name, &topology).await?;
        self.targets.catalog.retry_unfinished(JobKind::Move, name).await?;
        tracing::info!(index = %name, enqueued, "documents move to their new shards");
        Ok(())
    }

    /// Whether the serving index holds every document: after a restore, or when its store was lost, it is filled anew.
    ///
    /// # Errors
    /// `Unavailable`, with the numbers, while documents are missing in it.
    pub(crate) async fn check_serving(&self) -> Result<()> {
        let indexes = self.targets.catalog.indexes().await?;
        for index in indexes.iter().filter(|index| index.state == IndexState::Serving) {
            let name = &index.spec.name;
            let Unfinished { active, stuck } = self.targets.catalog.unfinished(JobKind::Rebuild, name).await?;
            if active + stuck > 0 {
                let message = format!("index '{name}' is being filled: {active} documents wait, {stuck} failed");
                return Err(Error::unavailable(message));
            }
        }
        Ok(())
    }

    /// Enqueues a job for every document that has to leave its shard.
    async fn enqueue_moves(&self, name: &IndexName, topology: &Topology) -> Result<u64> {
        let (mut after, mut enqueued) = (None::<(TenantId, DocumentId)>, 0);
        loop {
            let page = self.targets.catalog.live_documents(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(enqueued) };
            after = Some((last.tenant.clone(), last.id.clone()));
            let leaving = page.into_iter().filter(|d| topology.leaves(d.tenant.as_str(), d.id.as_str()).is_some());
            let leaving: Vec<_> = leaving.map(|document| (document.tenant, document.id)).collect();
            enqueued += self.targets.catalog.enqueue(JobKind::Move, name, &leaving).await?;
        }
    }

    /// How far a move is, over all indexes.
    pub(crate) async fn reshard_progress(&self) -> Result<ReshardProgress> {
        let mut progress = ReshardProgress::default();
        for index in self.targets.catalog.indexes().await? {
            let topology = self.targets.index.topology(&index.spec.name).await?;
            let unfinished = self.targets.catalog.unfinished(JobKind::Move, &index.spec.name).await?;
            progress.unfinished.active += unfinished.active;
            progress.unfinished.stuck += unfinished.stuck;
            if index.state == IndexState::Serving || topology.moving_to.is_some() {
                progress.topology = topology;
            }
        }
        Ok(progress)
    }

    /// Lets the index serve that the catalog says, and ends the moves whose documents are all where they belong. Several
    /// processes may do this at the same time.
    ///
    /// # Errors
    /// The first failure; the other indexes are looked after all the same.
    pub(crate) async fn look_after(&self) -> Result<()> {
        let stored = self.targets.index.scan(false).await?;
        let mut outcome = Ok(());
        for index in self.targets.catalog.indexes().await? {
            let Some(entry) = stored.iter().find(|entry| entry.name == index.spec.name) else { continue };
            if index.state == IndexState::Serving && !entry.serving {
                // A switch broke off between the catalog and the store.
                outcome = outcome.and(self.targets.index.serve(&entry.name).await);
            }
            if let Some(target) = &entry.topology.moving_to {
                outcome = outcome.and(self.settle_move(&entry.name, target).await);
            }
        }
        outcome
    }

    /// Ends the move to the shards `target` when its documents are all there; what was ingested while the jobs were
    /// enqueued is enqueued now, and a beginning that broke off is made whole.
    async fn settle_move(&self, name: &IndexName, target: &[String]) -> Result<()> {
        let Unfinished { active, stuck } = self.targets.catalog.unfinished(JobKind::Move, name).await?;
        if active + stuck > 0 {
            return Ok(());
        }
        match self.targets.index.finish_reshard(name).await {
            Err(error) if error.code == ErrorCode::Conflict => {
                let topology = self.targets.index.begin_reshard(name, target).await?;
                let enqueued = self.enqueue_moves(name, &topology).await?;
                tracing::info!(index = %name, enqueued, reason = error.message, "the move between shards goes on");
                self.changes.work_added();
                Ok(())
            }
            outcome => outcome.inspect(|()| tracing::info!(index = %name, "the move between shards has ended")),
        }
    }
}
