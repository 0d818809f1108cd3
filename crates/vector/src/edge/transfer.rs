//! What moving a document asks of the shard it leaves and of the one it goes to.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use ragstone_core::{Result, place};

use crate::edge::engine::NewPoint;
use crate::edge::filter;
use crate::edge::shard::{Shard, Writer, live_version};
use crate::payload::{DOCUMENT, Label, STATE, State, TENANT};

impl Shard {
    /// The document's points as they are stored, staged ones too; those of replaced versions stay behind.
    pub(crate) fn export(&self, _: &mut Writer, tenant: &str, document: &str) -> Result<Vec<(Label, NewPoint)>> {
        let engine = self.engine()?;
        let points = self.watched(|| engine.points(&filter::document(tenant, document)))?;
        let labelled = points.into_iter().filter_map(|point| Some((Label::decode(point.payload.clone())?, point)));
        Ok(labelled.filter(|(label, _)| label.state != State::Old).collect())
    }

    /// Stores these points of the document as they are, and puts them on disk. Where a newer version is live, older ones
    /// are left out.
    pub(crate) fn import(
        &self,
        writer: &mut Writer,
        tenant: &str,
        document: &str,
        points: Vec<(Label, NewPoint)>,
    ) -> Result<()> {
        let engine = self.engine()?;
        self.check_space()?;
        let live = live_version(&self.labels(&engine, tenant, document)?);
        let wanted = points.into_iter().filter(|(label, _)| live.is_none_or(|live| live <= label.version));
        let wanted: Vec<NewPoint> = wanted.map(|(_, point)| point).collect();
        self.note(wanted.len());
        self.watched(|| engine.store(wanted))?;
        self.flush_to(writer, self.applied())
    }

    /// Removes the document, also from the disk.
    pub(crate) fn forget(&self, writer: &mut Writer, tenant: &str, document: &str) -> Result<()> {
        let engine = self.engine()?;
        let labels = self.labels(&engine, tenant, document)?;
        let (live, rest): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(_, label)| label.state == State::Live);
        // What is not live goes first. Else a crash in the middle could leave a replaced version whole beside a live one
        // that is not, and mending the shard would bring the replaced one back.
        for points in [rest, live] {
            if points.is_empty() {
                continue;
            }
            self.note(points.len());
            self.watched(|| engine.delete(points.into_iter().map(|(id, _)| id).collect()))?;
            self.flush_to(writer, self.applied())?;
        }
        // Also where nothing was left: an earlier attempt may have removed it without reaching the disk.
        self.flush_to(writer, self.applied())
    }

    /// How many documents are visible here though they belong to another one of `shards`. What else of such documents is
    /// left, chunks that were staged or replaced before, is removed.
    pub(crate) fn misplaced(&self, writer: &mut Writer, shards: &[String]) -> Result<usize> {
        let engine = self.engine()?;
        let mut strays: BTreeMap<(String, String), bool> = BTreeMap::new();
        let mut doomed = Vec::new();
        let text = |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str()).unwrap_or("").to_owned();
        self.watched(|| {
            engine.each(None, &[TENANT, DOCUMENT, STATE], |id, payload| {
                let (tenant, document) = (text(payload.get(TENANT)), text(payload.get(DOCUMENT)));
                if place(shards, &tenant, &document) == Some(self.name.as_str()) {
                    return;
                }
                let is_live = text(payload.get(STATE)) == State::Live.as_str();
                *strays.entry((tenant, document)).or_default() |= is_live;
                if !is_live {
                    doomed.push(id);
                }
            })
        })?;
        let visible = strays.into_values().filter(|is_live| *is_live).count();
        if visible == 0 && !doomed.is_empty() {
            self.note(doomed.len());
            self.watched(|| engine.delete(doomed))?;
            self.flush_to(writer, self.applied())?;
        }
        Ok(visible)
    }

    /// Closes the shard so that its directory can be removed: nothing is using it any more then.
    pub(crate) fn retire(&self, writer: &mut Writer) -> Result<()> {
        let _not_optimizing = self.optimizing.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be flushed is of no use any more.
        if let Err(error) = self.close(writer) {
            tracing::warn!(shard = %self.name, error = %error.chain(), "a shard to be removed did not close well");
        }
        Ok(())
    }
}
