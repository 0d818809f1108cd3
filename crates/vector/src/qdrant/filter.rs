//! The one place where a filter for reading is made: tenant, access groups and visibility are always in it.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Condition, FieldCondition, Filter, Match, Range, RepeatedStrings};
use ragstone_core::{Access, GroupAccess, INJECTION_SCORE, Predicate, Result, Scalar};

use crate::payload::{CHUNK, DOCUMENT, GROUPS, METADATA, PUBLIC, STATE, State, TENANT, VERSION};

/// A filter that lets only chunks through which the caller may read. Searching takes nothing else, and it can be made
/// in no other way than from an [`Access`].
#[derive(Debug, Clone)]
pub(crate) struct ReadFilter(Filter);

impl ReadFilter {
    /// Live chunks of the caller's tenant and groups that also meet `filter`.
    pub(crate) fn new(access: &Access, filter: &ragstone_core::Filter) -> Result<Self> {
        filter.validate()?;
        let mut must = vec![equals(TENANT, access.tenant.as_str()), in_state(State::Live)];
        if let GroupAccess::Groups(groups) = &access.groups {
            let mut readable = vec![matches(PUBLIC, MatchValue::Boolean(true))];
            if !groups.is_empty() {
                let strings = groups.iter().cloned().collect();
                readable.push(matches(GROUPS, MatchValue::Keywords(RepeatedStrings { strings })));
            }
            must.push(nested(Filter { should: readable, ..Filter::default() }));
        }
        // A filter of its own, so that the caller's `should` cannot widen what is above.
        if !filter.is_empty() {
            let translate = |conditions: &[_]| conditions.iter().map(condition).collect();
            must.push(nested(Filter {
                must: translate(&filter.must),
                must_not: translate(&filter.must_not),
                should: translate(&filter.should),
                min_should: None,
            }));
        }
        Ok(Self(all(must)))
    }

    pub(crate) fn grpc(&self) -> Filter {
        self.0.clone()
    }
}

/// All of these hold.
pub(crate) fn all(must: Vec<Condition>) -> Filter {
    Filter { must, ..Filter::default() }
}

/// Points of one document: for writing and repair.
pub(crate) fn document(tenant: &str, document: &str) -> Vec<Condition> {
    vec![equals(TENANT, tenant), equals(DOCUMENT, document)]
}

/// Points of this version.
pub(crate) fn of_version(version: u64) -> Condition {
    // Versions count up from 1: no catalog ever reaches what an i64 cannot hold.
    matches(VERSION, MatchValue::Integer(i64::try_from(version).unwrap_or(i64::MAX)))
}

/// Points of versions below this one.
pub(crate) fn below_version(version: u64) -> Condition {
    range(VERSION.to_owned(), Range { lt: Some(version as f64), ..Range::default() })
}

/// The first chunk of a version: one for each.
pub(crate) fn first_chunk() -> Condition {
    matches(CHUNK, MatchValue::Integer(0))
}

/// Points in this state.
pub(crate) fn in_state(state: State) -> Condition {
    equals(STATE, state.as_str())
}

fn equals(key: &str, value: &str) -> Condition {
    matches(key, MatchValue::Keyword(value.to_owned()))
}

fn matches(key: &str, value: MatchValue) -> Condition {
    let r#match = Some(Match { match_value: Some(value) });
    field(FieldCondition { key: key.to_owned(), r#match, ..FieldCondition::default() })
}

fn range(key: String, range: Range) -> Condition {
    field(FieldCondition { key, range: Some(range), ..FieldCondition::default() })
}

fn field(condition: FieldCondition) -> Condition {
    Condition { condition_one_of: Some(ConditionOneOf::Field(condition)) }
}

fn nested(filter: Filter) -> Condition {
    Condition { condition_one_of: Some(ConditionOneOf::Filter(filter)) }
}

fn condition(condition: &ragstone_core::Condition) -> Condition {
    let key = path(&condition.key);
    // Points without a score, from before there was one, count as harmless: as 0.
    let excluded = condition.predicate.excluded().filter(|_| condition.key == INJECTION_SCORE);
    match excluded {
        Some(excluded) => {
            let must_not = excluded.iter().map(|predicate| simple(&key, predicate)).collect();
            nested(Filter { must_not, ..Filter::default() })
        }
        None => simple(&key, &condition.predicate),
    }
}

/// The condition as Qdrant knows it: what has no such field does not meet it.
fn simple(key: &str, predicate: &Predicate) -> Condition {
    match predicate {
        Predicate::AnyOf(values) => {
            let any = values.iter().map(|value| matches(key, scalar(value))).collect();
            nested(Filter { should: any, ..Filter::default() })
        }
        Predicate::Range { gte, gt, lte, lt } => {
            range(key.to_owned(), Range { gte: *gte, gt: *gt, lte: *lte, lt: *lt })
        }
    }
}

fn scalar(value: &Scalar) -> MatchValue {
    match value {
        Scalar::Bool(value) => MatchValue::Boolean(*value),
        Scalar::Integer(value) => MatchValue::Integer(*value),
        Scalar::Text(value) => MatchValue::Keyword(value.clone()),
    }
}

/// The payload path of a filter key, as Qdrant writes it: what is not plain is quoted, so that spaces and the like are part
/// of a name.
pub(crate) fn path(key: &str) -> String {
    let Some(inner) = key.strip_prefix("metadata.") else {
        return key.to_owned();
    };
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let quote = |name: &str| if is_plain(name) { format!(".{name}") } else { format!(".\"{name}\"") };
    format!("{METADATA}{}", inner.split('.').map(quote).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ragstone_core::TenantId;

    fn read(groups: GroupAccess, filter: &str) -> Filter {
        let access = Access { tenant: TenantId::new("acme").unwrap(), groups };
        ReadFilter::new(&access, &serde_json::from_str(filter).unwrap()).unwrap().grpc()
    }

    #[test]
    fn tenant_and_state_are_always_demanded() {
        let filter = read(GroupAccess::All, "{}");
        assert_eq!(filter.must, [equals(TENANT, "acme"), equals(STATE, "live")]);
        assert!(filter.should.is_empty() && filter.must_not.is_empty());
    }

    #[test]
    fn the_callers_conditions_stay_in_a_filter_of_their_own() {
        let filter = read(GroupAccess::Groups(["hr".to_owned()].into()), r#"{"should":[{"key":"title","match":"x"}]}"#);
        assert_eq!(filter.must.len(), 4);
        assert!(filter.should.is_empty());
        let nested = |n: usize| match &filter.must[n].condition_one_of {
            Some(ConditionOneOf::Filter(filter)) => filter.clone(),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(nested(2).should.len(), 2);
        assert_eq!(nested(3).should.len(), 1);
    }

    #[test]
    fn odd_keys_are_quoted() {
        assert_eq!(path("title"), "title");
        assert_eq!(path("metadata.a b.c-1.Größe"), r#"metadata."a b".c-1.Größe"#);
    }
}
