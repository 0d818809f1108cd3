//! All embedded indexes: one directory each, and a file that says which one serves.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{Error, IndexName, IndexSpec, Result};

use crate::edge::legacy::Legacy;
use crate::edge::manifest::{self, MANIFEST, Manifest};
use crate::edge::store::blocking;
use crate::edge::{EdgeConfig, EdgeStore, files};

/// The file that names the index which serves.
const SERVING: &str = "serving";
/// How the name of a directory begins that is being removed; no index has such a name.
const REMOVED: &str = ".removed-";
/// Names that files have, for good or while they are written.
const RESERVED: [&str; 6] = [files::LOCK, SERVING, MANIFEST, manifest::CLEAN, "serving.tmp", "manifest.json.tmp"];
/// How long an index that could not be opened is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The indexes of the embedded store: `config.path` has a directory for each.
#[derive(Debug, Clone)]
pub struct EdgeIndexes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: EdgeConfig,
    /// Held while an index is made, removed, opened again or begins to serve.
    changing: tokio::sync::Mutex<()>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    indexes: BTreeMap<IndexName, Entry>,
    serving: Option<IndexName>,
    /// Shards of the first layout that no index has taken over.
    legacy: Option<Legacy>,
    /// `None` once everything is closed.
    lock: Option<Arc<std::fs::File>>,
}

#[derive(Debug, Clone)]
enum Entry {
    Open(Arc<EdgeStore>),
    /// It could not be opened; the others serve all the same.
    Broken(Broken),
}

#[derive(Debug, Clone)]
struct Broken {
    /// Where at least its manifest can be read.
    spec: Option<IndexSpec>,
    reason: Arc<Error>,
    tried: Instant,
}

impl Broken {
    fn new(spec: Option<IndexSpec>, name: &IndexName, reason: Error) -> Self {
        tracing::error!(index = %name, error = %reason.chain(), "an index cannot be opened");
        Self { spec, reason: Arc::new(reason), tried: Instant::now() }
    }

    fn error(&self, name: &IndexName) -> Error {
        Error::unavailable(format!("the index {name} cannot be opened: {}", self.reason.message))
            .with_source(self.reason.chain())
    }
}

impl EdgeIndexes {
    /// Opens every index in `config.path`. One that cannot be opened is tried again later; the others serve.
    ///
    /// # Errors
    /// `InvalidArgument` for a setting out of range; `Conflict` when another process uses the directory; `Unavailable`
    /// when it cannot be used.
    pub async fn open(config: EdgeConfig) -> Result<Self> {
        config.validate()?;
        blocking(move || {
            let lock = Arc::new(files::lock(&config.path)?);
            let legacy = Legacy::find(&config.path)?;
            let mut indexes = BTreeMap::new();
            for name in found(&config)? {
                indexes.insert(name.clone(), open_one(&config, &name, &lock));
            }
            let serving = read_serving(&config, &indexes)?;
            let state = RwLock::new(State { indexes, serving, legacy, lock: Some(lock) });
            Ok(Self(Arc::new(Inner { config, changing: tokio::sync::Mutex::default(), state })))
        })
        .await
    }

    /// The index of this name, or the one that serves, with what only an embedded one can do.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when it cannot be opened.
    pub async fn store(&self, name: Option<&IndexName>) -> Result<Arc<EdgeStore>> {
        let (name, entry) = {
            let state = self.0.read();
            state.lock()?;
            let serving = || state.serving.clone().ok_or_else(|| Error::not_found("no index serves yet"));
            let name = name.cloned().map_or_else(serving, Ok)?;
            let entry = state.indexes.get(&name).cloned();
            (name, entry)
        };
        match entry {
            Some(Entry::Open(store)) => Ok(store),
            Some(Entry::Broken(broken)) if broken.tried.elapsed() < RETRY_AFTER => Err(broken.error(&name)),
            Some(Entry::Broken(_)) => self.detached(move |inner| async move { inner.reopen(&name).await }).await,
            None => Err(missing(&name)),
        }
    }

    /// Runs `work` to its end, also when the caller leaves.
    async fn detached<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let done = tokio::spawn(work(Arc::clone(&self.0))).await;
        done.map_err(|error| Error::internal("a task of the vector index stopped").with_source(error))?
    }
}

