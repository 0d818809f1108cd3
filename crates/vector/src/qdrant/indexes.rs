//! All indexes of one Qdrant behind the `VectorIndexes` port, and the alias that says which serves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CreateAlias, DeleteAlias, DeleteCollection, ListAliasesRequest,
    ListCollectionsRequest,
};
use ragstone_core::ports::{VectorIndexes, VectorStore};
use ragstone_core::{Error, ErrorCode, IndexName, IndexSpec, Result};
use ragstone_resilience::Deadline;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::collection::Collection;
use super::config::QdrantConfig;
use super::error::Failure;
use super::peers::{Account, Peers};
use super::reshard::PATIENCE;
use super::setup;
use super::store::QdrantStore;

/// The indexes of one Qdrant.
#[derive(Debug)]
pub struct QdrantIndexes {
    pub(super) shared: Arc<Shared>,
    stores: Mutex<HashMap<IndexName, Arc<QdrantStore>>>,
    looking: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) peers: Arc<Peers>,
    pub(super) config: Arc<QdrantConfig>,
    /// Which index served, and when that was asked.
    serving: Mutex<Option<(Instant, IndexName)>>,
}

impl QdrantIndexes {
    /// Prepares the connections. No peer needs to be there yet: [`VectorIndexes::check`] says whether one is.
    ///
    /// # Errors
    /// `InvalidArgument`, beginning with the key, for a setting that cannot be.
    pub async fn open(config: QdrantConfig) -> Result<Self> {
        config.validate()?;
        let peers = Arc::new(Peers::new(&config)?);
        let shared = Arc::new(Shared { peers, config: Arc::new(config), serving: Mutex::default() });
        let looked_after = Arc::clone(&shared);
        let task = tokio::spawn(async move { looked_after.keep_looking().await });
        Ok(Self { shared, stores: Mutex::default(), looking: Mutex::new(Some(AbortOnDropHandle::new(task))) })
    }

    fn opened(&self, name: &IndexName) -> Option<Arc<QdrantStore>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) async fn load(&self, name: &IndexName) -> Result<Arc<QdrantStore>> {
        if let Some(store) = self.opened(name) {
            return Ok(store);
        }
        let missing = || Error::not_found(format!("there is no index '{name}'"));
        let spec = self.shared.spec(name).await?.ok_or_else(missing)?;
        let Shared { peers, config, .. } = &*self.shared;
        let collection = Collection::open(Arc::clone(peers), Arc::clone(config), spec).await?;
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster.
        Ok(Arc::clone(stores.entry(name.clone()).or_insert_with(|| Arc::new(QdrantStore::new(collection)))))
    }

    fn forget(&self, name: &IndexName) {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Shared {
    /// Keeps known which index serves, and tries peers that were left alone for a while.
    async fn keep_looking(&self) {
        let mut ticks = tokio::time::interval(self.config.refresh());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look().await {
                tracing::debug!(error = %error.chain(), "which index serves cannot be looked up");
            }
            for peer in self.peers.due() {
                let end = Deadline::after(self.config.shard_timeout());
                // What came of it has been noted by the call.
                drop(self.peers.call(peer, ListAliasesRequest {}, end, Account::Read).await);
            }
        }
    }

    /// The index that serves now.
    async fn look(&self) -> Result<Option<IndexName>> {
        let asked = Instant::now();
        let answer = self.peers.any(ListAliasesRequest {}, Deadline::after(self.config.shard_timeout())).await?;
        let alias = answer.aliases.into_iter().find(|alias| alias.alias_name == self.config.collection_prefix);
        let Some(alias) = alias else {
            *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(None);
        };
        let name = self.index_name(&alias.collection_name).ok_or_else(|| {
            let (alias, collection) = (alias.alias_name, alias.collection_name);
            Error::conflict(format!(
                "alias {alias} in Qdrant points to collection {collection}, which is no index of Ragstone: set \
                 retrieval.qdrant.collection_prefix to another name"
            ))
        })?;
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, name.clone()));
        Ok(Some(name))
    }

    /// The index that serves, as known for no longer than twice the refresh interval. That none does is never
    /// remembered: the first document must be found at once.
    async fn serving(&self) -> Result<Option<IndexName>> {
        let known = self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((asked, name)) if asked.elapsed() <= 2 * self.config.refresh() => Ok(Some(name)),
            _ => self.look().await,
        }
    }

    pub(super) fn index_name(&self, collection: &str) -> Option<IndexName> {
        let name = collection.strip_prefix(&self.config.collection_prefix)?.strip_prefix('-')?;
        IndexName::new(name).ok()
    }

    /// What the index of this name holds; `None` when there is none.
    async fn spec(&self, name: &IndexName) -> Result<Option<IndexSpec>> {
        let Some(info) = setup::info(&self.peers, &self.config.collection(name.as_str())).await? else {
            return Ok(None);
        };
        // With the prefix `a-b`, index `c` is in the collection that index `b-c` would have with the prefix `a`.
        Ok(setup::spec_of(&info)?.filter(|spec| spec.name == *name))
    }

    /// Points the alias to this index, in one moment.
    async fn point_alias(&self, name: &IndexName, replace: bool) -> Result<()> {
        let alias_name = self.config.collection_prefix.clone();
        let delete = replace.then(|| Action::DeleteAlias(DeleteAlias { alias_name: alias_name.clone() }));
        let collection_name = self.config.collection(name.as_str());
        let create = Action::CreateAlias(CreateAlias { collection_name, alias_name });
        let actions = delete.into_iter().chain([create]).map(|action| AliasOperations { action: Some(action) });
        let change = ChangeAliases { actions: actions.collect(), timeout: Some(PATIENCE.as_secs()) };
        self.peers.change_any(change, Deadline::after(PATIENCE)).await?;
        Ok(())
    }
}

