//! One embedded index: N shards behind the `VectorStore` port.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use ragstone_core::ports::{Point, VectorStore};
use ragstone_core::{DocumentId, Error, IndexSpec, Result, SearchResult, ShardReport, TenantId, Topology, VectorQuery};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::analyzers::Analyzers;
use crate::edge::EdgeConfig;
use crate::edge::engine::NewPoint;
use crate::edge::filter::ReadFilter;
use crate::edge::layout::Shards;
use crate::edge::maintenance::Maintenance;
use crate::edge::manifest;
use crate::edge::shard::{Setting, Shard, StagedPoint, Writer};
use crate::fusion::{self, Found};
use crate::payload::{self, State};
use crate::question::{Question, check_vector};

/// A stored point, as tests and repair see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredPoint {
    /// Its tenant.
    pub tenant: String,
    /// Its document.
    pub document_id: String,
    /// The document's version.
    pub version: u64,
    /// Its position in the document.
    pub chunk_index: u32,
    /// Whether searches see it.
    pub live: bool,
}

/// One index of the embedded store; [`EdgeIndexes`](crate::EdgeIndexes) opens it.
#[derive(Debug)]
pub struct EdgeStore {
    timeout: Duration,
    pub(crate) shards: Arc<Shards>,
    parallel: Arc<Semaphore>,
    analyzers: Arc<Analyzers>,
    maintenance: Arc<Mutex<Maintenance>>,
}

impl EdgeStore {
    /// Opens the index in `directory`, or makes it, and mends what a crash may have left behind. A shard that cannot be
    /// opened is unhealthy and tried again in the background; the others serve. `lock` is held as long as a shard is open.
    ///
    /// # Errors
    /// `Conflict` when the directory was made for another dimension or model; `Unavailable` when no shard can be opened.
    pub(crate) fn open(
        directory: PathBuf,
        config: &EdgeConfig,
        spec: &IndexSpec,
        lock: Arc<std::fs::File>,
    ) -> Result<Self> {
        let analyzers = Arc::new(Analyzers::new());
        let setting = Setting {
            dimension: spec.dimension,
            analyzers: Arc::clone(&analyzers),
            min_free_bytes: config.min_free_disk_mib << 20,
            _lock: lock,
        };
        let shards = Arc::new(Shards::open(directory, config, spec, setting)?);
        Ok(Self {
            timeout: Duration::from_millis(config.shard_timeout_ms),
            parallel: Arc::new(Semaphore::new(config.max_parallel_searches as usize)),
            maintenance: Arc::new(Mutex::new(Maintenance::start(Arc::clone(&shards))?)),
            analyzers,
            shards,
        })
    }

    /// Flushes and closes every shard. The store answers `Unavailable` afterwards; the directory is free for another
    /// one when this one is dropped.
    ///
    /// # Errors
    /// The first shard's failure; the others are closed all the same.
    pub async fn close(&self) -> Result<()> {
        self.stop_maintenance().await?;
        let closed = join_all(self.all().iter().map(|shard| shard.write(Shard::close))).await;
        closed.into_iter().collect::<Result<Vec<()>>>()?;
        let shards = Arc::clone(&self.shards);
        blocking(move || manifest::mark_clean(&shards.directory)).await
    }

    /// Closes every shard so that the directory can be removed.
    pub(crate) async fn retire(&self) -> Result<()> {
        self.stop_maintenance().await?;
        try_join_all(self.all().iter().map(|shard| shard.write(Shard::retire))).await.map(drop)
    }

    async fn stop_maintenance(&self) -> Result<()> {
        let maintenance = Arc::clone(&self.maintenance);
        blocking(move || {
            maintenance.lock().unwrap_or_else(PoisonError::into_inner).stop();
            Ok(())
        })
        .await
    }

    /// Puts everything on disk, on every shard.
    ///
    /// # Errors
    /// `Unavailable` when a shard is out of service.
    pub async fn flush_all(&self) -> Result<()> {
        let all = self.all();
        let flushed = all.iter().map(|shard| {
            let target = shard.applied();
            shard.write(move |shard, writer| shard.flush_to(writer, target))
        });
        try_join_all(flushed).await.map(drop)
    }

