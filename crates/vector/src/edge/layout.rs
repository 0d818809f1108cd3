//! The shards of an index: which there are now, and who is using them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ragstone_core::{Error, IndexSpec, Result, Topology};

use crate::edge::gate::Gate;
use crate::edge::manifest::{self, Manifest};
use crate::edge::shard::{Setting, Shard};
use crate::edge::{EdgeConfig, files};

/// Documents whose moves share a lock.
const STRIPES: usize = 64;

/// The shards at one time.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Where documents are, and where they go.
    pub(crate) topology: Topology,
    /// Every shard of the topology, by name.
    pub(crate) shards: BTreeMap<String, Arc<Shard>>,
}

impl Layout {
    /// The shard that this document is written to.
    pub(crate) fn place(&self, tenant: &str, document: &str) -> Result<&Arc<Shard>> {
        let name = self.topology.place(tenant, document);
        name.and_then(|name| self.shards.get(name)).ok_or_else(|| Error::internal("an index without shards"))
    }

    /// The shard that this document may still be on and has to leave.
    pub(crate) fn leaves(&self, tenant: &str, document: &str) -> Option<&Arc<Shard>> {
        self.shards.get(self.topology.leaves(tenant, document)?)
    }
}

/// The shards of one index through all times.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) directory: PathBuf,
    pub(crate) spec: IndexSpec,
    pub(crate) setting: Setting,
    layout: RwLock<Arc<Layout>>,
    /// Searches under way. Each enters before it looks at the layout, and so do writes.
    pub(crate) searches: Gate,
    /// Writes under way.
    pub(crate) writes: Gate,
    /// Held while the layout is changed.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
    /// Shards that are no longer part of the layout and whose directories are to be removed.
    pub(crate) retired: tokio::sync::Mutex<BTreeMap<String, Arc<Shard>>>,
    /// Held while a document is moved: two moves of one document do not meet.
    moves: [tokio::sync::Mutex<()>; STRIPES],
}

impl Shards {
    /// Opens the index in `directory`, or makes it. A shard that cannot be opened is there, but unhealthy.
    ///
    /// # Errors
    /// `Conflict` when it was made for something else; `Unavailable` when no shard can be opened.
    pub(crate) fn open(directory: PathBuf, config: &EdgeConfig, spec: &IndexSpec, setting: Setting) -> Result<Self> {
        files::make_directory(&directory)?;
        let found = Manifest::read(&directory)?;
        let is_new = found.is_none();
        let fresh = || Manifest::new(spec.clone(), Topology { shards: config.shard_names(), moving_to: None });
        let mut manifest = found.unwrap_or_else(fresh);
        manifest::check(&manifest.spec, spec)?;
        let clean = manifest::take_clean_mark(&directory)?;
        if !manifest.retired.is_empty() {
            manifest.retired.iter().try_for_each(|name| files::remove_directory(&directory.join(name)))?;
            manifest.retired.clear();
            manifest.write(&directory)?;
        }
        let names = manifest.topology.all();
        for name in names.iter().filter(|name| !is_new && !directory.join(name).exists()) {
            tracing::warn!(index = %spec.name, shard = %name,
                "the shard's directory is gone: its documents must be deleted and ingested again");
        }
        let shards = open_shards(&directory, &names, &setting, clean)?;
        if shards.values().all(|shard| !shard.is_healthy()) {
            return Err(Error::unavailable(format!(
                "no shard of the vector index in {} can be opened: restore it from a backup, or remove the index and \
                 ingest the documents again",
                directory.display()
            )));
        }
        if is_new {
            manifest.write(&directory)?;
        }
        Ok(Self {
            directory,
            spec: manifest.spec,
            setting,
            layout: RwLock::new(Arc::new(Layout { topology: manifest.topology, shards })),
            searches: Gate::default(),
            writes: Gate::default(),
            changing: Arc::default(),
            retired: tokio::sync::Mutex::default(),
            moves: [const { tokio::sync::Mutex::const_new(()) }; STRIPES],
        })
    }

    /// The shards as they are now.
    pub(crate) fn now(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the layout on disk and then in place of the one before. `retired`: names of shards that it leaves out.
    pub(crate) fn install(&self, layout: Layout, retired: Vec<String>) -> Result<()> {
        let mut manifest = Manifest::new(self.spec.clone(), layout.topology.clone());
        manifest.retired = retired;
        manifest.write(&self.directory)?;
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(layout);
        Ok(())
    }

    /// Returns when everything under way sees the layout that there is now.
    pub(crate) async fn settle(&self) {
        self.writes.drain().await;
        self.searches.drain().await;
    }

    /// The lock under which this document is moved.
    pub(crate) fn stripe(&self, tenant: &str, document: &str) -> &tokio::sync::Mutex<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((tenant, document));
        &self.moves[(hash % STRIPES as u64) as usize]
    }
}

fn open_shards(
    directory: &Path,
    names: &[&str],
    setting: &Setting,
    clean: bool,
) -> Result<BTreeMap<String, Arc<Shard>>> {
    std::thread::scope(|scope| {
        let open = |name: &&str| {
            let (name, path, setting) = ((*name).to_owned(), directory.join(name), setting.clone());
            scope.spawn(move || (name.clone(), Arc::new(Shard::open(name, path, setting, clean))))
        };
        let threads: Vec<_> = names.iter().map(open).collect();
        let opened = threads.into_iter().map(|thread| thread.join());
        opened.map(|shard| shard.map_err(|_| Error::internal("opening a shard panicked"))).collect()
    })
}