#[async_trait]
impl VectorIndexes for EdgeIndexes {
    async fn create(&self, spec: &IndexSpec) -> Result<()> {
        let spec = spec.clone();
        self.detached(move |inner| async move { inner.create(spec).await }).await
    }

    async fn list(&self) -> Result<Vec<IndexSpec>> {
        let state = self.0.read();
        state.lock()?;
        let spec = |entry: &Entry| match entry {
            Entry::Open(store) => Some(store.spec().clone()),
            Entry::Broken(broken) => broken.spec.clone(),
        };
        Ok(state.indexes.values().filter_map(spec).collect())
    }

    async fn open(&self, name: Option<&IndexName>) -> Result<Arc<dyn VectorStore>> {
        Ok(self.store(name).await?)
    }

    async fn serving(&self) -> Result<Option<IndexName>> {
        let state = self.0.read();
        state.lock()?;
        Ok(state.serving.clone())
    }

    async fn serve(&self, name: &IndexName) -> Result<()> {
        let name = name.clone();
        self.detached(move |inner| async move {
            let _changing = inner.changing.lock().await;
            inner.serve(&name).await
        })
        .await
    }

    async fn remove(&self, name: &IndexName) -> Result<()> {
        let name = name.clone();
        self.detached(move |inner| async move { inner.remove(&name).await }).await
    }

    async fn check(&self) -> Result<()> {
        if self.serving().await?.is_none() {
            return Ok(());
        }
        let store = self.store(None).await?;
        let (all, broken) = (store.topology().await?.all().len(), store.unhealthy_shards().await);
        // With one shard left answers are partial, but there are answers.
        if broken.len() < all {
            return Ok(());
        }
        Err(Error::unavailable(format!("out of service: {}", broken.join(", "))))
    }

    async fn close(&self) -> Result<()> {
        self.detached(|inner| async move { inner.close().await }).await
    }
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self, name: &IndexName) -> PathBuf {
        self.config.path.join(name.as_str())
    }

    async fn create(self: &Arc<Self>, spec: IndexSpec) -> Result<()> {
        if RESERVED.contains(&spec.name.as_str()) {
            return Err(Error::invalid(format!("'{}' cannot be the name of an index", spec.name)));
        }
        if spec.dimension == 0 {
            return Err(Error::invalid("the dimension must be at least 1"));
        }
        let _changing = self.changing.lock().await;
        let entry = self.read().indexes.get(&spec.name).cloned();
        match entry {
            Some(Entry::Open(store)) => manifest::check(store.spec(), &spec)?,
            Some(Entry::Broken(broken)) => {
                broken.spec.iter().try_for_each(|found| manifest::check(found, &spec))?;
                self.try_again(&spec.name).await?;
            }
            None => self.make(spec.clone()).await?,
        }
        let nothing_serves = self.read().serving.is_none();
        if nothing_serves {
            self.serve(&spec.name).await?;
        }
        Ok(())
    }

    async fn make(self: &Arc<Self>, spec: IndexSpec) -> Result<()> {
        let inner = Arc::clone(self);
        blocking(move || {
            let lock = inner.read().lock()?;
            let path = &inner.config.path;
            let legacy = inner.read().legacy.clone().filter(|legacy| legacy.fits(&spec));
            match legacy {
                Some(legacy) => {
                    let taken_over = legacy.take_over(path, &spec);
                    inner.write().legacy = Legacy::find(path)?;
                    taken_over?;
                }
                // Without a manifest it is what a crash left of an attempt to make it.
                None => files::remove_directory(&inner.directory(&spec.name))?,
            }
            let store = EdgeStore::open(inner.directory(&spec.name), &inner.config, &spec, lock)?;
            inner.write().indexes.insert(spec.name, Entry::Open(Arc::new(store)));
            Ok(())
        })
        .await
    }

    async fn reopen(self: &Arc<Self>, name: &IndexName) -> Result<Arc<EdgeStore>> {
        let _changing = self.changing.lock().await;
        self.try_again(name).await
    }

    /// Opens an index that could not be opened before; the caller is the only one who changes anything.
    async fn try_again(self: &Arc<Self>, name: &IndexName) -> Result<Arc<EdgeStore>> {
        let (inner, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            let entry = inner.read().indexes.get(&name).cloned();
            let entry = match entry {
                Some(Entry::Broken(_)) => {
                    let lock = inner.read().lock()?;
                    let entry = open_one(&inner.config, &name, &lock);
                    inner.write().indexes.insert(name.clone(), entry.clone());
                    entry
                }
                Some(entry) => entry,
                None => return Err(missing(&name)),
            };
            match entry {
                Entry::Open(store) => Ok(store),
                Entry::Broken(broken) => Err(broken.error(&name)),
            }
        })
        .await
    }

    async fn serve(self: &Arc<Self>, name: &IndexName) -> Result<()> {
        let entry = self.read().indexes.get(name).cloned();
        match entry {
            Some(Entry::Open(_)) => {}
            Some(Entry::Broken(_)) => drop(self.try_again(name).await?),
            None => return Err(missing(name)),
        }
        let (inner, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            inner.read().lock()?;
            files::write(&inner.config.path.join(SERVING), name.as_str().as_bytes())?;
            inner.write().serving = Some(name);
            Ok(())
        })
        .await
    }

    async fn remove(self: &Arc<Self>, name: &IndexName) -> Result<()> {
        let _changing = self.changing.lock().await;
        let entry = {
            let state = self.read();
            state.lock()?;
            if state.serving.as_ref() == Some(name) {
                return Err(Error::conflict(format!("the index {name} serves: let another one serve first")));
            }
            state.indexes.get(name).cloned()
        };
        match entry {
            Some(Entry::Open(store)) => store.retire().await?,
            Some(Entry::Broken(_)) => {}
            None => return Ok(()),
        }
        let (inner, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            let removed = inner.config.path.join(format!("{REMOVED}{name}"));
            files::remove_directory(&removed)?;
            // In one step: half an index is never found.
            let directory = inner.directory(&name);
            if directory.exists() {
                files::rename(&directory, &removed)?;
            }
            inner.write().indexes.remove(&name);
            files::remove_directory(&removed)
        })
        .await
    }

    async fn close(self: &Arc<Self>) -> Result<()> {
        let _changing = self.changing.lock().await;
        let (indexes, lock) = {
            let mut state = self.write();
            (std::mem::take(&mut state.indexes), state.lock.take())
        };
        let stores = indexes.values().filter_map(|entry| match entry {
            Entry::Open(store) => Some(store.close()),
            Entry::Broken(_) => None,
        });
        let closed: Result<Vec<()>> = join_all(stores).await.into_iter().collect();
        // Last: the shards that others still hold keep the lock with them.
        drop(lock);
        closed.map(drop)
    }
}

