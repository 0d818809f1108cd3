//! The embedded vector store: N shards behind the `VectorStore` port.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use ragstone_core::ports::{Point, VectorStore};
use ragstone_core::{
    DocumentId, Error, IndexSpec, Result, SearchResult, ShardReport, TenantId, Topology, VectorQuery, place,
};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::analyzers::Analyzers;
use crate::edge::EdgeConfig;
use crate::edge::engine::NewPoint;
use crate::edge::filter::ReadFilter;
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

/// The embedded vector store.
#[derive(Debug)]
pub struct EdgeStore {
    directory: PathBuf,
    spec: IndexSpec,
    timeout: Duration,
    names: Vec<String>,
    pub(crate) shards: Vec<Arc<Shard>>,
    searches: Arc<Semaphore>,
    analyzers: Arc<Analyzers>,
    maintenance: Arc<Mutex<Maintenance>>,
}

impl EdgeStore {
    /// Opens the store in `config.path`, or creates it, and mends what a crash may have left behind. A shard that cannot
    /// be opened is unhealthy and tried again in the background; the others serve.
    ///
    /// # Errors
    /// `InvalidArgument` for a setting out of range; `Conflict` when another process uses the directory or it was made
    /// for another number of shards, dimension or model; `Unavailable` when no shard can be opened.
    pub async fn open(config: EdgeConfig, spec: IndexSpec) -> Result<Self> {
        blocking(move || Self::open_blocking(&config, &spec)).await
    }

    fn open_blocking(config: &EdgeConfig, spec: &IndexSpec) -> Result<Self> {
        config.validate()?;
        let directory = config.path.clone();
        let lock = manifest::lock(&directory)?;
        let names = config.shard_names();
        let known = manifest::check(&directory, &names, spec)?;
        let clean = manifest::take_clean_mark(&directory)?;
        let analyzers = Arc::new(Analyzers::new());
        let setting = Setting {
            dimension: spec.dimension,
            analyzers: Arc::clone(&analyzers),
            min_free_bytes: config.min_free_disk_mib << 20,
            _lock: Arc::new(lock),
        };
        for name in names.iter().filter(|name| known && !directory.join(name).exists()) {
            tracing::warn!(shard = %name, "the shard's directory is gone: its documents must be deleted and ingested again");
        }
        let shards = open_shards(&directory, &names, &setting, clean)?;
        if shards.iter().all(|shard| !shard.is_healthy()) {
            let message = format!("no shard of the vector index in {} can be opened", directory.display());
            return Err(Error::unavailable(format!(
                "{message}: restore it from a backup, or begin with a new data directory"
            )));
        }
        if !known {
            manifest::write(&directory, &names, spec)?;
        }
        Ok(Self {
            directory,
            spec: spec.clone(),
            timeout: Duration::from_millis(config.shard_timeout_ms),
            names,
            searches: Arc::new(Semaphore::new(config.max_parallel_searches as usize)),
            maintenance: Arc::new(Mutex::new(Maintenance::start(shards.clone())?)),
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
        let maintenance = Arc::clone(&self.maintenance);
        blocking(move || {
            maintenance.lock().unwrap_or_else(PoisonError::into_inner).stop();
            Ok(())
        })
        .await?;
        let closed = join_all(self.shards.iter().map(|shard| shard.write(Shard::close))).await;
        closed.into_iter().collect::<Result<Vec<()>>>()?;
        let directory = self.directory.clone();
        blocking(move || manifest::mark_clean(&directory)).await
    }

    /// Puts everything on disk, on every shard.
    ///
    /// # Errors
    /// `Unavailable` when a shard is out of service.
    pub async fn flush_all(&self) -> Result<()> {
        let flushed = self.shards.iter().map(|shard| {
            let target = shard.applied();
            shard.write(move |shard, writer| shard.flush_to(writer, target))
        });
        try_join_all(flushed).await.map(|_| ())
    }

    /// Every stored point, live or not, in order. For tests and repair: it reads the whole index.
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

    /// How many points are stored, live or not.
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
        let all = self.shards.iter().map(|shard| {
            let shard = Arc::clone(shard);
            blocking(move || shard.optimize())
        });
        try_join_all(all).await.map(|_| ())
    }

    async fn on_every_shard<T: Send + 'static>(&self, job: fn(&Shard, &mut Writer) -> Result<T>) -> Result<Vec<T>> {
        try_join_all(self.shards.iter().map(|shard| shard.write(job))).await
    }

    fn number_of(&self, tenant: &str, document: &str) -> Result<usize> {
        let name = place(&self.names, tenant, document);
        let number = name.and_then(|name| self.names.iter().position(|other| other == name));
        number.ok_or_else(|| Error::internal("an index without shards"))
    }

