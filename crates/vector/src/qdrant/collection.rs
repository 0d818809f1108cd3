//! One index as all its parts share it: the peers, what is known of the collection, and how old that may be.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ragstone_core::{Error, IndexSpec, Result};
use ragstone_resilience::{Deadline, Hedge};
use tokio::time::Instant;

use super::config::QdrantConfig;
use super::fields;
use super::peers::Peers;
use super::view::{self, View};
use crate::analyzers::Analyzers;

/// For clocks that run apart and threads that wake late.
const MARGIN: Duration = Duration::from_millis(100);

/// One collection.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) peers: Arc<Peers>,
    pub(crate) config: Arc<QdrantConfig>,
    pub(crate) spec: IndexSpec,
    /// Its name in Qdrant.
    pub(crate) name: String,
    pub(crate) analyzers: Analyzers,
    pub(crate) hedge: Option<Hedge>,
    /// Fields whose payload index exists or is being made.
    pub(crate) indexed: Mutex<BTreeSet<String>>,
    view: RwLock<Arc<View>>,
    /// Held by the one who looks.
    looking: tokio::sync::Mutex<()>,
}

impl Collection {
    /// The collection of `spec`, which exists.
    ///
    /// # Errors
    /// `Unavailable` when no peer answers.
    pub(crate) async fn open(peers: Arc<Peers>, config: Arc<QdrantConfig>, spec: IndexSpec) -> Result<Self> {
        let name = config.collection(spec.name.as_str());
        let view = look(&peers, &config, &name, None).await?;
        let hedge = config.hedge.enabled.then(|| Hedge::new(config.hedge.quantile, config.hedge.max_extra));
        let collection = Self {
            peers,
            config,
            spec,
            name,
            analyzers: Analyzers::new(),
            hedge,
            indexed: Mutex::default(),
            view: RwLock::new(Arc::new(view)),
            looking: tokio::sync::Mutex::new(()),
        };
        collection.learn(&collection.known());
        Ok(collection)
    }

    /// What is known, whatever its age.
    pub(crate) fn known(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known, and no older than twice the refresh interval: whoever changes the layout waits for as long, so that
    /// nobody acts on the one before.
    ///
    /// # Errors
    /// `Unavailable` when it is older and no peer answers.
    pub(crate) async fn view(&self) -> Result<Arc<View>> {
        let most = 2 * self.config.refresh();
        let known = self.known();
        if known.asked.elapsed() <= most {
            return Ok(known);
        }
        self.look_unless(|view| view.asked.elapsed() <= most).await
    }

    /// What is known now.
    ///
    /// # Errors
    /// `Unavailable` when no peer answers.
    pub(crate) async fn fresh(&self) -> Result<Arc<View>> {
        let begin = Instant::now();
        self.look_unless(|view| view.asked >= begin).await
    }

    /// Keeps what is known up to date, for ever.
    pub(crate) async fn keep_looking(&self) {
        let mut ticks = tokio::time::interval(self.config.refresh());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(error) = self.fresh().await {
                tracing::debug!(collection = self.name, error = %error.chain(), "Qdrant's shards cannot be looked up");
            }
        }
    }

    /// What all peers say within this time.
    pub(crate) async fn ask_all(&self, within: Duration) -> Result<View> {
        View::look(&self.peers, &self.name, Deadline::after(within), None, Some(&self.known())).await
    }

    /// How long until everybody who searches knows what is stored now.
    pub(crate) fn readers_know(&self) -> Duration {
        2 * self.config.refresh() + MARGIN
    }

    /// How long until no write goes on that was begun with older knowledge.
    pub(crate) fn writers_know(&self) -> Duration {
        self.readers_know() + self.config.write_timeout()
    }

    /// How long until every search has ended that was under way at the beginning. It may have asked one shard right
    /// then, and another at the end of its time.
    pub(crate) fn searches_end(&self) -> Duration {
        self.config.shard_timeout() + MARGIN
    }

    async fn look_unless(&self, good: impl Fn(&View) -> bool) -> Result<Arc<View>> {
        let _one_at_a_time = self.looking.lock().await;
        let known = self.known();
        if good(&known) {
            return Ok(known);
        }
        let found = look(&self.peers, &self.config, &self.name, Some(&known)).await?;
        let found = Arc::new(found);
        self.learn(&found);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&found);
        Ok(found)
    }

    fn learn(&self, view: &View) {
        self.analyzers.learn(&view.analyzers);
        let mut indexed = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        indexed.extend(view.indexed.iter().map(|path| fields::plain(path)));
    }
}

async fn look(peers: &Peers, config: &QdrantConfig, name: &str, known: Option<&View>) -> Result<View> {
    let (deadline, grace) = (Deadline::after(config.shard_timeout()), config.refresh() / 4);
    View::look(peers, name, deadline, Some(grace), known).await.map_err(|error| {
        if view::is_missing(&error) {
            return Error::not_found("there is no such index").with_source(error);
        }
        error
    })
}
