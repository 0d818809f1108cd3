//! Accepting a document: limits and checks, fingerprint, then bytes and job on disk before anybody is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _};
use ragstone_core::ports::{Accepted, Catalog, Idempotency, NewVersion, Write};
use ragstone_core::{Caller, DocumentId, Error, ErrorCode, Job, Metadata, Priority, Result, validate_metadata};
use ragstone_text::ChunkConfig;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Config;
use crate::bodies::Bodies;
use crate::follow::Changes;

/// The longest title and group name, in characters, and the most groups of a document.
const MAX_TITLE_CHARS: usize = 500;
const MAX_GROUP_CHARS: usize = 200;
const MAX_GROUPS: usize = 100;
/// Bodies arrive in memory: together as many of the largest kind as this.
const LARGEST_AT_ONCE: usize = 4;
/// The unit in which that memory is counted, as semaphores count in 32 bits.
const UNIT: usize = 1024;
/// To be raised whenever the same bytes would be extracted or cut differently.
const PIPELINE: u32 = 1;

/// A document that is offered, all but its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer {
    /// Empty: made from the content's hash.
    pub(crate) document_id: String,
    /// With or without parameters.
    pub(crate) media_type: String,
    /// Empty: found in the text.
    pub(crate) title: String,
    /// The caller's fields.
    pub(crate) metadata: Metadata,
    /// Who may read it.
    pub(crate) groups: Vec<String>,
    /// Accept only when this is the newest version.
    pub(crate) if_version: Option<u64>,
    /// How urgent it is among the tenant's.
    pub(crate) priority: Priority,
    /// Makes offering the same again harmless; empty: none.
    pub(crate) idempotency_key: String,
}

/// Accepts documents.
pub(crate) struct Acceptor {
    catalog: Arc<dyn Catalog>,
    bodies: Arc<Bodies>,
    changes: Changes,
    max_bytes: usize,
    chunks: ChunkConfig,
    memory: Arc<Semaphore>,
    /// How long an idempotency key is remembered.
    keys_last: Duration,
}

impl Acceptor {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, bodies: Arc<Bodies>, changes: Changes, config: &Config) -> Self {
        let units = (config.max_document_bytes * LARGEST_AT_ONCE).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(units));
        let (max_bytes, chunks, keys_last) = (config.max_document_bytes, config.chunks(), config.idempotency_ttl());
        Self { catalog, bodies, changes, max_bytes, chunks, memory, keys_last }
    }

    /// Reads `body` and accepts it as a version. What is refused for its header is refused before its bytes arrive.
    ///
    /// # Errors
    /// `InvalidArgument`, `UnsupportedMediaType`, `TooLarge`, `Unprocessable` (no bytes), `RateLimited` (too many
    /// large uploads at once), `PermissionDenied`, `Conflict`, `StorageFull`.
    pub(crate) async fn accept(
        &self,
        caller: Caller,
        offer: Offer,
        body: impl Stream<Item = Result<Bytes>>,
        traceparent: Option<String>,
    ) -> Result<Accepted> {
        let offer = check(offer)?;
        let named = if offer.document_id.is_empty() { None } else { Some(DocumentId::new(&*offer.document_id)?) };
        let (body, _memory) = self.collect(body).await?;
        let bytes = body.len() as u64;
        let version = |content_hash: String| {
            let document_id = named.map_or_else(|| DocumentId::new(&*content_hash), Ok)?;
            let asked = request_fingerprint(&offer, &document_id, &content_hash)?;
            let tenant = caller.tenant().clone();
            let write = Write { idempotency: self.idempotency(&offer.idempotency_key, asked), caller };
            let version = NewVersion {
                fingerprint: fingerprint(&offer, &content_hash, &self.chunks)?,
                tenant,
                document_id,
                title: offer.title,
                media_type: offer.media_type,
                bytes,
                content_hash,
                metadata: offer.metadata,
                groups: offer.groups,
                if_version: offer.if_version,
                traceparent,
                priority: offer.priority,
            };
            Ok((write, version))
        };
        let accepted = self.bodies.enter(&*self.catalog, body, version).await?;
        let outcome = if accepted.unchanged { "unchanged" } else { "accepted" };
        metrics::counter!("rag_ingest_documents_total", "outcome" => outcome).increment(1);
        if !accepted.unchanged {
            self.changes.work_added();
        }
        Ok(accepted)
    }

    /// Writes a tombstone. `None`: there is nothing to delete.
    ///
    /// # Errors
    /// `InvalidArgument`, `Conflict`, `Unprocessable`, `StorageFull`.
    pub(crate) async fn delete(
        &self,
        caller: Caller,
        document: &DocumentId,
        if_version: Option<u64>,
        idempotency_key: String,
    ) -> Result<Option<Job>> {
        check_key(&idempotency_key)?;
        let asked = hash_of(&[b"delete", document.as_str().as_bytes()]);
        let write = Write { idempotency: self.idempotency(&idempotency_key, asked), caller };
        let traceparent = ragstone_telemetry::current_traceparent();
        let job = self.catalog.delete(&write, document, if_version, traceparent).await?;
        if job.is_some() {
            self.changes.work_added();
        }
        Ok(job)
    }

    fn idempotency(&self, key: &str, fingerprint: String) -> Option<Idempotency> {
        (!key.is_empty()).then(|| Idempotency { key: key.to_owned(), fingerprint, ttl: self.keys_last })
    }

    /// The whole body, with the memory it was granted.
    async fn collect(&self, body: impl Stream<Item = Result<Bytes>>) -> Result<(Bytes, Option<OwnedSemaphorePermit>)> {
        let mut body = std::pin::pin!(body);
        let (mut all, mut granted) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(piece) = body.try_next().await? {
            if all.len() + piece.len() > self.max_bytes {
                let message = format!("the document is larger than the limit max_document_bytes of {}", self.max_bytes);
                return Err(Error::new(ErrorCode::TooLarge, message));
            }
            all.extend_from_slice(&piece);
            let missing = all.len().div_ceil(UNIT) - granted.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            let more = self.memory.clone().try_acquire_many_owned(missing);
            let more = more.map_err(|_| Error::new(ErrorCode::RateLimited, "too many large uploads at once"))?;
            match &mut granted {
                Some(granted) => granted.merge(more),
                None => granted = Some(more),
            }
        }
        if all.is_empty() {
            return Err(Error::unprocessable("the document is empty"));
        }
        Ok((all.freeze(), granted))
    }
}

