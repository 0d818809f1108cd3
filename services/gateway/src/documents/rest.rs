//! The REST routes of documents.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use ragstone_core::{DocumentId, Error, Principal, Priority, Result, Scope};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use serde::Deserialize;

use super::draft::Draft;
use super::envelope::Envelope;
use super::precondition::{Precondition, idempotency_key};
use super::view::{Accepted, BatchItem, Document, Text, Version};
use super::{Content, Put, batch, interpret, status_named};
use crate::app::App;
use crate::body;
use crate::extract::{DocumentPath, Items, Listed, Page, Parameters, page_limit};
use crate::limits::Kind;
use crate::openapi::errors::{Absent, Conflicting, DiskFull, Guarded, JsonBody, Limited, Malformed, Unusable};
use crate::openapi::shapes::{BatchShape, Conditions, DocumentState, FormShape, Idempotent, IfMatch, StoredShape};
use crate::problem::Problem;

/// `?from=&limit=`
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TextPart {
    /// The first chunk.
    #[serde(default)]
    #[param(value_type = u64, required = false, maximum = 4_294_967_295_u64)]
    from: u32,
    /// The most chunks.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// `PUT /v1/documents/{id}`
#[utoipa::path(
    put, path = "/v1/documents/{id}", operation_id = "put_document", tag = "documents",
    summary = "Stores a document under an id of the caller's",
    params(DocumentPath, Idempotent, Conditions),
    request_body(
        description = "The document: its bytes with their type, a form, or JSON",
        content(
            (String = "text/plain"), (String = "text/markdown"), (String = "text/html"),
            (Vec<u8> = "application/pdf"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            (Envelope = "application/json"), (FormShape = "multipart/form-data"),
        ),
    ),
    responses(
        (status = 202, description = "It is durable; the job makes it searchable", body = Accepted,
            headers(("etag" = String, description = "The version, for `If-Match`"))),
        Guarded, JsonBody, Absent, Conflicting, Unusable, Limited, DiskFull,
    ),
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    DocumentPath(id): DocumentPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Ok(upload(&app, &headers, body, Some(id)).await?)
}

/// `POST /v1/documents`
#[utoipa::path(
    post, path = "/v1/documents", operation_id = "post_documents", tag = "documents",
    summary = "Stores documents whose ids are made from their content, or a batch",
    params(Idempotent, Conditions),
    request_body(
        description = "The document: its bytes with their type, a form, or JSON; an array or lines of JSON are a batch",
        content(
            (String = "text/plain"), (String = "text/markdown"), (String = "text/html"),
            (Vec<u8> = "application/pdf"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            (BatchShape = "application/json"), (String = "application/x-ndjson"), (FormShape = "multipart/form-data"),
        ),
    ),
    responses(
        (status = 202, description = "All is durable, or refused item by item", body = StoredShape),
        Guarded, JsonBody, Absent, Conflicting, Unusable, Limited, DiskFull,
    ),
)]
pub(crate) async fn post(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    Ok(upload(&app, &headers, body, None).await?)
}

async fn upload(app: &App, headers: &HeaderMap, body: Body, id: Option<DocumentId>) -> Result<Response> {
    let caller = app.authenticate(headers, Scope::Ingest).await?;
    let deadline = Deadline::after(app.config.upload_timeout());
    let work = async {
        let precondition = Precondition::from_headers(headers)?;
        let key = idempotency_key(headers)?;
        let limit = app.config.max_body_bytes;
        let _memory = app.uploads.reserve(body::expected_size(headers, limit)).await?;
        let body = body::read(headers, body, limit).await?;
        let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let single = id.is_some();
        match interpret(content_type.unwrap_or_default(), body, id).await? {
            Content::Many(batch) if !single => many(app, &caller, batch, precondition, key, deadline).await,
            content => one(app, &caller, content.one()?, precondition, key, deadline).await,
        }
    };
    deadline.run(work).await
}

async fn one(
    app: &App,
    caller: &Principal,
    draft: Draft,
    precondition: Precondition,
    idempotency_key: String,
    deadline: Deadline,
) -> Result<Response> {
    app.admit(caller, Kind::Upload { documents: 1 }).await?;
    let if_version = precondition.if_version(app, caller, &draft.id, deadline).await?;
    let (document, _memory) = draft.complete(app).await?;
    let how = Put { if_version, priority: Priority::Normal, idempotency_key };
    let stored = super::put(app, caller, document, how, deadline).await?;
    Ok(accepted(Accepted::new(stored.job.unwrap_or_default(), stored.unchanged)))
}