    /// Every stored point, live or not, in order; one on its way to another shard may be there twice. For tests and
    /// repair: it reads the whole index.
    ///
    /// # Errors
    /// `Unavailable` when a shard cannot serve.
    pub async fn all_points(&self) -> Result<Vec<StoredPoint>> {
        let labels = self.on_every_shard(|shard, _| shard.all_labels()).await?;
        let point = |label: payload::Label| StoredPoint {
            tenant: label.tenant,
            document_id: label.document_id,
            version: label.version,
            chunk_index: label.chunk_index,
            live: label.state == State::Live,
        };
        let mut points: Vec<_> = labels.into_iter().flatten().map(|(_, label)| point(label)).collect();
        points.sort_unstable();
        Ok(points)
    }

    /// How many points are stored, live or not; one on its way to another shard may count twice.
    ///
    /// # Errors
    /// `Unavailable` when a shard cannot serve.
    pub async fn count(&self) -> Result<usize> {
        Ok(self.on_every_shard(|shard, _| shard.count()).await?.into_iter().sum())
    }

    /// Merges, cleans and indexes segments now; the store does it by itself after many changes.
    ///
    /// # Errors
    /// `Unavailable` when a shard cannot serve.
    pub async fn optimize(&self) -> Result<()> {
        let all = self.all().into_iter().map(|shard| blocking(move || shard.optimize()));
        try_join_all(all).await.map(drop)
    }

    fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.now().shards.values().cloned().collect()
    }

    async fn on_every_shard<T: Send + 'static>(&self, job: fn(&Shard, &mut Writer) -> Result<T>) -> Result<Vec<T>> {
        try_join_all(self.all().iter().map(|shard| shard.write(job))).await
    }

    /// Runs `job` as the only writer of the shard this document belongs to, with the document there and nowhere else.
    async fn on_its_shard<T: Send + 'static>(
        &self,
        tenant: &str,
        document: &str,
        job: impl FnOnce(&Shard, &mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let under_way = self.shards.writes.enter();
        let layout = self.shards.now();
        self.shards.bring(&layout, tenant, document).await?;
        let write = layout.place(tenant, document)?.write(move |shard, writer| {
            // Also when the caller has left: whoever waits for writes waits for this one.
            let _under_way = under_way;
            job(shard, writer)
        });
        write.await
    }

    /// What one shard found, within its time.
    async fn ask(&self, shard: &Arc<Shard>, question: &Arc<(Question, ReadFilter)>) -> Result<Found> {
        let work = async {
            let permit = Arc::clone(&self.parallel).acquire_owned().await;
            let permit = permit.map_err(|error| Error::internal("the store is closed").with_source(error))?;
            let (shard, question) = (Arc::clone(shard), Arc::clone(question));
            // Aborting keeps a search that has not begun from running for nobody.
            let task = AbortOnDropHandle::new(tokio::task::spawn_blocking(move || {
                let _permit = permit;
                shard.search(&question.0, &question.1)
            }));
            task.await.map_err(|error| Error::internal("a search stopped").with_source(error))?
        };
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(format!("shard {} did not answer in time", shard.name))))
    }
}

impl Drop for EdgeStore {
    fn drop(&mut self) {
        // Its thread holds the shards, which close, and then unlock the directory, when the last holder lets go.
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }
}

#[async_trait]
impl VectorStore for EdgeStore {
    fn spec(&self) -> &IndexSpec {
        &self.shards.spec
    }

    async fn search(&self, query: VectorQuery) -> Result<SearchResult> {
        let filter = ReadFilter::new(&query.access, &query.filter)?;
        let question = Arc::new((Question::new(&query, self.spec(), &self.analyzers)?, filter));
        let _under_way = self.shards.searches.enter();
        let layout = self.shards.now();
        let answers = join_all(layout.shards.values().map(|shard| self.ask(shard, &question))).await;
        let mut report = ShardReport { asked: answers.len() as u32, ..ShardReport::default() };
        let mut found = Vec::with_capacity(answers.len());
        let mut failure = None;
        for (name, answer) in layout.shards.keys().zip(answers) {
            match answer {
                Ok(answer) => found.push(answer),
                Err(error) => {
                    tracing::warn!(shard = %name, error = %error.chain(), "a shard is left out of a search");
                    report.missing.push(name.clone());
                    failure = Some(error);
                }
            }
        }
        report.answered = found.len() as u32;
        match failure {
            Some(error) if found.is_empty() => Err(Error::unavailable("no shard answered").with_source(error)),
            _ => Ok(SearchResult { hits: fusion::fuse(found, question.0.limit, query.k), shards: report }),
        }
    }

