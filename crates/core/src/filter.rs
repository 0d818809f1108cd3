//! Search filters over metadata: `{"must": […], "must_not": […], "should": […]}` (shared/API shape).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DocumentId, Error, Metadata, Result};

/// The most conditions one filter may hold.
const MAX_CONDITIONS: usize = 64;

/// The key that asks for a chunk's score as an injection: a range only. Chunks stored before there was a score count
/// as 0.
pub const INJECTION_SCORE: &str = "injection_score";

/// All of `must`, none of `must_not`, and, where it is not empty, at least one of `should`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Every one must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must: Vec<Condition>,
    /// None may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_not: Vec<Condition>,
    /// At least one must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub should: Vec<Condition>,
}

/// A test of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCondition", into = "RawCondition")]
pub struct Condition {
    /// `document_id`, `title`, `injection_score`, or `metadata.` and a path of keys joined by dots.
    pub key: String,
    /// What must be true of it.
    pub predicate: Predicate,
}

/// What a condition asks of a field. On an array field, one element that fits is enough.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Equal to one of these (never empty).
    AnyOf(Vec<Scalar>),
    /// A number within bounds; at least one bound is set.
    Range {
        /// Greater than or equal.
        gte: Option<f64>,
        /// Greater than.
        gt: Option<f64>,
        /// Less than or equal.
        lte: Option<f64>,
        /// Less than.
        lt: Option<f64>,
    },
}

/// A value that equality is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text, compared exactly.
    Text(String),
}

impl Filter {
    /// Whether it has no condition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.must.is_empty() && self.must_not.is_empty() && self.should.is_empty()
    }

    /// Checks the number of conditions and every key.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the condition.
    pub fn validate(&self) -> Result<()> {
        let count = self.must.len() + self.must_not.len() + self.should.len();
        if count > MAX_CONDITIONS {
            return Err(Error::invalid(format!("the filter has {count} conditions; the limit is {MAX_CONDITIONS}")));
        }
        self.must.iter().chain(&self.must_not).chain(&self.should).try_for_each(check_condition)
    }
}

impl Filter {
    /// Whether a document meets it; the same conditions as the vector stores apply, for searches without one. A
    /// condition on `injection_score` is passed over: it is about a chunk's text, which whoever searches has to look at.
    #[must_use]
    pub fn matches(&self, document: &DocumentId, title: &str, metadata: &Metadata) -> bool {
        let is_known = |condition: &&Condition| condition.key != INJECTION_SCORE;
        let holds = |condition: &Condition| match condition.key.as_str() {
            INJECTION_SCORE => true,
            "document_id" => condition.predicate.holds(&Value::from(document.as_str())),
            "title" => condition.predicate.holds(&Value::from(title)),
            key => {
                let mut path = key.strip_prefix("metadata.").unwrap_or_default().split('.');
                let first = path.next().and_then(|name| metadata.get(name));
                let found = path.try_fold(first, |value, name| value.map(|value| value.get(name)));
                found.flatten().is_some_and(|value| condition.predicate.holds(value))
            }
        };
        self.must.iter().all(holds)
            && !self.must_not.iter().filter(is_known).any(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
    }
}

impl Predicate {
    /// What a number must not be to lie in the range: with these, what has no number at all lies in it too. `None` for
    /// a predicate that is no range or does not include 0.
    #[must_use]
    pub fn excluded(&self) -> Option<Vec<Self>> {
        let Self::Range { gte, gt, lte, lt } = *self else { return None };
        let none = Self::Range { gte: None, gt: None, lte: None, lt: None };
        let includes_zero = self.holds(&Value::from(0));
        let with = |range: &dyn Fn(f64) -> Self, bound: Option<f64>| bound.map(range);
        let bounds = [
            with(&|bound| Self::Range { gte: None, gt: None, lte: None, lt: Some(bound) }, gte),
            with(&|bound| Self::Range { gte: None, gt: None, lte: Some(bound), lt: None }, gt),
            with(&|bound| Self::Range { gte: None, gt: Some(bound), lte: None, lt: None }, lte),
            with(&|bound| Self::Range { gte: Some(bound), gt: None, lte: None, lt: None }, lt),
        ];
        (includes_zero && *self != none).then(|| bounds.into_iter().flatten().collect())
    }

