//! The one place where an engine filter for reading is made: tenant, access groups and visibility are always in it.

use qdrant_edge as edge;
use ragstone_core::{Access, Condition, Error, Filter, GroupAccess, INJECTION_SCORE, Predicate, Result, Scalar};

use crate::payload::{CHUNK, DOCUMENT, GROUPS, METADATA, PUBLIC, STATE, State, TENANT};

/// A filter that lets only chunks through which the caller may read. Searching takes nothing else, and it can be made
/// in no other way than from an [`Access`].
#[derive(Debug, Clone)]
pub(crate) struct ReadFilter(edge::Filter);

impl ReadFilter {
    /// Live chunks of the caller's tenant and groups that also meet `filter`.
    pub(crate) fn new(access: &Access, filter: &Filter) -> Result<Self> {
        filter.validate()?;
        let mut must = vec![equals(TENANT, access.tenant.as_str()), equals(STATE, State::Live.as_str())];
        if let GroupAccess::Groups(groups) = &access.groups {
            let mut readable = vec![field(plain_path(PUBLIC), edge::Match::from(true))];
            if !groups.is_empty() {
                let any: Vec<String> = groups.iter().cloned().collect();
                readable.push(field(plain_path(GROUPS), edge::Match::from(any)));
            }
            must.push(edge::Condition::Filter(edge::Filter { should: Some(readable), ..edge::Filter::new() }));
        }
        // A filter of its own, so that the caller's `should` cannot widen what is above.
        if !filter.is_empty() {
            must.push(edge::Condition::Filter(edge::Filter {
                must: translate(&filter.must)?,
                must_not: translate(&filter.must_not)?,
                should: translate(&filter.should)?,
                ..edge::Filter::new()
            }));
        }
        Ok(Self(edge::Filter { must: Some(must), ..edge::Filter::new() }))
    }

    pub(crate) fn engine(&self) -> edge::Filter {
        self.0.clone()
    }
}

/// Every point of one document, whatever its state: for writing and repair.
pub(crate) fn document(tenant: &str, document: &str) -> edge::Filter {
    edge::Filter { must: Some(vec![equals(TENANT, tenant), equals(DOCUMENT, document)]), ..edge::Filter::new() }
}

/// Points in this state.
pub(crate) fn in_state(state: State) -> edge::Filter {
    edge::Filter::new_must(equals(STATE, state.as_str()))
}

/// The first chunk of every live version.
pub(crate) fn live_first_chunk() -> edge::Filter {
    let first = field(plain_path(CHUNK), edge::Match::from(0_i64));
    edge::Filter { must: Some(vec![equals(STATE, State::Live.as_str()), first]), ..edge::Filter::new() }
}

/// A payload path of plain keys.
pub(crate) fn plain_path(key: &str) -> edge::JsonPath {
    edge::JsonPath { first_key: key.to_owned(), rest: Vec::new() }
}

fn equals(key: &str, value: &str) -> edge::Condition {
    field(plain_path(key), edge::Match::from(value.to_owned()))
}

fn field(key: edge::JsonPath, matches: edge::Match) -> edge::Condition {
    edge::Condition::Field(edge::FieldCondition::new_match(key, matches))
}

/// `None` instead of an empty list: the engine reads an empty `should` as "none of these will do".
fn translate(conditions: &[Condition]) -> Result<Option<Vec<edge::Condition>>> {
    let translated = conditions.iter().map(condition).collect::<Result<Vec<_>>>()?;
    Ok((!translated.is_empty()).then_some(translated))
}

fn condition(condition: &Condition) -> Result<edge::Condition> {
    let key = path(&condition.key)?;
    let excluded = condition.predicate.excluded().filter(|_| condition.key == INJECTION_SCORE);
    if let Some(excluded) = excluded {
        let excluded = excluded.into_iter().map(|predicate| simple(key.clone(), &predicate)).collect();
        return Ok(edge::Condition::Filter(edge::Filter { must_not: Some(excluded), ..edge::Filter::new() }));
    }
    Ok(simple(key, &condition.predicate))
}

