//! What can be done with documents, the same for REST and gRPC; the ingestion service owns them.

mod batch;
mod content;
mod draft;
pub(crate) mod envelope;
mod fetch;
mod media;
mod multipart;
mod precondition;
pub(crate) mod rest;
pub(crate) mod view;

use bytes::Bytes;
use futures::stream;
use ragstone_core::{DocumentId, DocumentStatus, Error, Metadata, Principal, Priority, Result, validate_metadata};
use ragstone_proto::v1::accept_document_request::Part;
use ragstone_proto::{metadata_to_struct, required, v1};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use crate::app::App;
use crate::backends::failed;
use crate::context::current_request_id;

pub(crate) use content::{Content, interpret};
pub(crate) use draft::Draft;
pub use fetch::FetchConfig;
pub(crate) use fetch::Fetcher;
pub(crate) use media::Format;
pub(crate) use precondition::idempotency_key;

/// Bodies travel to the ingestion service in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// Characters of the BLAKE3 hash that name a document without a name.
const HASH_ID_CHARS: usize = 32;
const MAX_TITLE_CHARS: usize = 1_000;
const MAX_GROUPS: usize = 100;
const INGESTION: &str = "ingestion";

/// A document about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewDocument {
    /// Its id.
    pub id: DocumentId,
    /// What kind of bytes these are.
    pub media_type: &'static str,
    /// Its title; empty: to be found in the text.
    pub title: String,
    /// The caller's fields.
    pub metadata: Metadata,
    /// Who may read it; empty: everyone in the tenant.
    pub groups: Vec<String>,
    /// The bytes.
    pub body: Bytes,
}

/// How a document is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Put {
    /// Only when this is the newest version; 0: only when there is no such document.
    pub if_version: Option<u64>,
    /// How urgent it is among the tenant's.
    pub priority: Priority,
    /// Makes sending the same again harmless; empty: none.
    pub idempotency_key: String,
}

/// Who asks, as the services behind take it.
pub(crate) fn wire(caller: &Principal) -> v1::Caller {
    caller.caller(current_request_id()).into()
}

/// The id of a document that was given none: made from its content, so that sending it twice stores it once.
pub(crate) fn id_from_content(body: &[u8]) -> Result<DocumentId> {
    DocumentId::new(&blake3::hash(body).to_hex()[..HASH_ID_CHARS])
}

impl NewDocument {
    /// Checks what the caller wrote beside the bytes.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field.
    fn validate(&self) -> Result<()> {
        let title = self.title.chars().count();
        if title > MAX_TITLE_CHARS {
            return Err(Error::invalid(format!("title is {title} characters long; the limit is {MAX_TITLE_CHARS}")));
        }
        if self.groups.len() > MAX_GROUPS {
            let count = self.groups.len();
            return Err(Error::invalid(format!("there are {count} groups; the limit is {MAX_GROUPS}")));
        }
        if self.groups.iter().any(|group| group.trim().is_empty()) {
            return Err(Error::invalid("a group's name must not be empty"));
        }
        validate_metadata(&self.metadata)
    }

    fn into_parts(self, caller: v1::Caller, how: Put) -> impl Iterator<Item = Part> + Send + 'static {
        let document = v1::DocumentHeader {
            document_id: self.id.into(),
            media_type: self.media_type.to_owned(),
            title: self.title,
            metadata: Some(metadata_to_struct(&self.metadata)),
            groups: self.groups,
            if_version: how.if_version,
            priority: v1::Priority::from(how.priority).into(),
        };
        let header =
            v1::AcceptHeader { caller: Some(caller), document: Some(document), idempotency_key: how.idempotency_key };
        let body = self.body;
        let pieces = (0..body.len()).step_by(PIECE_BYTES).map(move |start| {
            let end = body.len().min(start + PIECE_BYTES);
            Part::Data(body[start..end].to_vec())
        });
        std::iter::once(Part::Header(header)).chain(pieces)
    }
}

/// Stores a document; on return it is durable.
///
/// # Errors
/// What validation and the ingestion service say, `Conflict` when `if_version` is not the newest version (0: when
/// there is such a document).
#[tracing::instrument(skip_all, fields(bytes = document.body.len(), media_type = document.media_type))]
pub(crate) async fn put(
    app: &App,
    caller: &Principal,
    document: NewDocument,
    how: Put,
    deadline: Deadline,
) -> Result<v1::PutDocumentResponse> {
    document.validate()?;
    let parts = document.into_parts(wire(caller), how);
    let messages = stream::iter(parts.map(|part| v1::AcceptDocumentRequest { part: Some(part) }));
    let answer = app.backends.ingestion.clone().accept_document(request(messages, deadline)).await;
    let v1::AcceptDocumentResponse { job, unchanged } = answer.map_err(failed(INGESTION))?.into_inner();
    Ok(v1::PutDocumentResponse { job: Some(required(job, "job").map_err(broken)?), unchanged })
}

/// One document. A deleted one is not there.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn get(app: &App, caller: &Principal, id: &DocumentId, deadline: Deadline) -> Result<v1::Document> {
    let message = v1::ReadDocumentRequest { caller: Some(wire(caller)), document_id: id.to_string() };
    let answer = app.backends.ingestion.clone().read_document(request(message, deadline)).await;
    let document = answer.map_err(failed(INGESTION))?.into_inner().document;
    let document = required(document, "document").map_err(broken)?;
    if document.status() == v1::DocumentStatus::Deleted {
        return Err(Error::not_found(format!("document '{id}' was deleted")));
    }
    Ok(document)
}