impl State {
    /// The lock of the directory.
    fn lock(&self) -> Result<Arc<std::fs::File>> {
        self.lock.clone().ok_or_else(|| Error::unavailable("the vector index is closed"))
    }
}

fn missing(name: &IndexName) -> Error {
    Error::not_found(format!("there is no index {name}"))
}

/// Names of the indexes in the directory. What is left of removed ones goes.
fn found(config: &EdgeConfig) -> Result<Vec<IndexName>> {
    let path = &config.path;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| files::io(path, error))? {
        let entry = entry.map_err(|error| files::io(path, error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with(REMOVED) {
            files::remove_directory(&entry.path())?;
        } else if let Ok(name) = IndexName::new(name)
            && entry.path().join(MANIFEST).exists()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn open_one(config: &EdgeConfig, name: &IndexName, lock: &Arc<std::fs::File>) -> Entry {
    let directory = config.path.join(name.as_str());
    let spec = match Manifest::read(&directory) {
        Ok(Some(manifest)) => manifest.spec,
        Ok(None) => return Entry::Broken(Broken::new(None, name, missing(name))),
        Err(error) => return Entry::Broken(Broken::new(None, name, error)),
    };
    match EdgeStore::open(directory, config, &spec, Arc::clone(lock)) {
        Ok(store) => Entry::Open(Arc::new(store)),
        Err(error) => Entry::Broken(Broken::new(Some(spec), name, error)),
    }
}

fn read_serving(config: &EdgeConfig, indexes: &BTreeMap<IndexName, Entry>) -> Result<Option<IndexName>> {
    let path = config.path.join(SERVING);
    let Some(text) = files::read(&path)? else {
        return Ok(None);
    };
    let name = IndexName::new(text)
        .map_err(|error| Error::internal(format!("{} is not readable", path.display())).with_source(error))?;
    if indexes.contains_key(&name) {
        return Ok(Some(name));
    }
    tracing::error!(index = %name, "the index that is to serve is gone: the next one that is made serves");
    Ok(None)
}