    pub(crate) fn shard_of(&self, tenant: &str, document: &str) -> Result<&Arc<Shard>> {
        Ok(&self.shards[self.number_of(tenant, document)?])
    }

    /// What one shard found, within its time.
    async fn ask(&self, shard: &Arc<Shard>, question: &Arc<(Question, ReadFilter)>) -> Result<Found> {
        let work = async {
            let permit = Arc::clone(&self.searches).acquire_owned().await;
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
        &self.spec
    }

    async fn search(&self, query: VectorQuery) -> Result<SearchResult> {
        let filter = ReadFilter::new(&query.access, &query.filter)?;
        let question = Arc::new((Question::new(&query, &self.spec, &self.analyzers)?, filter));
        let answers = join_all(self.shards.iter().map(|shard| self.ask(shard, &question))).await;
        let mut report = ShardReport { asked: self.names.len() as u32, ..ShardReport::default() };
        let mut found = Vec::with_capacity(answers.len());
        let mut failure = None;
        for (shard, answer) in self.shards.iter().zip(answers) {
            match answer {
                Ok(answer) => found.push(answer),
                Err(error) => {
                    tracing::warn!(shard = %shard.name, error = %error.chain(), "a shard is left out of a search");
                    report.missing.push(shard.name.clone());
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
        points.iter().try_for_each(|point| check_vector(&point.vector, &self.spec))?;
        let mut by_shard: Vec<Vec<Point>> = self.shards.iter().map(|_| Vec::new()).collect();
        for point in points {
            by_shard[self.number_of(point.tenant.as_str(), point.document_id.as_str())?].push(point);
        }
        let batches = self.shards.iter().zip(by_shard).filter(|(_, points)| !points.is_empty());
        let stored = batches.map(|(shard, points)| {
            let analyzers = Arc::clone(&self.analyzers);
            shard.write(move |shard, writer| {
                let staged = points.into_iter().map(|point| stage(&analyzers, point)).collect::<Result<_>>()?;
                shard.upsert(writer, staged)
            })
        });
        try_join_all(stored).await.map(|_| ())
    }

    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()> {
        let (tenant, document) = (tenant.as_str().to_owned(), document.as_str().to_owned());
        let shard = self.shard_of(&tenant, &document)?;
        shard.write(move |shard, writer| shard.publish(writer, &tenant, &document, version, chunks)).await
    }

    async fn remove_versions(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()> {
        let (tenant, document) = (tenant.as_str().to_owned(), document.as_str().to_owned());
        let shard = self.shard_of(&tenant, &document)?;
        shard.write(move |shard, writer| shard.remove(writer, &tenant, &document, below)).await
    }

    async fn flush(&self, tenant: &TenantId, document: &DocumentId) -> Result<()> {
        let shard = self.shard_of(tenant.as_str(), document.as_str())?;
        let target = shard.applied();
        shard.write(move |shard, writer| shard.flush_to(writer, target)).await
    }

    async fn live_documents(&self) -> Result<u64> {
        let counts = self.on_every_shard(|shard, _| shard.live_documents()).await?;
        Ok(counts.into_iter().sum::<usize>() as u64)
    }

    async fn unhealthy_shards(&self) -> Vec<String> {
        self.shards.iter().filter(|shard| !shard.is_healthy()).map(|shard| shard.name.clone()).collect()
    }

    async fn topology(&self) -> Result<Topology> {
        Ok(Topology { shards: self.names.clone(), moving_to: None })
    }

    async fn begin_reshard(&self, _: &[String]) -> Result<()> {
        Err(Error::unprocessable("this index has a fixed number of shards"))
    }

    async fn move_document(&self, _: &TenantId, _: &DocumentId) -> Result<bool> {
        Ok(false)
    }

    async fn finish_reshard(&self) -> Result<()> {
        Ok(())
    }
}

fn open_shards(directory: &Path, names: &[String], setting: &Setting, clean: bool) -> Result<Vec<Arc<Shard>>> {
    std::thread::scope(|scope| {
        let open = |name: &String| {
            let (name, path, setting) = (name.clone(), directory.join(name), setting.clone());
            scope.spawn(move || Arc::new(Shard::open(name, path, setting, clean)))
        };
        let threads: Vec<_> = names.iter().map(open).collect();
        let opened = threads.into_iter().map(|thread| thread.join());
        opened.map(|shard| shard.map_err(|_| Error::internal("opening a shard panicked"))).collect()
    })
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("a task of the vector index stopped").with_source(error))?
}