/// A page of documents.
///
/// # Errors
/// `InvalidArgument` for a cursor that is none.
pub(crate) async fn list(
    app: &App,
    caller: &Principal,
    page: v1::ListDocumentsRequest,
    deadline: Deadline,
) -> Result<v1::ListDocumentsResponse> {
    let v1::ListDocumentsRequest { limit, cursor, status } = page;
    let message = v1::ScanDocumentsRequest { caller: Some(wire(caller)), limit, cursor, status };
    let answer = app.backends.ingestion.clone().scan_documents(request(message, deadline)).await;
    let v1::ScanDocumentsResponse { documents, next_cursor } = answer.map_err(failed(INGESTION))?.into_inner();
    Ok(v1::ListDocumentsResponse { documents, next_cursor })
}

/// Every version of a document, newest first, deletions too.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn history(
    app: &App,
    caller: &Principal,
    id: &DocumentId,
    deadline: Deadline,
) -> Result<Vec<v1::DocumentVersion>> {
    let message = v1::ReadHistoryRequest { caller: Some(wire(caller)), document_id: id.to_string() };
    let answer = app.backends.ingestion.clone().read_history(request(message, deadline)).await;
    Ok(answer.map_err(failed(INGESTION))?.into_inner().versions)
}

/// Chunks of the document's live version, from the chunk `from` on.
///
/// # Errors
/// `NotFound`, also while no version is live.
pub(crate) async fn text(
    app: &App,
    caller: &Principal,
    id: &DocumentId,
    from: u32,
    limit: u32,
    deadline: Deadline,
) -> Result<v1::ReadTextResponse> {
    let message = v1::ReadTextRequest { caller: Some(wire(caller)), document_id: id.to_string(), from, limit };
    let answer = app.backends.ingestion.clone().read_text(request(message, deadline)).await;
    Ok(answer.map_err(failed(INGESTION))?.into_inner())
}

/// Deletes a document; on return that is durable.
///
/// # Errors
/// `NotFound`, or `Conflict` when `if_version` is not the newest version.
#[tracing::instrument(skip_all)]
pub(crate) async fn delete(
    app: &App,
    caller: &Principal,
    id: &DocumentId,
    if_version: Option<u64>,
    idempotency_key: String,
    deadline: Deadline,
) -> Result<v1::Job> {
    let (caller, document_id) = (Some(wire(caller)), id.to_string());
    let message = v1::TombstoneDocumentRequest { caller, document_id, if_version, idempotency_key };
    let answer = app.backends.ingestion.clone().tombstone_document(request(message, deadline)).await;
    required(answer.map_err(failed(INGESTION))?.into_inner().job, "job").map_err(broken)
}

/// A document status by name.
///
/// # Errors
/// `InvalidArgument` for an unknown one.
pub(crate) fn status_named(name: &str) -> Result<v1::DocumentStatus> {
    let status = DocumentStatus::parse(name).ok_or_else(|| {
        Error::invalid(format!("'{name}' is no status of a document: processing, ready, failed or deleted"))
    })?;
    Ok(status.into())
}

/// A backend's answer lacks what it must have: that is no fault of the caller.
pub(crate) fn broken(error: Error) -> Error {
    Error::internal("a backend's answer is incomplete").with_source(error)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn document(body: Bytes) -> NewDocument {
        let id = id_from_content(&body).unwrap();
        let (title, metadata, groups) = (String::new(), Metadata::new(), Vec::new());
        NewDocument { id, media_type: "text/plain", title, metadata, groups, body }
    }

    #[test]
    fn an_id_made_from_content_is_its_hash() {
        let id = id_from_content(b"abc").unwrap();
        assert_eq!(id.as_str(), "6437b3ac38465133ffb63b75273a8db5");
    }

    #[test]
    fn pieces_are_the_body_in_order() {
        let how = Put { if_version: Some(7), priority: Priority::Low, idempotency_key: "k".to_owned() };
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let body: Bytes = (0..length).map(|i| (i % 251) as u8).collect();
            let mut parts = document(body.clone()).into_parts(v1::Caller::default(), how.clone());
            let Some(Part::Header(header)) = parts.next() else { unreachable!("the header comes first") };
            assert_eq!((header.document.unwrap().if_version, header.idempotency_key.as_str()), (Some(7), "k"));
            let pieces: Vec<_> = parts
                .map(|part| match part {
                    Part::Data(data) => data,
                    Part::Header(_) => unreachable!("one header only"),
                })
                .collect();
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_BYTES));
            assert_eq!(pieces.concat(), body);
        }
    }

    #[test]
    fn unusable_fields_are_named() {
        let base = document(Bytes::new());
        for (bad, says) in [
            (NewDocument { title: "x".repeat(1001), ..base.clone() }, "title"),
            (NewDocument { groups: vec![" ".to_owned()], ..base.clone() }, "group"),
            (NewDocument { groups: vec!["g".to_owned(); 101], ..base.clone() }, "groups"),
            (NewDocument { metadata: Metadata::from_iter([(String::new(), 1.into())]), ..base.clone() }, "metadata"),
        ] {
            assert!(bad.validate().unwrap_err().message.contains(says), "{says}");
        }
        assert!(base.validate().is_ok());
    }
}
