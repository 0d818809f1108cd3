//! All embedded indexes: one directory each, and a file that says which one serves.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{Error, IndexName, IndexSpec, Result};

use crate::edge::directory::{self, Entry};
use crate::edge::legacy::Legacy;
use crate::edge::manifest;
use crate::edge::store::blocking;
use crate::edge::{EdgeConfig, EdgeStore, files};

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
            for name in directory::indexes(&config)? {
                indexes.insert(name.clone(), directory::open(&config, &name, &lock));
            }
            let serving = directory::serving(&config, &indexes)?;
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
            None => Err(directory::missing(&name)),
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
        directory::check_name(&spec.name, self.read().legacy.as_ref())?;
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
            let legacy = inner.legacy(&lock)?;
            // It was there all the time: taking it over had only to be finished.
            let entry = inner.read().indexes.get(&spec.name).cloned();
            match (entry, legacy) {
                (Some(Entry::Open(store)), _) => return manifest::check(store.spec(), &spec),
                (Some(Entry::Broken(broken)), _) => return Err(broken.error(&spec.name)),
                (None, Some(legacy)) if legacy.fits(&spec) => {
                    legacy.take_over(&inner.config.path, &spec)?;
                    inner.write().legacy = None;
                }
                // Without a manifest it is what a crash left of an attempt to make it.
                (None, _) => files::remove_directory(&inner.directory(&spec.name))?,
            }
            let store = EdgeStore::open(inner.directory(&spec.name), &inner.config, &spec, lock)?;
            inner.write().indexes.insert(spec.name, Entry::Open(Arc::new(store)));
            Ok(())
        })
        .await
    }

    /// Shards of the first layout, as the disk has them now. Where an attempt to take them over had failed halfway, it is
    /// brought to its end, and the index is there from then on.
    fn legacy(&self, lock: &Arc<std::fs::File>) -> Result<Option<Legacy>> {
        if self.read().legacy.is_none() {
            return Ok(None);
        }
        let legacy = Legacy::find(&self.config.path)?;
        for name in directory::indexes(&self.config)? {
            let is_known = self.read().indexes.contains_key(&name);
            if !is_known {
                let entry = directory::open(&self.config, &name, lock);
                self.write().indexes.insert(name, entry);
            }
        }
        self.write().legacy.clone_from(&legacy);
        Ok(legacy)
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
                    let entry = directory::open(&inner.config, &name, &lock);
                    inner.write().indexes.insert(name.clone(), entry.clone());
                    entry
                }
                Some(entry) => entry,
                None => return Err(directory::missing(&name)),
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
            None => return Err(directory::missing(name)),
        }
        let (inner, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            inner.read().lock()?;
            directory::set_serving(&inner.config, &name)?;
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
            let removed = directory::set_aside(&inner.config, &name)?;
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
