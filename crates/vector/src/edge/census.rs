//! What is in a shard: for counting, tests and repair, never for a request.

use ragstone_core::Result;
use uuid::Uuid;

use crate::edge::filter;
use crate::edge::shard::Shard;
use crate::payload::Label;

impl Shard {
    /// Every stored point with its label, in order of their ids.
    pub(crate) fn all_labels(&self) -> Result<Vec<(Uuid, Label)>> {
        let engine = self.engine()?;
        let all = self.watched(|| engine.scan(None, &Label::FIELDS))?;
        Ok(all.into_iter().filter_map(|(id, payload)| Some((id, Label::decode(payload)?))).collect())
    }

    /// How many points are stored.
    pub(crate) fn count(&self) -> Result<usize> {
        let engine = self.engine()?;
        self.watched(|| engine.count(None))
    }

    /// Tenant and id of every document that has a live version.
    pub(crate) fn live_documents(&self) -> Result<Vec<(String, String)>> {
        let engine = self.engine()?;
        let found = self.watched(|| engine.scan(Some(&filter::live_first_chunk()), &Label::FIELDS))?;
        let labels = found.into_iter().filter_map(|(_, payload)| Label::decode(payload));
        Ok(labels.map(|label| (label.tenant, label.document_id)).collect())
    }

    /// How many documents have a live version.
    pub(crate) fn count_live_documents(&self) -> Result<usize> {
        let engine = self.engine()?;
        self.watched(|| engine.count(Some(filter::live_first_chunk())))
    }
}
