//! Metadata to and from `google.protobuf.Struct`, whose only number is the double.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use ragstone_core::Metadata;
use serde_json::Value;

/// Metadata as a protobuf struct. Exact for what `validate_metadata` allows.
#[must_use]
pub fn metadata_to_struct(metadata: &Metadata) -> Struct {
    Struct { fields: metadata.iter().map(|(key, value)| (key.clone(), to_proto(value))).collect() }
}

/// A protobuf struct as metadata; whole doubles become integers again.
#[must_use]
pub fn metadata_from_struct(fields: Struct) -> Metadata {
    fields.fields.into_iter().map(|(key, value)| (key, from_proto(value))).collect()
}

pub(crate) fn to_proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(*b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(s) => Kind::StringValue(s.clone()),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(to_proto).collect() }),
        Value::Object(fields) => Kind::StructValue(metadata_to_struct(fields)),
    };
    ProtoValue { kind: Some(kind) }
}

pub(crate) fn from_proto(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(b)) => Value::Bool(b),
        Some(Kind::NumberValue(n)) => number(n),
        Some(Kind::StringValue(s)) => Value::String(s),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_proto).collect()),
        Some(Kind::StructValue(fields)) => Value::Object(metadata_from_struct(fields)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within ±2^53")]
fn number(n: f64) -> Value {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() < SAFE { Value::from(n as i64) } else { Value::from(n) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn metadata_survives_the_wire() {
        let json = r#"{"b":true,"f":1.5,"i":-3,"l":[1,"x",null],"o":{"big":9007199254740991},"s":"Grüße"}"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        let back = metadata_from_struct(metadata_to_struct(&metadata));
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}
