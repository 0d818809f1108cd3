//! The reference page of all keys, generated from the types' own documentation.

use schemars::Schema;
use serde_json::Value;

/// Markdown for one section: each key with its environment variable, default and meaning.
/// `defaults` is the section's default value, serialised.
#[must_use]
pub fn reference(section: &str, schema: &Schema, defaults: &Value) -> String {
    let root = schema.as_value();
    let mut page = format!("## `[{section}]`\n\n");
    if let Some(text) = root.get("description").and_then(Value::as_str) {
        page.push_str(&format!("{}\n\n", one_line(text)));
    }
    page.push_str("| key | default | meaning |\n|---|---|---|\n");
    rows(root, root, section, defaults, &mut page);
    page.push('\n');
    page
}

fn rows(root: &Value, schema: &Value, path: &str, defaults: &Value, page: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, property) in properties {
        let target = resolve(root, property);
        let path = format!("{path}.{key}");
        let default = defaults.get(key).unwrap_or(&Value::Null);
        if target.get("properties").is_some() {
            rows(root, target, &path, default, page);
            continue;
        }
        let item =
            target.get("items").map(|items| resolve(root, items)).filter(|item| item.get("properties").is_some());
        if let Some(item) = item {
            rows(root, item, &format!("{path}[]"), &Value::Null, page);
            continue;
        }
        let meaning = property.get("description").or_else(|| target.get("description")).and_then(Value::as_str);
        let shown = match default {
            Value::Null => "—".to_owned(),
            // As it was written: a 32-bit 0.2 widened to 64 bits has a tail.
            Value::Number(number) if number.is_f64() => format!("`{}`", number.as_f64().unwrap_or_default() as f32),
            other => format!("`{other}`"),
        };
        page.push_str(&format!("| `{path}` | {shown} | {} |\n", one_line(meaning.unwrap_or_default())));
    }
}

/// Follows a `$ref` into the schema's definitions.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A part.
    #[derive(Default, serde::Serialize, schemars::JsonSchema)]
    struct Part {
        /// How often | how long.
        times: u32,
    }

    /// A section.
    #[derive(Default, serde::Serialize, schemars::JsonSchema)]
    struct Section {
        /// What it
        /// is called.
        name: Option<String>,
        /// The part.
        part: Part,
    }

    #[test]
    fn nested_keys_are_listed_with_default_and_meaning() {
        let page = reference("x", &schemars::schema_for!(Section), &serde_json::to_value(Section::default()).unwrap());
        assert!(page.contains("A section."), "{page}");
        assert!(page.contains("| `x.name` | — | What it is called. |"), "{page}");
        assert!(page.contains("| `x.part.times` | `0` | How often \\| how long. |"), "{page}");
    }
}
