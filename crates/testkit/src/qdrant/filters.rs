//! Filters from the wire to the engine, through the JSON form that both know.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Condition, FieldCondition, Filter, GeoPoint, Match, Range};
use qdrant_edge as edge;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::errors::{bad_input, unsupported};
use super::values::{ids, path};

pub(super) fn optional(filter: Option<Filter>) -> Result<Option<edge::Filter>, Status> {
    filter.map(convert).transpose()
}

pub(super) fn convert(filter: Filter) -> Result<edge::Filter, Status> {
    parse(filter_json(filter)?)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Status> {
    serde_json::from_value(value).map_err(bad_input)
}

fn filter_json(filter: Filter) -> Result<Value, Status> {
    let Filter { should, must, must_not, min_should } = filter;
    let mut object = Map::new();
    for (name, conditions) in [("should", should), ("must", must), ("must_not", must_not)] {
        if !conditions.is_empty() {
            object.insert(name.to_owned(), conditions_json(conditions)?);
        }
    }
    if let Some(min) = min_should {
        let conditions = conditions_json(min.conditions)?;
        object.insert("min_should".to_owned(), json!({ "conditions": conditions, "min_count": min.min_count }));
    }
    Ok(Value::Object(object))
}

fn conditions_json(conditions: Vec<Condition>) -> Result<Value, Status> {
    conditions.into_iter().map(condition_json).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn condition_json(condition: Condition) -> Result<Value, Status> {
    match condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => field_json(field),
        Some(ConditionOneOf::IsEmpty(empty)) => Ok(json!({ "is_empty": { "key": key(empty.key)? } })),
        Some(ConditionOneOf::IsNull(null)) => Ok(json!({ "is_null": { "key": key(null.key)? } })),
        Some(ConditionOneOf::HasId(has)) => Ok(json!({ "has_id": ids(has.has_id)? })),
        Some(ConditionOneOf::HasVector(has)) => Ok(json!({ "has_vector": has.has_vector })),
        Some(ConditionOneOf::Filter(filter)) => filter_json(filter),
        Some(ConditionOneOf::Nested(nested)) => {
            let filter = nested.filter.ok_or_else(|| Status::invalid_argument("Nested condition without a filter"))?;
            Ok(json!({ "nested": { "key": key(nested.key)?, "filter": filter_json(filter)? } }))
        }
        Some(ConditionOneOf::Slice(_)) => Err(unsupported("the slice condition")),
        None => Err(Status::invalid_argument("Malformed Condition type")),
    }
}

fn field_json(field: FieldCondition) -> Result<Value, Status> {
    let mut object = Map::from_iter([("key".to_owned(), Value::String(key(field.key)?))]);
    let mut put = |name: &str, value| drop(object.insert(name.to_owned(), value));
    if let Some(condition) = field.r#match {
        put("match", match_json(condition)?);
    }
    if let Some(range) = field.range {
        put("range", range_json(range)?);
    }
    if let Some(count) = field.values_count {
        put("values_count", json!({ "lt": count.lt, "gt": count.gt, "gte": count.gte, "lte": count.lte }));
    }
    if let Some(area) = field.geo_radius {
        put("geo_radius", json!({ "center": point_json(area.center)?, "radius": area.radius }));
    }
    if let Some(area) = field.geo_bounding_box {
        let (top_left, bottom_right) = (point_json(area.top_left)?, point_json(area.bottom_right)?);
        put("geo_bounding_box", json!({ "top_left": top_left, "bottom_right": bottom_right }));
    }
    if let Some(empty) = field.is_empty {
        put("is_empty", Value::Bool(empty));
    }
    if let Some(null) = field.is_null {
        put("is_null", Value::Bool(null));
    }
    if field.geo_polygon.is_some() {
        return Err(unsupported("the geo polygon condition"));
    }
    if field.datetime_range.is_some() {
        return Err(unsupported("the datetime range condition"));
    }
    if object.len() == 1 {
        return Err(bad_input("At least one field condition must be specified"));
    }
    Ok(Value::Object(object))
}

fn match_json(condition: Match) -> Result<Value, Status> {
    Ok(match condition.match_value {
        Some(MatchValue::Keyword(value)) => json!({ "value": value }),
        Some(MatchValue::Integer(value)) => json!({ "value": value }),
        Some(MatchValue::Boolean(value)) => json!({ "value": value }),
        Some(MatchValue::Keywords(values)) => json!({ "any": values.strings }),
        Some(MatchValue::Integers(values)) => json!({ "any": values.integers }),
        Some(MatchValue::ExceptKeywords(values)) => json!({ "except": values.strings }),
        Some(MatchValue::ExceptIntegers(values)) => json!({ "except": values.integers }),
        Some(MatchValue::Text(text)) => json!({ "text": text }),
        Some(MatchValue::TextAny(text)) => json!({ "text_any": text }),
        Some(MatchValue::Phrase(text)) => json!({ "phrase": text }),
        Some(MatchValue::Prefix(_)) => return Err(unsupported("the prefix match")),
        Some(MatchValue::Substring(_)) => return Err(unsupported("the substring match")),
        None => return Err(Status::invalid_argument("Malformed Match condition")),
    })
}

fn range_json(range: Range) -> Result<Value, Status> {
    let bounds = [("lt", range.lt), ("gt", range.gt), ("gte", range.gte), ("lte", range.lte)];
    // JSON has no infinity: it would turn into no bound at all.
    if bounds.iter().any(|(_, bound)| bound.is_some_and(|bound| !bound.is_finite())) {
        return Err(unsupported("a range with an infinite bound"));
    }
    Ok(bounds.into_iter().map(|(name, bound)| (name.to_owned(), json!(bound))).collect::<Map<_, _>>().into())
}

fn point_json(point: Option<GeoPoint>) -> Result<Value, Status> {
    let point = point.ok_or_else(|| Status::invalid_argument("Malformed geo point"))?;
    Ok(json!({ "lon": point.lon, "lat": point.lat }))
}

/// The key, once it is known to be a path.
fn key(text: String) -> Result<String, Status> {
    path(&text)?;
    Ok(text)
}
