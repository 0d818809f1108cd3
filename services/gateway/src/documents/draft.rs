//! A document as a caller sends it: whole, or as the address that it is fetched from.

use bytes::Bytes;
use ragstone_core::{DocumentId, Metadata, Result};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::{NewDocument, fetch, id_from_content};
use crate::app::App;

/// The field of the metadata that names the address a document was fetched from.
const SOURCE_URL: &str = "source_url";

/// A document whose bytes may have to be fetched.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Its id.
    pub id: DocumentId,
    /// Its title; empty: to be found in the text.
    pub title: String,
    /// The caller's fields.
    pub metadata: Metadata,
    /// Who may read it; empty: everyone in the tenant.
    pub groups: Vec<String>,
    /// Where its bytes are.
    pub source: Source,
}

/// Where a document's bytes are.
#[derive(Debug)]
pub(crate) enum Source {
    /// Here.
    Body {
        /// What kind of bytes these are.
        media_type: &'static str,
        /// The bytes.
        body: Bytes,
    },
    /// To be fetched.
    Url(Box<Url>),
}

impl Source {
    /// The id of a document that was given none: made from its content or, as that may change, from its address.
    pub(super) fn id(&self) -> Result<DocumentId> {
        match self {
            Self::Body { body, .. } => id_from_content(body),
            Self::Url(url) => id_from_content(url.as_str().as_bytes()),
        }
    }
}

impl Draft {
    /// With nothing but its bytes; without an `id` it gets one that its source makes.
    pub(super) fn new(source: Source, id: Option<DocumentId>) -> Result<Self> {
        let id = id.map_or_else(|| source.id(), Ok)?;
        Ok(Self { id, title: String::new(), metadata: Metadata::new(), groups: Vec::new(), source })
    }

    /// The document, fetched if need be, and the memory that this took: to be held until the document is stored.
    ///
    /// # Errors
    /// See [`fetch::Fetcher::fetch`].
    pub(crate) async fn complete(self, app: &App) -> Result<(NewDocument, Option<OwnedSemaphorePermit>)> {
        let Self { id, title, mut metadata, groups, source } = self;
        let (media_type, body, memory) = match source {
            Source::Body { media_type, body } => (media_type, body, None),
            Source::Url(url) => {
                metadata.entry(SOURCE_URL).or_insert_with(|| fetch::shown(&url).into());
                let fetched = app.fetcher.fetch(*url, &app.uploads).await?;
                (fetched.media_type, fetched.body, Some(fetched.memory))
            }
        };
        Ok((NewDocument { id, media_type, title, metadata, groups, body }, memory))
    }

    /// The bytes of a document that came whole.
    #[cfg(test)]
    pub(super) fn whole(&self) -> (&'static str, &[u8]) {
        match &self.source {
            Source::Body { media_type, body } => (media_type, body),
            Source::Url(url) => unreachable!("{url} is not fetched yet"),
        }
    }
}
