//! The indexes in a backup: saved as snapshots of Qdrant's shards, and brought in again beside a restored catalog.

use std::path::{Path, PathBuf};

use ragstone_core::ports::{Catalog, VectorIndexes as _};
use ragstone_core::{Error, ErrorCode, Index, IndexName, IndexState, JobKind, Result};
use ragstone_vector::{IndexDraft, QdrantIndexes, SavedIndex};
use serde::Serialize;

use crate::Config;

/// The indexes in the directory of a backup.
const INDEXES: &str = "index";
/// Documents compared at a time.
const PAGE: u32 = 1000;

/// What became of an index of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredIndex {
    /// Its name.
    pub name: IndexName,
    /// Documents that are in it as they are in the catalog.
    pub documents: u64,
    /// Documents that are filled in from the catalog when the server starts: it has another version of them.
    pub to_rebuild: u64,
    /// Versions of documents that were removed from it: the catalog has another one, or none.
    pub removed: u64,
    /// Why it was not brought in; it is then filled from the catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// Saves every index into the backup in `directory`; their names. The service may go on working.
///
/// # Errors
/// `Unprocessable` where vectors are not kept in Qdrant; otherwise as [`QdrantIndexes::save`].
pub async fn save_indexes(config: &Config, directory: &Path) -> Result<Vec<String>> {
    if !config.uses_qdrant() {
        return Err(Error::unprocessable(
            "only an index in Qdrant can be part of a backup (retrieval.qdrant.urls names none): the embedded one is filled \
             from the catalog",
        ));
    }
    let indexes = QdrantIndexes::open(config.qdrant.clone()).await?;
    indexes.check().await?;
    let mut names = Vec::new();
    for spec in indexes.list().await? {
        indexes.save(&spec.name, &place(directory, &spec.name)).await?;
        names.push(spec.name.to_string());
    }
    indexes.close().await?;
    Ok(names)
}

/// The indexes of a backup, found whole, and the Qdrant they are for.
#[derive(Debug)]
pub struct SavedIndexes {
    indexes: QdrantIndexes,
    saved: Vec<SavedIndex>,
}

impl SavedIndexes {
    /// Looks at the indexes `names` of the backup in `directory`; `None` where there are none, or vectors are not kept in
    /// Qdrant.
    ///
    /// # Errors
    /// `InvalidArgument`, with a damaged file or a setting to correct; `Unavailable` when Qdrant does not answer.
    pub async fn open(config: &Config, directory: &Path, names: &[String]) -> Result<Option<Self>> {
        if names.is_empty() || !config.uses_qdrant() {
            return Ok(None);
        }
        let mut saved = Vec::new();
        for name in names {
            // It becomes a path.
            let name = IndexName::new(name.as_str())?;
            let index = SavedIndex::open(&place(directory, &name)).await?;
            if index.spec().name != name {
                let place = place(directory, &name);
                return Err(Error::invalid(format!("{} is of index '{}'", place.display(), index.spec().name)));
            }
            saved.push(index);
        }
        let indexes = QdrantIndexes::open(config.qdrant.clone()).await?;
        indexes.check_rest().await?;
        Ok(Some(Self { indexes, saved }))
    }

    /// Brings them into Qdrant, and has what differs from the restored catalog built anew.
    ///
    /// # Errors
    /// `Unavailable` when Qdrant does not answer: what was begun is then in the way of another start until it is removed.
    pub async fn restore(self, catalog: &dyn Catalog) -> Result<Vec<RestoredIndex>> {
        let known = catalog.indexes().await?;
        let mut all = Vec::new();
        for saved in &self.saved {
            all.push(self.restore_one(saved, &known, catalog).await?);
        }
        self.indexes.close().await?;
        Ok(all)
    }

    async fn restore_one(&self, saved: &SavedIndex, known: &[Index], catalog: &dyn Catalog) -> Result<RestoredIndex> {
        let spec = saved.spec();
        let left_out = |why: String| RestoredIndex {
            name: spec.name.clone(),
            documents: 0,
            to_rebuild: 0,
            removed: 0,
            left_out: Some(why),
        };
        let Some(index) = known.iter().find(|index| index.spec == *spec) else {
            return Ok(left_out("the catalog does not have it any more".to_owned()));
        };
        let draft = match self.indexes.bring_in(saved).await {
            Err(error) if error.code == ErrorCode::Unprocessable => return Ok(left_out(error.message)),
            draft => draft?,
        };
        let restored = compare(&draft, &spec.name, catalog).await?;
        let name = draft.complete().await?;
        if index.state == IndexState::Serving {
            self.indexes.serve(&name).await?;
        }
        Ok(restored)
    }
}

/// Removes from the index what the catalog does not say is live, and enqueues what it lacks.
async fn compare(draft: &IndexDraft, name: &IndexName, catalog: &dyn Catalog) -> Result<RestoredIndex> {
    let mut stock = draft.stock().await?;
    let (mut after, mut to_rebuild) = (None, 0);
    loop {
        let page = catalog.live_documents(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.id.clone()));
        let missing = stock.missing(page);
        to_rebuild += missing.len() as u64;
        if !missing.is_empty() {
            catalog.enqueue(JobKind::Rebuild, name, &missing).await?;
        }
    }
    draft.keep_only_right(&stock).await?;
    let (documents, removed) = (stock.right(), stock.strays());
    Ok(RestoredIndex { name: name.clone(), documents, to_rebuild, removed, left_out: None })
}

fn place(directory: &Path, index: &IndexName) -> PathBuf {
    directory.join(INDEXES).join(index.as_str())
}