    async fn upsert_staged(&self, points: Vec<Point>) -> Result<()> {
        points.iter().try_for_each(|point| check_vector(&point.vector, self.spec()))?;
        let under_way = self.shards.writes.enter();
        let layout = self.shards.now();
        let documents: BTreeSet<_> = points.iter().map(|point| (&point.tenant, &point.document_id)).collect();
        for (tenant, document) in documents {
            self.shards.bring(&layout, tenant.as_str(), document.as_str()).await?;
        }
        let mut batches: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
        for point in points {
            let shard = layout.place(point.tenant.as_str(), point.document_id.as_str())?;
            batches.entry(&shard.name).or_default().push(point);
        }
        let stored = batches.into_iter().filter_map(|(name, points)| Some((layout.shards.get(name)?, points)));
        let stored = stored.map(|(shard, points)| {
            let (analyzers, under_way) = (Arc::clone(&self.analyzers), under_way.clone());
            shard.write(move |shard, writer| {
                let _under_way = under_way;
                let staged = points.into_iter().map(|point| stage(&analyzers, point)).collect::<Result<_>>()?;
                shard.upsert(writer, staged)
            })
        });
        try_join_all(stored).await.map(drop)
    }

    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()> {
        let (t, d) = (tenant.as_str().to_owned(), document.as_str().to_owned());
        let publish = move |shard: &Shard, writer: &mut Writer| shard.publish(writer, &t, &d, version, chunks);
        self.on_its_shard(tenant.as_str(), document.as_str(), publish).await
    }

    async fn remove_versions(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()> {
        let (t, d) = (tenant.as_str().to_owned(), document.as_str().to_owned());
        let remove = move |shard: &Shard, writer: &mut Writer| shard.remove(writer, &t, &d, below);
        self.on_its_shard(tenant.as_str(), document.as_str(), remove).await
    }

    async fn flush(&self, tenant: &TenantId, document: &DocumentId) -> Result<()> {
        let _under_way = self.shards.writes.enter();
        let layout = self.shards.now();
        // Both, as it may have been written before it was to leave.
        let (tenant, document) = (tenant.as_str(), document.as_str());
        let shards = [Some(layout.place(tenant, document)?), layout.leaves(tenant, document)];
        let flushed = shards.into_iter().flatten().map(|shard| {
            let target = shard.applied();
            shard.write(move |shard, writer| shard.flush_to(writer, target))
        });
        try_join_all(flushed).await.map(drop)
    }

    async fn live_documents(&self) -> Result<u64> {
        // Like a search: no document leaves a shard that was not counted yet for one that was.
        let _under_way = self.shards.searches.enter();
        if self.shards.now().topology.moving_to.is_none() {
            let counts = self.on_every_shard(|shard, _| shard.count_live_documents()).await?;
            return Ok(counts.into_iter().sum::<usize>() as u64);
        }
        let documents = self.on_every_shard(|shard, _| shard.live_documents()).await?;
        Ok(documents.into_iter().flatten().collect::<BTreeSet<_>>().len() as u64)
    }

    async fn unhealthy_shards(&self) -> Vec<String> {
        self.all().iter().filter(|shard| !shard.is_healthy()).map(|shard| shard.name.clone()).collect()
    }

    async fn topology(&self) -> Result<Topology> {
        Ok(self.shards.now().topology.clone())
    }

    async fn begin_reshard(&self, shards: &[String]) -> Result<()> {
        self.shards.begin(shards).await
    }

    async fn move_document(&self, tenant: &TenantId, document: &DocumentId) -> Result<bool> {
        let _under_way = self.shards.writes.enter();
        let layout = self.shards.now();
        self.shards.bring(&layout, tenant.as_str(), document.as_str()).await
    }

    async fn finish_reshard(&self) -> Result<()> {
        self.shards.finish().await
    }
}

/// A point as its shard stores it, with its BM25 vector.
fn stage(analyzers: &Analyzers, mut point: Point) -> Result<StagedPoint> {
    let (analyzer, sparse) = analyzers.document(&point)?;
    Ok(StagedPoint {
        tenant: point.tenant.as_str().to_owned(),
        document: point.document_id.as_str().to_owned(),
        version: point.version,
        point: NewPoint {
            id: point.id(),
            dense: std::mem::take(&mut point.vector),
            sparse,
            payload: payload::encode(point, analyzer)?,
        },
    })
}

/// Runs `work` on the blocking pool, to its end also when the caller leaves.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("a task of the vector index stopped").with_source(error))?
}