/// The condition as the engine knows it: what has no such field does not meet it.
fn simple(key: edge::JsonPath, predicate: &Predicate) -> edge::Condition {
    match predicate {
        Predicate::AnyOf(values) => {
            let any = values.iter().map(|value| field(key.clone(), scalar(value))).collect();
            edge::Condition::Filter(edge::Filter { should: Some(any), ..edge::Filter::new() })
        }
        Predicate::Range { gte, gt, lte, lt } => {
            let [gte, gt, lte, lt] = [gte, gt, lte, lt].map(|bound| bound.map(Into::into));
            edge::Condition::Field(edge::FieldCondition::new_range(key, edge::Range { lt, gt, gte, lte }))
        }
    }
}

fn scalar(value: &Scalar) -> edge::Match {
    match value {
        Scalar::Bool(value) => edge::Match::from(*value),
        Scalar::Integer(value) => edge::Match::from(*value),
        Scalar::Text(value) => edge::Match::from(value.clone()),
    }
}

/// The payload path of a filter key. Each metadata key is quoted, so that spaces and the like are part of it.
fn path(key: &str) -> Result<edge::JsonPath> {
    let Some(inner) = key.strip_prefix("metadata.") else {
        return Ok(plain_path(key));
    };
    let quoted: String = inner.split('.').map(|part| format!(".\"{part}\"")).collect();
    format!("{METADATA}{quoted}").parse().map_err(|()| Error::invalid(format!("filter key '{key}' cannot be searched")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::edge::engine::{Engine, NewPoint};
    use ragstone_core::TenantId;
    use serde_json::json;
    use uuid::Uuid;

    /// Which of three points are found: the first stored before there was a score, the others with 0.2 and 0.9.
    fn found(filter: &str) -> Vec<u128> {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(directory.path(), 2).unwrap();
        let point = |(id, score): (u128, Option<f64>)| {
            let mut payload = json!({"tenant": "t", "state": "live", "public": true});
            if let Some(score) = score {
                payload[INJECTION_SCORE] = json!(score);
            }
            let sparse = edge::SparseVector { indices: vec![1], values: vec![1.0] };
            let payload = payload.as_object().unwrap().clone();
            NewPoint { id: Uuid::from_u128(id), dense: vec![1.0, 0.0], sparse, payload }
        };
        engine.store([(1, None), (2, Some(0.2)), (3, Some(0.9))].map(point).into()).unwrap();
        let access = Access { tenant: TenantId::new("t").unwrap(), groups: GroupAccess::All };
        let filter = ReadFilter::new(&access, &serde_json::from_str(filter).unwrap()).unwrap();
        let mut ids: Vec<_> = engine.nearest(vec![1.0, 0.0], filter.engine(), 9).unwrap();
        ids.sort_by_key(|(id, _)| *id);
        ids.into_iter().map(|(id, _)| id.as_u128()).collect()
    }

    #[test]
    fn a_point_without_a_score_counts_as_0() {
        assert_eq!(found(r#"{"must":[{"key":"injection_score","lt":0.5}]}"#), [1, 2]);
        assert_eq!(found(r#"{"must":[{"key":"injection_score","gte":0,"lte":0.2}]}"#), [1, 2]);
        assert_eq!(found(r#"{"must":[{"key":"injection_score","gte":0.5}]}"#), [3]);
        assert_eq!(found(r#"{"must_not":[{"key":"injection_score","gte":0.5}]}"#), [1, 2]);
        assert_eq!(found(r#"{"must_not":[{"key":"injection_score","lt":0.5}]}"#), [3]);
        assert_eq!(found(r#"{"should":[{"key":"injection_score","gt":0.1}]}"#), [2, 3]);
    }
}
