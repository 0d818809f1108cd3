//! Which shards an index has and which of them a document is written to; kept in the collection's metadata.

use std::collections::HashMap;

use qdrant_client::qdrant::Value;
use ragstone_core::{Error, IndexSpec, Result, Topology, place};
use serde::{Deserialize, Serialize};

/// Metadata key of what the index was made for.
const SPEC: &str = "ragstone_index";
/// Metadata key of the layout.
const LAYOUT: &str = "ragstone_layout";
/// Metadata keys that begin so name an analyser that texts of the index need. A key each, as Qdrant merges keys: two
/// writers cannot undo each other.
const ANALYZER: &str = "ragstone_analyzer_";
/// Version of everything in Qdrant that this crate decides: placement, payload, analysers.
const FORMAT: u32 = 1;

/// The shards, and how far a move between two sets of them is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Counts changes: of two layouts the one with the higher number holds.
    pub(crate) epoch: u64,
    pub(crate) topology: Topology,
    /// While documents move: whether new versions are written to their new places. Before, every reader learns of the new
    /// shards.
    #[serde(default)]
    pub(crate) write_to_new: bool,
}

/// Where a document's chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home<'a> {
    /// Where new versions go.
    pub(crate) shard: &'a str,
    /// Where chunks may be as well, while documents move.
    pub(crate) other: Option<&'a str>,
}

impl Layout {
    pub(crate) fn new(shards: Vec<String>) -> Self {
        Self { epoch: 1, topology: Topology { shards, moving_to: None }, write_to_new: false }
    }

    /// The next layout, with this topology.
    pub(crate) fn next(&self, topology: Topology, write_to_new: bool) -> Self {
        Self { epoch: self.epoch + 1, topology, write_to_new }
    }

    pub(crate) fn home(&self, tenant: &str, document: &str) -> Result<Home<'_>> {
        let nowhere = || Error::internal("the index has no shards");
        let old = place(&self.topology.shards, tenant, document).ok_or_else(nowhere)?;
        let Some(target) = &self.topology.moving_to else {
            return Ok(Home { shard: old, other: None });
        };
        let new = place(target, tenant, document).ok_or_else(nowhere)?;
        let (shard, other) = if self.write_to_new { (new, old) } else { (old, new) };
        Ok(Home { shard, other: (new != old).then_some(other) })
    }

    /// As metadata.
    pub(crate) fn metadata(&self) -> Result<HashMap<String, Value>> {
        Ok(HashMap::from([(LAYOUT.to_owned(), Value::from(json(self)?))]))
    }

    /// From metadata; `None` where it was not made by Ragstone.
    pub(crate) fn from_metadata(metadata: &HashMap<String, Value>) -> Result<Option<Self>> {
        read(metadata, LAYOUT)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Made {
    format: u32,
    #[serde(flatten)]
    spec: IndexSpec,
}

/// What the index was made for, as metadata.
pub(crate) fn spec_metadata(spec: &IndexSpec) -> Result<HashMap<String, Value>> {
    Ok(HashMap::from([(SPEC.to_owned(), Value::from(json(&Made { format: FORMAT, spec: spec.clone() })?))]))
}

/// What the index was made for; `None` where it was not made by Ragstone.
pub(crate) fn spec_from_metadata(metadata: &HashMap<String, Value>) -> Result<Option<IndexSpec>> {
    match read::<Made>(metadata, SPEC)? {
        Some(made) if made.format != FORMAT => {
            Err(Error::conflict(format!("it has format {}, this version of Ragstone uses {FORMAT}", made.format)))
        }
        made => Ok(made.map(|made| made.spec)),
    }
}

/// That texts of the index need these analysers, as metadata.
pub(crate) fn analyzer_metadata<'a>(names: impl IntoIterator<Item = &'a str>) -> HashMap<String, Value> {
    names.into_iter().map(|name| (format!("{ANALYZER}{name}"), Value::from(true))).collect()
}

/// The names of the analysers that texts of the index need.
pub(crate) fn analyzers_from_metadata(metadata: &HashMap<String, Value>) -> impl Iterator<Item = String> + '_ {
    metadata.keys().filter_map(|key| key.strip_prefix(ANALYZER)).map(str::to_owned)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("metadata cannot be written").with_source(error))
}

fn read<T: for<'a> Deserialize<'a>>(metadata: &HashMap<String, Value>, key: &str) -> Result<Option<T>> {
    let Some(text) = metadata.get(key).and_then(|value| value.as_str()) else {
        return Ok(None);
    };
    let damaged = |error| Error::conflict(format!("its metadata '{key}' is damaged")).with_source(error);
    serde_json::from_str(text).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("s{i}")).collect()
    }

    #[test]
    fn documents_are_written_to_the_new_place_only_once_all_readers_know_it() {
        let still = Layout::new(names(4));
        let moving = Topology { shards: names(4), moving_to: Some(names(5)) };
        let announced = still.next(moving.clone(), false);
        let settled = announced.next(moving, true);
        assert_eq!((still.epoch, announced.epoch, settled.epoch), (1, 2, 3));
        let mut leaving = 0;
        for n in 0..200 {
            let document = format!("d{n}");
            let old = still.home("t", &document).unwrap();
            let (before, after) = (announced.home("t", &document).unwrap(), settled.home("t", &document).unwrap());
            assert_eq!((old.other, before.shard), (None, old.shard));
            if let Some(new) = before.other {
                leaving += 1;
                assert_eq!((after.shard, after.other), (new, Some(before.shard)));
                assert_eq!(after.shard, "s4");
            } else {
                assert_eq!(after, before);
            }
        }
        assert!((25..60).contains(&leaving), "{leaving}");
    }

    #[test]
    fn metadata_round_trips_and_foreign_collections_have_none() {
        let layout = Layout::new(names(2)).next(Topology { shards: names(2), moving_to: Some(names(3)) }, true);
        let spec = IndexSpec::of("model", "revision", 8);
        let mut metadata = layout.metadata().unwrap();
        metadata.extend(spec_metadata(&spec).unwrap());
        metadata.extend(analyzer_metadata(["german"]));
        assert_eq!(Layout::from_metadata(&metadata).unwrap(), Some(layout));
        assert_eq!(spec_from_metadata(&metadata).unwrap(), Some(spec));
        let analyzers: Vec<_> = analyzers_from_metadata(&metadata).collect();
        assert_eq!(analyzers, ["german"]);
        let foreign = HashMap::from([("other".to_owned(), Value::from(true))]);
        assert_eq!(Layout::from_metadata(&foreign).unwrap(), None);
        assert!(spec_from_metadata(&foreign).unwrap().is_none());
        metadata.insert(LAYOUT.to_owned(), Value::from("{"));
        assert!(Layout::from_metadata(&metadata).is_err());
    }
}
