//! A document as JSON: its text, or the address of it, with the fields around it.

use bytes::Bytes;
use ragstone_core::{DocumentId, Error, Metadata, Result};
use serde::Deserialize;

use super::draft::{Draft, Source};
use super::{Format, fetch};

/// The JSON form of a document.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DocumentInput, example = json!({ "text": "The bell was cast in 1612.", "metadata": { "year": 1612 } }))]
pub(crate) struct Envelope {
    /// Its id; absent: the one of the path, or made from the text.
    #[serde(default)]
    pub id: Option<String>,
    /// Its text.
    #[serde(default)]
    pub text: Option<String>,
    /// Instead of its text: where it is fetched from.
    #[serde(default)]
    pub url: Option<String>,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// The caller's fields.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Who may read it.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// What the text is; absent: `text/plain`.
    #[serde(default)]
    pub content_type: Option<String>,
}

impl Envelope {
    /// The document in it; `id` is the one of the path.
    ///
    /// # Errors
    /// `InvalidArgument` when it names another id than the path does, has not one of text and address, or an address that
    /// is none; `UnsupportedMediaType` for a type that is no text.
    pub(crate) fn open(self, id: Option<DocumentId>) -> Result<Draft> {
        let own = self.id.map(DocumentId::new).transpose()?;
        let id = match (id, own) {
            (Some(path), Some(own)) if path != own => {
                return Err(Error::invalid(format!("the path names document '{path}', the body '{own}'")));
            }
            (path, own) => path.or(own),
        };
        let source = source(self.text, self.url, self.content_type.as_deref())?;
        let draft = Draft::new(source, id)?;
        Ok(Draft {
            title: self.title.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            groups: self.groups.unwrap_or_default(),
            ..draft
        })
    }
}

fn source(text: Option<String>, url: Option<String>, content_type: Option<&str>) -> Result<Source> {
    let text = match (text, url) {
        (Some(text), None) => text,
        (None, Some(url)) if content_type.is_none() => return Ok(Source::Url(Box::new(fetch::parse(&url)?))),
        (None, Some(_)) => {
            return Err(Error::invalid("content_type goes with text; what a url leads to, its server says"));
        }
        (Some(_), Some(_)) => return Err(Error::invalid("a document has text or url, not both")),
        (None, None) => return Err(Error::invalid("the field text is missing (or url)")),
    };
    let content_type = content_type.unwrap_or("text/plain");
    match Format::of(content_type)? {
        Format::Document(media_type) if media_type.starts_with("text/") => {
            Ok(Source::Body { media_type, body: Bytes::from(text) })
        }
        _ => Err(Error::invalid(format!("content_type '{content_type}' is not a text's: the text is JSON"))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::extract::parse_json;

    fn open(json: &str, id: Option<&str>) -> Result<Draft> {
        parse_json::<Envelope>(json.as_bytes())?.open(id.map(|id| DocumentId::new(id).unwrap()))
    }

    #[test]
    fn every_field_arrives() {
        let json = r##"{"id":"a","text":"# Hi","title":"T","metadata":{"y":1},"groups":["g"],
            "content_type":"text/markdown"}"##;
        let document = open(json, None).unwrap();
        assert_eq!((document.id.as_str(), document.title.as_str()), ("a", "T"));
        assert_eq!(document.whole(), ("text/markdown", &b"# Hi"[..]));
        assert_eq!(document.groups, ["g"]);
        assert_eq!(document.metadata["y"], 1);
    }

    #[test]
    fn the_id_comes_from_the_path_the_body_or_the_text() {
        assert_eq!(open(r#"{"text":"t"}"#, Some("p")).unwrap().id.as_str(), "p");
        assert_eq!(open(r#"{"text":"t","id":"p"}"#, Some("p")).unwrap().id.as_str(), "p");
        assert_eq!(open(r#"{"text":"abc"}"#, None).unwrap().id.as_str(), "6437b3ac38465133ffb63b75273a8db5");
    }

    #[test]
    fn an_address_stands_for_the_text() {
        let json = r#"{"url":"https://Example.ORG/a?b=c#d","title":"T"}"#;
        let document = open(json, None).unwrap();
        assert!(matches!(&document.source, Source::Url(url) if url.as_str() == "https://example.org/a?b=c"));
        // The same address is the same document, whatever it leads to today.
        assert_eq!(document.id, open(r#"{"url":"https://example.org/a?b=c"}"#, None).unwrap().id);
        assert_ne!(document.id, open(r#"{"url":"https://example.org/a?b=d"}"#, None).unwrap().id);
        assert_eq!(open(json, Some("p")).unwrap().id.as_str(), "p");
    }

    #[test]
    fn faults_are_named() {
        for (json, says) in [
            (r#"{"text":"t","id":"other"}"#, "'other'"),
            (r#"{"text":"t","language":"de"}"#, "language"),
            (r#"{"title":"t"}"#, "text"),
            (r#"{"text":"t","url":"https://example.org/"}"#, "not both"),
            (r#"{"url":"https://example.org/","content_type":"text/html"}"#, "content_type"),
            (r#"{"url":"https://u:p@example.org/"}"#, "user"),
            (r#"{"url":"example.org"}"#, "url is not an address"),
            (r#"{"url":["https://example.org/"]}"#, "line 1 column"),
            (r#"{"text":1}"#, "line 1 column"),
            (r#"{"text":"t","content_type":"application/pdf"}"#, "application/pdf"),
            (r#"{"text":"t","content_type":"image/png"}"#, "image/png"),
            (r#"{"text":"t"} x"#, "trailing"),
            ("", "EOF"),
        ] {
            let error = open(json, Some("p")).unwrap_err();
            assert!(error.message.contains(says), "{json}: {}", error.message);
        }
    }
}
