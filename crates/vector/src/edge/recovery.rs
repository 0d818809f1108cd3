//! Puts a shard right after a crash.
//!
//! The engine does not replay its log: what was not flushed is gone, wholly or in part. What must hold again afterwards:
//! every document shows one whole version, the newest that was published and is complete; or, where publishing the
//! newer one did not reach the disk, the one before it. Everything else is removed, staged chunks too: a job that was
//! not flushed stores them again.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::edge::engine::{Engine, EngineError};
use crate::payload::{Label, STATE, State};

/// One version of a document, as it was found.
#[derive(Debug, Default)]
struct Version {
    points: Vec<(Uuid, State)>,
    /// How many chunks it has, as noted when it was published.
    chunks: Option<u64>,
}

impl Version {
    fn is_complete(&self) -> bool {
        self.chunks == Some(self.points.len() as u64)
    }

    fn is_live(&self) -> bool {
        self.points.iter().any(|(_, state)| *state == State::Live)
    }
}

/// What has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    show: Vec<Uuid>,
    remove: Vec<Uuid>,
}

/// Mends the shard and puts the result on disk.
pub(crate) fn repair(shard: &str, engine: &Engine) -> Result<(), EngineError> {
    let plan = plan(engine.scan(None, &Label::FIELDS)?);
    if plan == Plan::default() {
        return Ok(());
    }
    tracing::info!(shard, shown = plan.show.len(), removed = plan.remove.len(), "a shard was mended after a crash");
    if !plan.show.is_empty() {
        let live = Map::from_iter([(STATE.to_owned(), Value::from(State::Live.as_str()))]);
        engine.set_payload(plan.show, live)?;
        // On disk before anything it replaces goes.
        engine.flush()?;
    }
    if !plan.remove.is_empty() {
        engine.delete(plan.remove)?;
        engine.flush()?;
    }
    Ok(())
}

fn plan(points: Vec<(Uuid, Map<String, Value>)>) -> Plan {
    let mut plan = Plan::default();
    let mut documents: BTreeMap<(String, String), BTreeMap<u64, Version>> = BTreeMap::new();
    for (id, payload) in points {
        // A point without its payload is half of something that was not flushed.
        let Some(label) = Label::decode(payload) else {
            plan.remove.push(id);
            continue;
        };
        let versions = documents.entry((label.tenant, label.document_id)).or_default();
        let version = versions.entry(label.version).or_default();
        version.points.push((id, label.state));
        version.chunks = version.chunks.max(label.chunks);
    }
    for versions in documents.into_values() {
        let newest = |wanted: &dyn Fn(&Version) -> bool| {
            versions.iter().rev().find(|(_, version)| version.is_complete() && wanted(version)).map(|(n, _)| *n)
        };
        let winner = newest(&Version::is_live).or_else(|| newest(&|_| true));
        for (number, version) in versions {
            let (list, kept) =
                if Some(number) == winner { (&mut plan.show, Some(State::Live)) } else { (&mut plan.remove, None) };
            list.extend(version.points.into_iter().filter(|(_, state)| Some(*state) != kept).map(|(id, _)| id));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// (version, chunk, state, chunks)
    fn run(points: &[(u64, u32, &str, Option<u64>)]) -> (Vec<usize>, Vec<usize>) {
        let stored = points.iter().enumerate().map(|(n, (version, chunk, state, chunks))| {
            let label = json!({"tenant": "t", "document_id": "d", "version": version, "chunk_index": chunk,
                "state": state, "chunks": chunks});
            (Uuid::from_u128(n as u128), label.as_object().unwrap().clone())
        });
        let plan = plan(stored.collect());
        let numbers = |ids: Vec<Uuid>| ids.into_iter().map(|id| id.as_u128() as usize).collect();
        (numbers(plan.show), numbers(plan.remove))
    }

    #[test]
    fn a_sound_document_is_left_alone() {
        assert_eq!(run(&[(1, 0, "live", Some(2)), (1, 1, "live", Some(2))]), (vec![], vec![]));
    }

    #[test]
    fn staged_chunks_go() {
        assert_eq!(run(&[(1, 0, "live", Some(1)), (2, 0, "staged", None)]), (vec![], vec![1]));
    }

    #[test]
    fn a_half_published_version_is_finished() {
        let points = [(1, 0, "old", Some(1)), (2, 0, "live", Some(2)), (2, 1, "staged", None)];
        assert_eq!(run(&points), (vec![2], vec![0]));
    }

    #[test]
    fn a_version_with_lost_chunks_gives_way_to_the_one_before() {
        assert_eq!(run(&[(1, 0, "old", Some(1)), (2, 0, "live", Some(3))]), (vec![0], vec![1]));
        assert_eq!(run(&[(1, 0, "live", Some(1)), (2, 0, "live", Some(3))]), (vec![], vec![1]));
    }

    #[test]
    fn of_two_live_versions_the_higher_stays() {
        assert_eq!(run(&[(1, 0, "live", Some(1)), (2, 0, "live", Some(1))]), (vec![], vec![0]));
    }

    #[test]
    fn a_point_without_payload_goes() {
        assert_eq!(plan(vec![(Uuid::nil(), Map::new())]).remove, vec![Uuid::nil()]);
    }
}
