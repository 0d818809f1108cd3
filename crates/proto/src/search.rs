//! Access, filters, hits and shard reports to and from the wire.

use std::collections::BTreeSet;

use ragstone_core::{
    Access, Condition, DocumentId, Error, Filter, GroupAccess, Hit, Predicate, Result, Scalar, SearchMode, ShardReport,
    TenantId,
};
use serde_json::Value;

use crate::json::{from_proto, to_proto};
use crate::{metadata_from_struct, metadata_to_struct, required, v1};

impl From<Access> for v1::Access {
    fn from(access: Access) -> Self {
        let (all_groups, groups) = match access.groups {
            GroupAccess::All => (true, Vec::new()),
            GroupAccess::Groups(groups) => (false, groups.into_iter().collect()),
        };
        Self { tenant: access.tenant.into(), all_groups, groups }
    }
}

impl TryFrom<v1::Access> for Access {
    type Error = Error;

    fn try_from(access: v1::Access) -> Result<Self> {
        let groups = match (access.all_groups, access.groups.is_empty()) {
            (true, true) => GroupAccess::All,
            (true, false) => return Err(Error::invalid("field 'access' has both all_groups and groups")),
            (false, _) => GroupAccess::Groups(access.groups.into_iter().collect::<BTreeSet<_>>()),
        };
        Ok(Self { tenant: TenantId::new(access.tenant)?, groups })
    }
}

impl From<SearchMode> for v1::SearchMode {
    fn from(mode: SearchMode) -> Self {
        match mode {
            SearchMode::Hybrid => Self::Hybrid,
            SearchMode::Dense => Self::Dense,
            SearchMode::Keyword => Self::Keyword,
        }
    }
}

impl From<v1::SearchMode> for SearchMode {
    fn from(mode: v1::SearchMode) -> Self {
        match mode {
            v1::SearchMode::Unspecified | v1::SearchMode::Hybrid => Self::Hybrid,
            v1::SearchMode::Dense => Self::Dense,
            v1::SearchMode::Keyword => Self::Keyword,
        }
    }
}

impl From<Filter> for v1::Filter {
    fn from(filter: Filter) -> Self {
        let list = |conditions: Vec<Condition>| conditions.into_iter().map(Into::into).collect();
        Self { must: list(filter.must), must_not: list(filter.must_not), should: list(filter.should) }
    }
}

impl TryFrom<v1::Filter> for Filter {
    type Error = Error;

    fn try_from(filter: v1::Filter) -> Result<Self> {
        let list = |conditions: Vec<v1::Condition>| {
            conditions.into_iter().map(Condition::try_from).collect::<Result<Vec<_>>>()
        };
        let filter = Self { must: list(filter.must)?, must_not: list(filter.must_not)?, should: list(filter.should)? };
        filter.validate()?;
        Ok(filter)
    }
}

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        let predicate = match condition.predicate {
            Predicate::AnyOf(values) => v1::condition::Predicate::AnyOf(v1::AnyOf {
                values: values
                    .into_iter()
                    .map(|value| match value {
                        Scalar::Bool(b) => Value::Bool(b),
                        Scalar::Integer(i) => Value::from(i),
                        Scalar::Text(s) => Value::String(s),
                    })
                    .map(|value| to_proto(&value))
                    .collect(),
            }),
            Predicate::Range { gte, gt, lte, lt } => v1::condition::Predicate::Range(v1::Range { gte, gt, lte, lt }),
        };
        Self { key: condition.key, predicate: Some(predicate) }
    }
}

impl TryFrom<v1::Condition> for Condition {
    type Error = Error;

    fn try_from(condition: v1::Condition) -> Result<Self> {
        let key = condition.key;
        let predicate = match required(condition.predicate, "predicate")? {
            v1::condition::Predicate::AnyOf(any_of) if any_of.values.is_empty() => {
                return Err(Error::invalid(format!("condition on '{key}' matches an empty list")));
            }
            v1::condition::Predicate::AnyOf(any_of) => Predicate::AnyOf(
                any_of.values.into_iter().map(|value| scalar(&key, from_proto(value))).collect::<Result<_>>()?,
            ),
            v1::condition::Predicate::Range(v1::Range { gte: None, gt: None, lte: None, lt: None }) => {
                return Err(Error::invalid(format!("condition on '{key}' has no bound")));
            }
            v1::condition::Predicate::Range(v1::Range { gte, gt, lte, lt }) => Predicate::Range { gte, gt, lte, lt },
        };
        Ok(Self { key, predicate })
    }
}

fn scalar(key: &str, value: Value) -> Result<Scalar> {
    match value {
        Value::Bool(b) => Ok(Scalar::Bool(b)),
        Value::String(s) => Ok(Scalar::Text(s)),
        Value::Number(n) if n.is_i64() => Ok(Scalar::Integer(n.as_i64().unwrap_or_default())),
        _ => Err(Error::invalid(format!("condition on '{key}' must match booleans, whole numbers or texts"))),
    }
}

impl From<Hit> for v1::Hit {
    fn from(hit: Hit) -> Self {
        Self {
            document_id: hit.document_id.into(),
            version: hit.version,
            chunk_index: hit.chunk_index,
            score: hit.score,
            similarity: hit.similarity,
            content: hit.content,
            title: hit.title,
            heading_path: hit.heading_path,
            start: hit.start,
            end: hit.end,
            metadata: Some(metadata_to_struct(&hit.metadata)),
        }
    }
}

impl TryFrom<v1::Hit> for Hit {
    type Error = Error;

    fn try_from(hit: v1::Hit) -> Result<Self> {
        Ok(Self {
            document_id: DocumentId::new(hit.document_id)?,
            version: hit.version,
            chunk_index: hit.chunk_index,
            score: hit.score,
            similarity: hit.similarity,
            content: hit.content,
            title: hit.title,
            heading_path: hit.heading_path,
            start: hit.start,
            end: hit.end,
            metadata: hit.metadata.map(metadata_from_struct).unwrap_or_default(),
        })
    }
}

impl From<ShardReport> for v1::Shards {
    fn from(report: ShardReport) -> Self {
        Self { asked: report.asked, answered: report.answered, missing: report.missing }
    }
}

impl From<v1::Shards> for ShardReport {
    fn from(shards: v1::Shards) -> Self {
        Self { asked: shards.asked, answered: shards.answered, missing: shards.missing }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn filters_survive_the_wire() {
        let json =
            r#"{"must":[{"key":"metadata.y","gte":2.0,"lt":3.0}],"should":[{"key":"title","match":["a",1,true]}]}"#;
        let filter: Filter = serde_json::from_str(json).unwrap();
        assert_eq!(Filter::try_from(v1::Filter::from(filter.clone())).unwrap(), filter);
    }

    #[test]
    fn access_survives_the_wire_and_contradiction_is_refused() {
        let tenant = TenantId::new("t").unwrap();
        for groups in [GroupAccess::All, GroupAccess::Groups(BTreeSet::from(["a".into(), "b".into()]))] {
            let access = Access { tenant: tenant.clone(), groups };
            assert_eq!(Access::try_from(v1::Access::from(access.clone())).unwrap(), access);
        }
        let both = v1::Access { tenant: "t".into(), all_groups: true, groups: vec!["a".into()] };
        assert!(Access::try_from(both).is_err());
        assert!(Access::try_from(v1::Access::default()).is_err());
    }
}