async fn many(
    app: &App,
    caller: &Principal,
    batch: batch::Batch,
    precondition: Precondition,
    idempotency_key: String,
    deadline: Deadline,
) -> Result<Response> {
    if precondition != Precondition::None {
        return Err(Error::invalid("If-Match and If-None-Match make no sense for a batch"));
    }
    if idempotency_key.len() > batch::MAX_KEY {
        return Err(Error::invalid(format!(
            "the Idempotency-Key of a batch has at most {} characters",
            batch::MAX_KEY
        )));
    }
    let item = |outcome: Result<v1::PutDocumentResponse>| match outcome {
        Ok(stored) => BatchItem::Accepted(Accepted::new(stored.job.unwrap_or_default(), stored.unchanged)),
        Err(error) => BatchItem::Refused { error: error.into() },
    };
    app.admit(caller, Kind::Upload { documents: batch.len() as u64 }).await?;
    let results = batch::put_all(app, caller, batch, &idempotency_key, deadline).await;
    let items: Vec<_> = results.into_iter().map(item).collect();
    Ok((StatusCode::ACCEPTED, Json(Items { items })).into_response())
}

fn accepted(answer: Accepted) -> Response {
    (StatusCode::ACCEPTED, [(header::ETAG, etag(answer.version))], Json(answer)).into_response()
}

/// A document's tag names its version, for `If-Match`. The same version's status changes, so it serves no caching.
fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// `GET /v1/documents/{id}`
#[utoipa::path(
    get, path = "/v1/documents/{id}", operation_id = "get_document", tag = "documents",
    summary = "One document and its state",
    params(DocumentPath),
    responses(
        (status = 200, description = "The document", body = Document,
            headers(("etag" = String, description = "The version, for `If-Match`"))),
        Guarded, Malformed, Absent,
    ),
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    DocumentPath(id): DocumentPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let document = deadline.run(super::get(&app, &caller, &id, deadline)).await?;
    let headers = [(header::ETAG, etag(document.version)), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((headers, Json(Document::from(document))).into_response())
}

/// `GET /v1/documents/{id}/text`
#[utoipa::path(
    get, path = "/v1/documents/{id}/text", operation_id = "get_document_text", tag = "documents",
    summary = "The text of a document's live version, chunk by chunk",
    params(DocumentPath, TextPart),
    responses((status = 200, description = "Its chunks", body = Text), Guarded, Malformed, Absent),
)]
pub(crate) async fn text(
    State(app): State<Arc<App>>,
    DocumentPath(id): DocumentPath,
    Parameters(part): Parameters<TextPart>,
    headers: HeaderMap,
) -> Result<Json<Text>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let limit = page_limit(part.limit)?;
    let text = deadline.run(super::text(&app, &caller, &id, part.from, limit, deadline)).await?;
    Ok(Json(Text::new(id, text)))
}

/// `GET /v1/documents`
#[utoipa::path(
    get, path = "/v1/documents", operation_id = "list_documents", tag = "documents",
    summary = "The documents that the caller may read, page by page",
    params(Page, ("status" = Option<DocumentState>, Query, description = "Only those in this state")),
    responses((status = 200, description = "A page", body = Listed<Document>), Guarded, Malformed),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Listed<Document>>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let status = page.status.as_deref().map(status_named).transpose()?.unwrap_or_default().into();
    let request = v1::ListDocumentsRequest { limit: page_limit(page.limit)?, cursor: page.cursor, status };
    let deadline = app.deadline();
    let page = deadline.run(super::list(&app, &caller, request, deadline)).await?;
    Ok(Json(Listed::new(page.documents, page.next_cursor)))
}

/// `GET /v1/documents/{id}/history`
#[utoipa::path(
    get, path = "/v1/documents/{id}/history", operation_id = "get_document_history", tag = "documents",
    summary = "Every version of a document, newest first",
    params(DocumentPath),
    responses((status = 200, description = "Its versions", body = Items<Version>), Guarded, Malformed, Absent),
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    DocumentPath(id): DocumentPath,
    headers: HeaderMap,
) -> Result<Json<Items<Version>>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let versions = deadline.run(super::history(&app, &caller, &id, deadline)).await?;
    Ok(Json(Items { items: versions.into_iter().map(Version::from).collect() }))
}

/// `DELETE /v1/documents/{id}`
#[utoipa::path(
    delete, path = "/v1/documents/{id}", operation_id = "delete_document", tag = "documents",
    summary = "Deletes a document",
    params(DocumentPath, Idempotent, IfMatch),
    responses(
        (status = 202, description = "It is durable; the job removes the chunks", body = Accepted),
        Guarded, Malformed, Absent, Conflicting, Unusable, Limited, DiskFull,
    ),
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    DocumentPath(id): DocumentPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Ingest).await?;
    let deadline = app.deadline();
    let work = async {
        app.admit(&caller, Kind::Upload { documents: 1 }).await?;
        let if_version = match Precondition::from_headers(&headers)? {
            Precondition::Absent => return Err(Error::invalid("If-None-Match makes no sense for a deletion")),
            precondition => precondition.if_version(&app, &caller, &id, deadline).await?,
        };
        super::delete(&app, &caller, &id, if_version, idempotency_key(&headers)?, deadline).await
    };
    Ok(accepted(Accepted::new(deadline.run(work).await?, false)))
}
