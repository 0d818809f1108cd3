//! Accepting a document: limits and checks, fingerprint, then bytes and job on disk before anybody is told.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _};
use ragstone_core::ports::{Accepted, Catalog, NewVersion};
use ragstone_core::{DocumentId, Error, ErrorCode, Metadata, Priority, Result, TenantId, validate_metadata};
use ragstone_text::ChunkConfig;
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
}

/// Accepts documents.
pub(crate) struct Acceptor {
    catalog: Arc<dyn Catalog>,
    bodies: Arc<Bodies>,
    changes: Changes,
    max_bytes: usize,
    chunks: ChunkConfig,
    memory: Arc<Semaphore>,
}

impl Acceptor {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, bodies: Arc<Bodies>, changes: Changes, config: &Config) -> Self {
        let units = (config.max_document_bytes * LARGEST_AT_ONCE).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(units));
        Self { catalog, bodies, changes, max_bytes: config.max_document_bytes, chunks: config.chunks(), memory }
    }

    /// Reads `body` and accepts it as a version. What is refused for its header is refused before its bytes arrive.
    ///
    /// # Errors
    /// `InvalidArgument`, `UnsupportedMediaType`, `TooLarge`, `Unprocessable` (no bytes), `RateLimited` (too many
    /// large uploads at once), `Conflict`, `StorageFull`.
    pub(crate) async fn accept(
        &self,
        tenant: TenantId,
        offer: Offer,
        body: impl Stream<Item = Result<Bytes>>,
        traceparent: Option<String>,
    ) -> Result<Accepted> {
        let offer = check(offer)?;
        let named = if offer.document_id.is_empty() { None } else { Some(DocumentId::new(&*offer.document_id)?) };
        let (body, _memory) = self.collect(body).await?;
        let bytes = body.len() as u64;
        let version = |content_hash: String| {
            Ok(NewVersion {
                fingerprint: fingerprint(&offer, &content_hash, &self.chunks)?,
                tenant,
                document_id: named.map_or_else(|| DocumentId::new(&*content_hash), Ok)?,
                title: offer.title,
                media_type: offer.media_type,
                bytes,
                content_hash,
                metadata: offer.metadata,
                groups: offer.groups,
                if_version: offer.if_version,
                traceparent,
                priority: offer.priority,
            })
        };
        let accepted = self.bodies.enter(&*self.catalog, body, version).await?;
        let outcome = if accepted.unchanged { "unchanged" } else { "accepted" };
        metrics::counter!("rag_ingest_documents_total", "outcome" => outcome).increment(1);
        if !accepted.unchanged {
            self.changes.work_added();
        }
        Ok(accepted)
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

/// Hash of everything that decides what a version looks like to searches. Parts are length-prefixed, so that none can
/// pass for another.
fn fingerprint(offer: &Offer, content_hash: &str, chunks: &ChunkConfig) -> Result<String> {
    let json = |e| Error::internal("metadata cannot be written").with_source(e);
    let settings = [u64::from(PIPELINE), chunks.tokens as u64, chunks.overlap as u64].map(u64::to_be_bytes).concat();
    let metadata = serde_json::to_vec(&offer.metadata).map_err(json)?;
    let groups = serde_json::to_vec(&offer.groups).map_err(json)?;
    let parts =
        [content_hash.as_bytes(), offer.media_type.as_bytes(), offer.title.as_bytes(), &metadata, &groups, &settings];
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
