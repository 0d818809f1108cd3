//! Documents as resources: `ragstone://documents/{id}`, the id percent-encoded.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ragstone_core::{DocumentId, Error, ErrorCode, Principal, Result};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use rmcp::model::{ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use crate::app::App;
use crate::documents;

const PREFIX: &str = "ragstone://documents/";
const PAGE: u32 = 100;
/// Chunks read at a time.
const CHUNKS: u32 = 200;
/// The longest text that is handed out: more than any model reads.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The address of a document.
pub(super) fn uri(id: &DocumentId) -> String {
    format!("{PREFIX}{}", utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC))
}

fn id(uri: &str) -> Result<DocumentId> {
    let unknown = || Error::not_found(format!("there is no resource '{uri}'"));
    let encoded = uri.strip_prefix(PREFIX).ok_or_else(unknown)?;
    let id = percent_decode_str(encoded).decode_utf8().map_err(|_| unknown())?;
    DocumentId::new(id.as_ref()).map_err(|_| unknown())
}

/// How the addresses are made.
pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new(format!("{PREFIX}{{document_id}}"), "document")
        .with_title("A document's text")
        .with_description("The text of a document, as it was extracted.")
        .with_mime_type("text/plain")
}

/// A page of the documents the caller may read.
pub(super) async fn list(app: &App, caller: &Principal, cursor: String) -> Result<ListResourcesResult> {
    let deadline = app.deadline();
    let status = v1::DocumentStatus::Unspecified.into();
    let request = v1::ListDocumentsRequest { limit: PAGE, cursor, status };
    let page = deadline.run(documents::list(app, caller, request, deadline)).await?;
    let resource = |document: v1::Document| {
        let id = DocumentId::new(document.document_id)?;
        let mut resource = Resource::new(uri(&id), id.as_str()).with_mime_type("text/plain");
        if !document.title.is_empty() {
            resource = resource.with_title(document.title);
        }
        Ok(resource)
    };
    // One without a live version has no text yet.
    let live = page.documents.into_iter().filter(|document| document.live_version.is_some());
    let mut result = ListResourcesResult::with_all_items(live.map(resource).collect::<Result<_>>()?);
    result.next_cursor = Some(page.next_cursor).filter(|cursor| !cursor.is_empty());
    Ok(result)
}

/// A document's text.
pub(super) async fn read(app: &App, caller: &Principal, uri: &str) -> Result<ReadResourceResult> {
    let id = id(uri)?;
    let deadline = app.deadline();
    let text = deadline.run(text(app, caller, &id, deadline)).await?;
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri)]))
}

/// All chunks joined, their overlaps once.
async fn text(app: &App, caller: &Principal, id: &DocumentId, deadline: Deadline) -> Result<String> {
    let (mut text, mut end, mut from) = (String::new(), 0, 0);
    let mut version = None;
    loop {
        let page = documents::text(app, caller, id, from, CHUNKS, deadline).await?;
        if *version.get_or_insert(page.version) != page.version {
            return Err(Error::conflict("the document changed while it was read; read it again"));
        }
        for chunk in &page.chunks {
            append(&mut text, &mut end, chunk);
            if text.len() > MAX_BYTES {
                let message = format!("document '{id}' is too long to be read as one resource; search it");
                return Err(Error::new(ErrorCode::TooLarge, message));
            }
        }
        let read = u32::try_from(page.chunks.len()).unwrap_or(u32::MAX);
        from = from.saturating_add(read);
        if read == 0 || from >= page.total {
            return Ok(text);
        }
    }
}

/// Positions count characters of the extracted text.
fn append(text: &mut String, end: &mut u64, chunk: &v1::TextChunk) {
    if chunk.start > *end {
        text.push('\n');
    }
    let known = usize::try_from(end.saturating_sub(chunk.start)).unwrap_or(usize::MAX);
    text.extend(chunk.content.chars().skip(known));
    *end = chunk.end.max(*end);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses_name_documents_both_ways() {
        for name in ["a", "folder/file ä.md", "100%", "?#&"] {
            let id = DocumentId::new(name).unwrap();
            assert_eq!(super::id(&uri(&id)).unwrap(), id);
        }
        for bad in ["", "file:///etc/passwd", "ragstone://documents/", "ragstone://documents/%ff"] {
            assert_eq!(super::id(bad).unwrap_err().code, ErrorCode::NotFound, "{bad}");
        }
    }

    #[test]
    fn overlaps_are_told_once_and_gaps_are_a_new_line() {
        let chunk = |start, content: &str| v1::TextChunk {
            start,
            end: start + content.chars().count() as u64,
            content: content.to_owned(),
            ..v1::TextChunk::default()
        };
        let (mut text, mut end) = (String::new(), 0);
        for chunk in [chunk(0, "Grüße an"), chunk(3, "ße an alle"), chunk(15, "Ende")] {
            append(&mut text, &mut end, &chunk);
        }
        assert_eq!(text, "Grüße an alle\nEnde");
    }
}
