//! From a body to chunks: extraction, language, cutting.

use bytes::Bytes;
use ragstone_core::ports::{NewVersion, VersionText};
use ragstone_core::{Error, Result};
use ragstone_text::{Chunker, Extractor, detect_language};

/// Makes the text of versions.
pub(crate) struct TextMaker {
    extractor: Extractor,
}

impl TextMaker {
    pub(crate) fn new(extractor: Extractor) -> Self {
        Self { extractor }
    }

    /// The text of `version`, cut by `chunker`.
    ///
    /// # Errors
    /// Those of extraction; `Unprocessable` when there is no text in it.
    pub(crate) async fn make(&self, version: &NewVersion, body: Bytes, chunker: Chunker) -> Result<VersionText> {
        let extracted = self.extractor.extract(body, &version.media_type).await?;
        let cutting = tokio::task::spawn_blocking(move || {
            let language = detect_language(&extracted.text).map(str::to_owned);
            (chunker.chunk(&extracted), language, extracted.title)
        });
        let (chunks, language, found) =
            cutting.await.map_err(|e| Error::internal("cutting the text into chunks failed").with_source(e))?;
        let chunks = chunks?;
        if chunks.is_empty() {
            return Err(Error::unprocessable("the document holds no text"));
        }
        let title = if version.title.is_empty() { found.unwrap_or_default() } else { version.title.clone() };
        Ok(VersionText { title, language, chunks })
    }
}