/// The offer in its normal form.
fn check(mut offer: Offer) -> Result<Offer> {
    check_key(&offer.idempotency_key)?;
    offer.media_type = offer.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !ragstone_text::supported(&offer.media_type) {
        let message = format!("documents of type '{}' cannot be read", offer.media_type);
        return Err(Error::new(ErrorCode::UnsupportedMediaType, message));
    }
    offer.title = offer.title.trim().to_owned();
    check_name("the title", &offer.title, MAX_TITLE_CHARS)?;
    validate_metadata(&offer.metadata)?;
    if offer.groups.len() > MAX_GROUPS {
        return Err(Error::invalid(format!("{} groups are more than {MAX_GROUPS}", offer.groups.len())));
    }
    for group in &offer.groups {
        check_name("a group", group, MAX_GROUP_CHARS)?;
        if group.is_empty() {
            return Err(Error::invalid("a group must not be empty"));
        }
    }
    offer.groups.sort();
    offer.groups.dedup();
    Ok(offer)
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() { Ok(()) } else { Idempotency::check_key(key) }
}

fn check_name(what: &str, name: &str, limit: usize) -> Result<()> {
    let chars = name.chars().count();
    if chars > limit {
        return Err(Error::invalid(format!("{what} has {chars} characters; the limit is {limit}")));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} must not contain control characters")));
    }
    Ok(())
}

/// Hash of everything that decides what a version looks like to searches.
fn fingerprint(offer: &Offer, content_hash: &str, chunks: &ChunkConfig) -> Result<String> {
    let settings = [u64::from(PIPELINE), chunks.tokens as u64, chunks.overlap as u64].map(u64::to_be_bytes).concat();
    let (metadata, groups) = (json(&offer.metadata)?, json(&offer.groups)?);
    let (media_type, title) = (offer.media_type.as_bytes(), offer.title.as_bytes());
    Ok(hash_of(&[content_hash.as_bytes(), media_type, title, &metadata, &groups, &settings]))
}

/// Hash of everything that was asked for. Not of the settings: they may change between two tries. Nor of the precondition,
/// which the first try has made untrue.
fn request_fingerprint(offer: &Offer, document: &DocumentId, content_hash: &str) -> Result<String> {
    let (metadata, groups) = (json(&offer.metadata)?, json(&offer.groups)?);
    let (media_type, title) = (offer.media_type.as_bytes(), offer.title.as_bytes());
    let document = document.as_str().as_bytes();
    Ok(hash_of(&[b"accept", document, content_hash.as_bytes(), media_type, title, &metadata, &groups]))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::internal("metadata cannot be written").with_source(e))
}

/// Parts are length-prefixed, so that none can pass for another.
fn hash_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}
