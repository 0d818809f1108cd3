//! A document as JSON: its text with the fields around it.

use bytes::Bytes;
use ragstone_core::{DocumentId, Error, Metadata, Result};
use serde::Deserialize;

use super::{Format, NewDocument, id_from_content};

/// The JSON form of a document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    /// Its id; absent: the one of the path, or made from the text.
    #[serde(default)]
    pub id: Option<String>,
    /// Its text.
    pub text: String,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// The caller's fields.
    #[serde(default)]
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
    /// `InvalidArgument` when it names another id than the path does, `UnsupportedMediaType` for a type that is no text.
    pub(crate) fn open(self, id: Option<DocumentId>) -> Result<NewDocument> {
        let own = self.id.map(DocumentId::new).transpose()?;
        let id = match (id, own) {
            (Some(path), Some(own)) if path != own => {
                return Err(Error::invalid(format!("the path names document '{path}', the body '{own}'")));
            }
            (path, own) => path.or(own),
        };
        let content_type = self.content_type.as_deref().unwrap_or("text/plain");
        let media_type = match Format::of(content_type)? {
            Format::Document(name) if name.starts_with("text/") => name,
            _ => {
                return Err(Error::invalid(format!("content_type '{content_type}' is not a text's: the text is JSON")));
            }
        };
        let body = Bytes::from(self.text);
        let id = id.map_or_else(|| id_from_content(&body), Ok)?;
        Ok(NewDocument {
            id,
            media_type,
            title: self.title.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            groups: self.groups.unwrap_or_default(),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::extract::parse_json;

    fn open(json: &str, id: Option<&str>) -> Result<NewDocument> {
        parse_json::<Envelope>(json.as_bytes())?.open(id.map(|id| DocumentId::new(id).unwrap()))
    }

    #[test]
    fn every_field_arrives() {
        let json = r##"{"id":"a","text":"# Hi","title":"T","metadata":{"y":1},"groups":["g"],
            "content_type":"text/markdown"}"##;
        let document = open(json, None).unwrap();
        assert_eq!((document.id.as_str(), document.media_type, document.title.as_str()), ("a", "text/markdown", "T"));
        assert_eq!((document.body.as_ref(), document.groups.as_slice()), (&b"# Hi"[..], &["g".to_owned()][..]));
        assert_eq!(document.metadata["y"], 1);
    }

    #[test]
    fn the_id_comes_from_the_path_the_body_or_the_text() {
        assert_eq!(open(r#"{"text":"t"}"#, Some("p")).unwrap().id.as_str(), "p");
        assert_eq!(open(r#"{"text":"t","id":"p"}"#, Some("p")).unwrap().id.as_str(), "p");
        assert_eq!(open(r#"{"text":"abc"}"#, None).unwrap().id.as_str(), "6437b3ac38465133ffb63b75273a8db5");
    }

    #[test]
    fn faults_are_named() {
        for (json, says) in [
            (r#"{"text":"t","id":"other"}"#, "'other'"),
            (r#"{"text":"t","language":"de"}"#, "language"),
            (r#"{"title":"t"}"#, "text"),
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