    fn holds(&self, value: &Value) -> bool {
        if let Value::Array(elements) = value {
            return elements.iter().any(|element| self.holds(element));
        }
        match self {
            Self::AnyOf(scalars) => scalars.iter().any(|scalar| scalar.equals(value)),
            Self::Range { gte, gt, lte, lt } => value.as_f64().is_some_and(|number| {
                gte.is_none_or(|bound| number >= bound)
                    && gt.is_none_or(|bound| number > bound)
                    && lte.is_none_or(|bound| number <= bound)
                    && lt.is_none_or(|bound| number < bound)
            }),
        }
    }
}

impl Scalar {
    fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Integer(wanted) => value.as_i64() == Some(*wanted),
            Self::Text(wanted) => value.as_str() == Some(wanted),
        }
    }
}

fn check_condition(condition: &Condition) -> Result<()> {
    let key = condition.key.as_str();
    if matches!(key, "document_id" | "title") {
        return Ok(());
    }
    if key == INJECTION_SCORE {
        let is_range = matches!(condition.predicate, Predicate::Range { .. });
        let refused = || Error::invalid(format!("filter key '{key}' takes gte, gt, lte and lt only"));
        return is_range.then_some(()).ok_or_else(refused);
    }
    let path = key.strip_prefix("metadata.").unwrap_or_default();
    if path.is_empty() || path.split('.').any(str::is_empty) || path.contains(['[', ']', '"']) {
        return Err(Error::invalid(format!(
            "filter key '{key}' must be document_id, title, injection_score or metadata.<name>"
        )));
    }
    Ok(())
}

/// The JSON shape: `match` takes a scalar or an array of scalars; the bounds take numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    key: String,
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    equals: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gte: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gt: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lte: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lt: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

impl TryFrom<RawCondition> for Condition {
    type Error = String;

    fn try_from(raw: RawCondition) -> Result<Self, String> {
        let RawCondition { key, equals, gte, gt, lte, lt } = raw;
        let bounded = [gte, gt, lte, lt].iter().any(Option::is_some);
        let predicate = match (equals, bounded) {
            (Some(_), true) => return Err(format!("condition on '{key}' has both match and a bound")),
            (None, false) => return Err(format!("condition on '{key}' needs match, gte, gt, lte or lt")),
            (None, true) => Predicate::Range { gte, gt, lte, lt },
            (Some(OneOrMany::One(value)), false) => Predicate::AnyOf(vec![value]),
            (Some(OneOrMany::Many(values)), false) if values.is_empty() => {
                return Err(format!("condition on '{key}' matches an empty list"));
            }
            (Some(OneOrMany::Many(values)), false) => Predicate::AnyOf(values),
        };
        Ok(Self { key, predicate })
    }
}

impl From<Condition> for RawCondition {
    fn from(condition: Condition) -> Self {
        let mut raw = Self { key: condition.key, equals: None, gte: None, gt: None, lte: None, lt: None };
        match condition.predicate {
            Predicate::AnyOf(mut values) if values.len() == 1 => raw.equals = values.pop().map(OneOrMany::One),
            Predicate::AnyOf(values) => raw.equals = Some(OneOrMany::Many(values)),
            Predicate::Range { gte, gt, lte, lt } => (raw.gte, raw.gt, raw.lte, raw.lt) = (gte, gt, lte, lt),
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_documented_shape_round_trips() {
        let json = r#"{"must":[{"key":"metadata.lang","match":"de"},{"key":"metadata.year","gte":2020.0}],"must_not":[{"key":"document_id","match":["a","b"]}]}"#;
        let filter: Filter = serde_json::from_str(json).unwrap();
        filter.validate().unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), json);
    }

