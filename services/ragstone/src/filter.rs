//! The short form of a search filter: `lang=de,year>=2020`, or the filter's own JSON.

use ragstone_core::{Condition, Filter, Predicate, Scalar};

/// Reads a filter. JSON begins with `{`; all else is conditions joined by commas, all of which must hold:
/// `key=value`, `key!=value`, `key>=n`, `key>n`, `key<=n`, `key<n`. A bare key is one of the metadata. Values in
/// double quotes are always text and may hold commas.
pub(crate) fn parse(text: &str) -> Result<Filter, String> {
    let filter = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| e.to_string())?
    } else {
        let mut filter = Filter::default();
        for part in split(text)? {
            let (condition, negated) = condition(part.trim())?;
            if negated { filter.must_not.push(condition) } else { filter.must.push(condition) }
        }
        filter
    };
    filter.validate().map_err(|e| e.message)?;
    Ok(filter)
}

/// The parts between the commas that stand outside quotes.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut quoted = false;
    let parts = text
        .split(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .collect();
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(parts) }
}

fn condition(text: &str) -> Result<(Condition, bool), String> {
    // The longer operators first: `>=` begins with `>`.
    const OPERATORS: [&str; 6] = ["!=", ">=", "<=", "=", ">", "<"];
    let at = text.find(['!', '=', '<', '>']).ok_or_else(|| format!("'{text}' has none of = != >= > <= <"))?;
    let (key, rest) = text.split_at(at);
    let (operator, value) = OPERATORS
        .iter()
        .find_map(|operator| Some((*operator, rest.strip_prefix(operator)?.trim())))
        .ok_or_else(|| format!("'{text}' has none of = != >= > <= <"))?;
    let key = match key.trim() {
        key if matches!(key, "document_id" | "title") || key.starts_with("metadata.") => key.to_owned(),
        key => format!("metadata.{key}"),
    };
    if matches!(operator, "=" | "!=") {
        return Ok((Condition { key, predicate: Predicate::AnyOf(vec![scalar(value)?]) }, operator == "!="));
    }
    let bound: f64 = value.parse().map_err(|_| format!("'{text}' compares with '{value}', which is not a number"))?;
    let set = |name| (operator == name).then_some(bound);
    let predicate = Predicate::Range { gte: set(">="), gt: set(">"), lte: set("<="), lt: set("<") };
    Ok((Condition { key, predicate }, false))
}

fn scalar(value: &str) -> Result<Scalar, String> {
    if let Some(inner) = value.strip_prefix('"') {
        let inner = inner.strip_suffix('"').filter(|inner| !inner.contains('"'));
        return inner
            .map(|inner| Scalar::Text(inner.to_owned()))
            .ok_or_else(|| format!("{value} is not one quoted text"));
    }
    Ok(match (value.parse::<bool>(), value.parse::<i64>()) {
        _ if value.is_empty() => return Err("a value is missing; write \"\" for empty text".to_owned()),
        (Ok(truth), _) => Scalar::Bool(truth),
        (_, Ok(number)) => Scalar::Integer(number),
        _ => Scalar::Text(value.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn as_json(text: &str) -> serde_json::Value {
        serde_json::to_value(parse(text).unwrap()).unwrap()
    }

    #[test]
    fn conditions_become_the_documented_shape() {
        assert_eq!(
            as_json(r#"lang=de, year>=2020 ,n<5,draft!=true,title="a, b",metadata.x=7,id="7""#),
            json!({
                "must": [
                    {"key": "metadata.lang", "match": "de"},
                    {"key": "metadata.year", "gte": 2020.0},
                    {"key": "metadata.n", "lt": 5.0},
                    {"key": "title", "match": "a, b"},
                    {"key": "metadata.x", "match": 7},
                    {"key": "metadata.id", "match": "7"},
                ],
                "must_not": [{"key": "metadata.draft", "match": true}],
            })
        );
        assert_eq!(as_json("a>1,b<=2.5")["must"][0]["gt"], 1.0);
        assert_eq!(as_json("a>1,b<=2.5")["must"][1]["lte"], 2.5);
        assert_eq!(as_json("formula=a=b")["must"][0]["match"], "a=b");
    }

    #[test]
    fn json_is_taken_as_it_is() {
        let text = r#" {"should":[{"key":"title","match":["a","b"]}]}"#;
        assert_eq!(as_json(text), serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn nonsense_is_named() {
        for (bad, says) in [
            ("lang", "'lang'"),
            ("year>=soon", "'soon'"),
            ("a=\"x", "quote"),
            ("a=", "missing"),
            ("=1", "metadata."),
            ("a!1", "'a!1'"),
            ("{\"musty\":[]}", "musty"),
            ("a=\"x\"y\"\"", "quoted"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_quoted_text_arrives_unchanged(text in "[^\"]*") {
            let filter = parse(&format!("k=\"{text}\"")).unwrap();
            prop_assert_eq!(&filter.must[0].predicate, &Predicate::AnyOf(vec![Scalar::Text(text)]));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            drop(parse(&text));
        }
    }
}