#[async_trait]
impl VectorIndexes for QdrantIndexes {
    async fn create(&self, spec: &IndexSpec) -> Result<()> {
        let shared = &self.shared;
        setup::create(&shared.peers, &shared.config, spec).await?;
        if shared.look().await?.is_none() {
            shared.point_alias(&spec.name, false).await?;
            shared.look().await?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<IndexSpec>> {
        let shared = &self.shared;
        let all = shared.peers.any(ListCollectionsRequest {}, Deadline::after(PATIENCE)).await?;
        let mut names: Vec<_> = all.collections.iter().filter_map(|found| shared.index_name(&found.name)).collect();
        names.sort_unstable();
        // What another process has removed is let go of here too.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name));
        let mut specs = Vec::with_capacity(names.len());
        for name in names {
            specs.extend(shared.spec(&name).await?);
        }
        Ok(specs)
    }

    async fn open(&self, name: Option<&IndexName>) -> Result<Arc<dyn VectorStore>> {
        let name = match name {
            Some(name) => name.clone(),
            None => self.shared.serving().await?.ok_or_else(|| Error::not_found("no index serves yet"))?,
        };
        Ok(self.load(&name).await?)
    }

    async fn serving(&self) -> Result<Option<IndexName>> {
        self.shared.look().await
    }

    /// Returns when every replica of the retrieval service knows it.
    async fn serve(&self, name: &IndexName) -> Result<()> {
        let shared = &self.shared;
        if shared.spec(name).await?.is_none() {
            return Err(Error::not_found(format!("there is no index '{name}'")));
        }
        let before = shared.look().await?;
        if before.as_ref() == Some(name) {
            return Ok(());
        }
        shared.point_alias(name, before.is_some()).await?;
        shared.look().await?;
        tokio::time::sleep(2 * shared.config.refresh()).await;
        Ok(())
    }

    async fn remove(&self, name: &IndexName) -> Result<()> {
        let shared = &self.shared;
        if shared.look().await?.as_ref() == Some(name) {
            return Err(Error::conflict(format!("index '{name}' serves: let another one serve first")));
        }
        if shared.spec(name).await?.is_some() {
            let collection_name = shared.config.collection(name.as_str());
            let delete = DeleteCollection { collection_name, timeout: Some(PATIENCE.as_secs()) };
            shared.peers.change_any(delete, Deadline::after(PATIENCE)).await?;
        }
        self.forget(name);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        let shared = &self.shared;
        let end = Deadline::after(shared.config.shard_timeout());
        let ask = |peer| shared.peers.call(peer, ListAliasesRequest {}, end, Account::Nothing);
        let answers = futures::future::join_all(shared.peers.all().into_iter().map(ask)).await;
        let answered = answers.iter().any(Result::is_ok);
        for failure in answers.into_iter().filter_map(Result::err) {
            // One peer that is down is what the others are for; a wrong setting is not, and waiting does not mend it.
            if is_setting(&failure) {
                return Err(Error { code: ErrorCode::InvalidArgument, ..failure.error });
            }
            if !answered {
                return Err(failure.into());
            }
        }
        match shared.look().await? {
            Some(name) => self.load(&name).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn close(&self) -> Result<()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

fn is_setting(failure: &Failure) -> bool {
    failure.error.message.contains("retrieval.qdrant.")
}
