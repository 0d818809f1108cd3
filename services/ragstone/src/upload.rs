//! Sending one document to the gateway.

use std::path::PathBuf;

use bytes::Bytes;
use ragstone_core::{DocumentId, Metadata};
use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::client::{Client, RequestError, retrying};
use crate::failure::Failure;
use crate::wire::Accepted;

/// Where a document's bytes are.
pub(crate) enum Content {
    /// In a file, which is read anew for every try.
    File(PathBuf),
    /// In memory.
    Bytes(Bytes),
}

/// One document to send.
pub(crate) struct Upload<'a> {
    /// Its id; without one the server makes it from the content.
    pub(crate) id: Option<&'a DocumentId>,
    pub(crate) content: Content,
    pub(crate) media_type: &'a str,
    pub(crate) metadata: &'a Metadata,
    pub(crate) groups: &'a [String],
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The file is gone or must not be read.
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The content type is not one.
    #[error("'{0}' is not a content type")]
    MediaType(String),
    /// The server did not take it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl UploadError {
    /// Whether every further document would end the same way.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_fatal())
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Request(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

impl Upload<'_> {
    /// Sends the document; a busy server is asked again when it says so.
    pub(crate) async fn send(&self, client: &Client) -> Result<Accepted, UploadError> {
        // Checked once, so that a request that cannot be made is not taken for a network fault.
        Part::text("").mime_str(self.media_type).map_err(|_| UploadError::MediaType(self.media_type.to_owned()))?;
        let answer = retrying(|| async {
            match self.form().await {
                Ok(form) => client.json(self.request(client).multipart(form)).await.map(Ok),
                Err(error) => Ok(Err(error)),
            }
        });
        answer.await?
    }

    fn request(&self, client: &Client) -> reqwest::RequestBuilder {
        match self.id {
            Some(id) => client.request(Method::PUT, &["documents", id.as_str()]),
            None => client.request(Method::POST, &["documents"]),
        }
    }

    async fn form(&self) -> Result<Form, UploadError> {
        let part = match &self.content {
            Content::File(path) => {
                let part = Part::file(path).await;
                part.map_err(|source| UploadError::File { path: path.clone(), source })?
            }
            Content::Bytes(bytes) => Part::stream(bytes.clone()).file_name("document"),
        };
        let part = part.mime_str(self.media_type).map_err(|_| UploadError::MediaType(self.media_type.to_owned()))?;
        let mut form = Form::new().part("file", part);
        if !self.metadata.is_empty() {
            form = form.text("metadata", serde_json::Value::Object(self.metadata.clone()).to_string());
        }
        if !self.groups.is_empty() {
            form = form.text("groups", serde_json::json!(self.groups).to_string());
        }
        Ok(form)
    }
}

/// Reads `key=value` into metadata: truth values and numbers keep their type, all else is text.
pub(crate) fn parse_metadata(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    let parsed = serde_json::from_str::<serde_json::Value>(value).ok();
    let value = parsed
        .filter(|v| v.is_boolean() || v.is_number() || v.is_string())
        .unwrap_or_else(|| serde_json::Value::String(value.to_owned()));
    Ok((key.trim().to_owned(), value))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_values_keep_their_type() {
        for (text, value) in [
            ("a=de", json!("de")),
            ("a=2020", json!(2020)),
            ("a=1.5", json!(1.5)),
            ("a=true", json!(true)),
            ("a=\"7\"", json!("7")),
            ("a=x=y", json!("x=y")),
            ("a=", json!("")),
            ("a=[1]", json!("[1]")),
        ] {
            assert_eq!(parse_metadata(text).unwrap(), ("a".to_owned(), value), "{text}");
        }
        assert!(parse_metadata("a").is_err());
    }
}
