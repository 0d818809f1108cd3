//! From a body and its Content-Type to documents.

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart};
use bytes::Bytes;
use http::{Request, header};
use ragstone_core::{DocumentId, Error, ErrorCode, Result};

use super::batch::{self, Batch};
use super::draft::{Draft, Source};
use super::envelope::Envelope;
use super::{Format, multipart};
use crate::extract::parse_json;

/// What a body holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// One document.
    One(Draft),
    /// Several, each of which may be unusable for itself.
    Many(Batch),
}

impl Content {
    /// The one document in it.
    ///
    /// # Errors
    /// `InvalidArgument` for a batch.
    pub(crate) fn one(self) -> Result<Draft> {
        match self {
            Self::One(document) => Ok(document),
            Self::Many(_) => Err(Error::invalid("one document is expected here; send batches to POST /v1/documents")),
        }
    }
}

/// Reads `body`; `id` is the one of the path.
///
/// # Errors
/// `UnsupportedMediaType`, or `InvalidArgument` for a body that is not what its type says.
pub(crate) async fn interpret(content_type: &str, body: Bytes, id: Option<DocumentId>) -> Result<Content> {
    match Format::of(content_type)? {
        Format::Document(media_type) => Ok(Content::One(raw(media_type, body, id)?)),
        Format::Json if body.trim_ascii_start().starts_with(b"[") => Ok(Content::Many(batch::array(&body)?)),
        Format::Json => Ok(Content::One(parse_json::<Envelope>(&body)?.open(id)?)),
        Format::JsonLines => Ok(Content::Many(batch::lines(&body)?)),
        Format::Multipart => Ok(Content::One(form(content_type, body, id).await?)),
    }
}

fn raw(media_type: &'static str, body: Bytes, id: Option<DocumentId>) -> Result<Draft> {
    Draft::new(Source::Body { media_type, body }, id)
}

async fn form(content_type: &str, body: Bytes, id: Option<DocumentId>) -> Result<Draft> {
    let mut request = Request::new(Body::from(body));
    let content_type = content_type.parse().map_err(|e| Error::invalid("unusable Content-Type").with_source(e))?;
    request.headers_mut().insert(header::CONTENT_TYPE, content_type);
    // The body has been read within its limit already.
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await.map_err(|e| Error::invalid(e.body_text()))?;
    let multipart::Form { file, format, title, metadata, groups } = multipart::read(form).await?;
    let mut document = match format {
        Format::Document(media_type) => raw(media_type, file, id)?,
        Format::Json => parse_json::<Envelope>(&file)?.open(id)?,
        Format::JsonLines | Format::Multipart => {
            return Err(Error::new(ErrorCode::UnsupportedMediaType, "a form's file must be one document"));
        }
    };
    // What the form says goes before what the file says.
    document.title = title.unwrap_or(document.title);
    document.metadata = metadata.unwrap_or(document.metadata);
    document.groups = groups.unwrap_or(document.groups);
    Ok(document)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    async fn one(content_type: &str, body: &str) -> Result<Draft> {
        interpret(content_type, Bytes::from(body.to_owned()), None).await?.one()
    }

    fn part(head: &str, body: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    }

    async fn form(parts: &[String]) -> Result<Draft> {
        one("multipart/form-data; boundary=B", &format!("{}--B--\r\n", parts.concat())).await
    }

    #[tokio::test]
    async fn a_raw_body_is_the_document() {
        let document = one("text/markdown", "# Hi").await.unwrap();
        assert_eq!(document.whole(), ("text/markdown", &b"# Hi"[..]));
    }

    #[tokio::test]
    async fn a_form_carries_file_and_fields() {
        let document = form(&[
            part("name=\"metadata\"", r#"{"lang":"de"}"#),
            part("name=\"file\"; filename=\"a.md\"\r\nContent-Type: application/octet-stream", "# Größe"),
            part("name=\"title\"", "Titel"),
            part("name=\"groups\"", r#"["a","b"]"#),
        ])
        .await
        .unwrap();
        assert_eq!((document.whole(), document.title.as_str()), (("text/markdown", "# Größe".as_bytes()), "Titel"));
        assert_eq!((document.metadata["lang"].as_str(), document.groups.len()), (Some("de"), 2));
    }

    #[tokio::test]
    async fn a_json_file_is_opened_and_the_form_goes_first() {
        let file = part(
            "name=\"file\"; filename=\"a.json\"\r\nContent-Type: application/json",
            r#"{"text":"abc","title":"of the file","metadata":{"a":1}}"#,
        );
        let document = form(&[file, part("name=\"title\"", "of the form")]).await.unwrap();
        assert_eq!((document.title.as_str(), document.whole().1), ("of the form", &b"abc"[..]));
        assert_eq!(document.metadata["a"], 1);
    }

    #[tokio::test]
    async fn unusable_forms_say_what_is_wrong() {
        let file = || part("name=\"file\"; filename=\"a.txt\"", "x");
        for (parts, says) in [
            (vec![part("name=\"title\"", "t")], "part 'file'"),
            (vec![file(), file()], "twice"),
            (vec![file(), part("name=\"colour\"", "red")], "'colour'"),
            (vec![file(), part("name=\"metadata\"", "[1]")], "metadata"),
            (vec![file(), part("name=\"groups\"", "a,b")], "groups"),
            (vec![part("name=\"file\"; filename=\"a.exe\"", "x")], "cannot be read"),
            (vec![part("name=\"file\"; filename=\"a.md\"\r\nContent-Type: image/png", "x")], "image/png"),
            (vec!["--B\r\ngarbage".to_owned()], "form"),
        ] {
            let error = form(&parts).await.unwrap_err();
            assert!(error.message.contains(says), "{says}: {}", error.message);
        }
        assert!(one("multipart/form-data", "x").await.unwrap_err().message.contains("boundary"));
    }

    #[tokio::test]
    async fn batches_are_not_one_document() {
        assert!(one("application/json", r#" [{"text":"a"}]"#).await.is_err());
        assert!(one("application/x-ndjson", r#"{"text":"a"}"#).await.is_err());
    }
}