    #[test]
    fn documents_are_matched_as_the_stores_do() {
        let document = DocumentId::new("a").unwrap();
        let metadata = serde_json::json!({"lang": ["de", "en"], "year": 2021, "deep": {"on": true}});
        let metadata = metadata.as_object().unwrap();
        for (filter, fits) in [
            ("{}", true),
            (r#"{"must":[{"key":"metadata.lang","match":"en"}]}"#, true),
            (r#"{"must":[{"key":"metadata.lang","match":["fr","it"]}]}"#, false),
            (r#"{"must":[{"key":"metadata.year","gte":2021},{"key":"metadata.year","lt":2022}]}"#, true),
            (r#"{"must":[{"key":"metadata.year","gt":2021}]}"#, false),
            (r#"{"must":[{"key":"metadata.lang","gt":0}]}"#, false),
            (r#"{"must":[{"key":"metadata.deep.on","match":true}]}"#, true),
            (r#"{"must":[{"key":"metadata.none","match":true}]}"#, false),
            (r#"{"must_not":[{"key":"document_id","match":"a"}]}"#, false),
            (r#"{"should":[{"key":"title","match":"x"},{"key":"title","match":"T"}]}"#, true),
            (r#"{"should":[{"key":"title","match":"x"}]}"#, false),
        ] {
            let parsed: Filter = serde_json::from_str(filter).unwrap();
            assert_eq!(parsed.matches(&document, "T", metadata), fits, "{filter}");
        }
    }

    #[test]
    fn the_score_of_injections_takes_a_range_only_and_says_nothing_of_a_document() {
        let filter = |json: &str| serde_json::from_str::<Filter>(json).unwrap();
        let matched = filter(r#"{"must":[{"key":"injection_score","match":1}]}"#);
        assert!(matched.validate().unwrap_err().message.contains("injection_score"));
        let document = DocumentId::new("a").unwrap();
        for json in [
            r#"{"must":[{"key":"injection_score","lt":0.5}]}"#,
            r#"{"must_not":[{"key":"injection_score","gte":0.5}]}"#,
            r#"{"should":[{"key":"injection_score","lt":0.5}]}"#,
        ] {
            filter(json).validate().unwrap();
            assert!(filter(json).matches(&document, "T", &Metadata::new()), "{json}");
        }
    }

    #[test]
    fn what_a_range_excludes_is_its_complement() {
        let range = |gte, gt, lte, lt| Predicate::Range { gte, gt, lte, lt };
        for including in [
            range(None, None, None, Some(0.5)),
            range(Some(0.0), None, Some(0.5), None),
            range(Some(-2.0), Some(-1.0), None, Some(0.1)),
        ] {
            let excluded = including.excluded().unwrap();
            for number in [-3.0, -1.0, -0.5, 0.0, 0.1, 0.3, 0.5, 0.7] {
                let number = Value::from(number);
                let outside = excluded.iter().any(|predicate| predicate.holds(&number));
                assert_eq!(including.holds(&number), !outside, "{including:?} {number}");
            }
        }
        assert_eq!(range(Some(0.5), None, None, None).excluded(), None);
        assert_eq!(Predicate::AnyOf(vec![Scalar::Integer(0)]).excluded(), None);
    }

    #[test]
    fn nonsense_is_refused_with_its_key() {
        for (bad, says) in [
            (r#"{"must":[{"key":"metadata.a"}]}"#, "metadata.a"),
            (r#"{"must":[{"key":"metadata.a","match":[]}]}"#, "empty list"),
            (r#"{"must":[{"key":"metadata.a","match":1,"gt":2}]}"#, "both"),
            (r#"{"must":[{"key":"metadata.a","matches":1}]}"#, "matches"),
            (r#"{"or":[]}"#, "or"),
        ] {
            let error = serde_json::from_str::<Filter>(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
        let filter: Filter = serde_json::from_str(r#"{"must":[{"key":"tenant","match":"other"}]}"#).unwrap();
        assert!(filter.validate().unwrap_err().message.contains("'tenant'"));
    }
}
