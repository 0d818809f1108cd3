//! Lists of words that an environment variable can hold too: `a,b,c`.

use serde::{Deserialize, Deserializer};

/// Reads a list, or one text with commas between the items; blanks around them do not count. For
/// `#[serde(deserialize_with = "ragstone_config::list")]`.
///
/// # Errors
/// For anything else.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of texts, or one text with commas between the items")]
    enum Written {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::List(items) => items,
        Written::Text(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Section {
        #[serde(deserialize_with = "list")]
        urls: Vec<String>,
    }

    #[test]
    fn a_list_may_be_one_text() {
        let read = |toml: &str| toml::from_str::<Section>(toml).map(|section| section.urls);
        assert_eq!(read("urls = ['a', 'b']").unwrap(), ["a", "b"]);
        assert_eq!(read("urls = ' a, b ,'").unwrap(), ["a", "b"]);
        assert!(read("urls = ''").unwrap().is_empty());
        assert!(read("urls = 7").unwrap_err().to_string().contains("commas"));
    }
}
