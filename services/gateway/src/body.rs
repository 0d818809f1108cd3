//! Reading request bodies within limits of size and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use ragstone_core::{Error, ErrorCode, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The granule in which upload memory is handed out.
const GRANULE: usize = 64 * 1024;
/// How long an upload waits for memory before it is turned away.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
/// How long the rest of a refused body is read (and thrown away), so that the client sees the answer and not a reset.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Memory for uploads under way, so that many large ones at once cannot exhaust the process.
pub(crate) struct UploadMemory {
    granules: Arc<Semaphore>,
    total: usize,
}

impl UploadMemory {
    /// `bytes` of memory in all.
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(GRANULE).min(Semaphore::MAX_PERMITS);
        Self { granules: Arc::new(Semaphore::new(total)), total }
    }

    /// Room for `bytes`, held until the permit is dropped.
    ///
    /// # Errors
    /// `Unavailable` when none came free in time.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(GRANULE).clamp(1, self.total)).unwrap_or(u32::MAX);
        let permit = tokio::time::timeout(MEMORY_WAIT, Arc::clone(&self.granules).acquire_many_owned(wanted)).await;
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                metrics::counter!("rag_shed_total", "reason" => "upload_memory").increment(1);
                Err(Error::unavailable("too many uploads are under way").with_retry_after(MEMORY_WAIT))
            }
        }
    }
}

/// What the body will need at most: its announced length, or `limit` where none is announced.
pub(crate) fn expected_size(headers: &HeaderMap, limit: usize) -> usize {
    announced(headers).map_or(limit, |length| length.min(limit))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body.
///
/// # Errors
/// `TooLarge` when it is over `limit` bytes, `InvalidArgument` when it breaks off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes> {
    let too_large = || Error::new(ErrorCode::TooLarge, format!("the body is over the limit of {limit} bytes"));
    let announced = announced(headers).unwrap_or_default();
    if announced > limit {
        // A client that asked first has not sent anything yet.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::invalid("the body broke off").with_source(e))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            discard(body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

async fn discard(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DISCARD_TIME, rest).await.is_err() {
        tracing::debug!("a refused body did not end in time");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use futures::stream;

    fn pieces(count: usize) -> Body {
        Body::from_stream(stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"0123456789")))))
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_whole() {
        assert_eq!(read(&HeaderMap::new(), pieces(3), 30).await.unwrap().len(), 30);
        assert_eq!(read(&HeaderMap::new(), Body::empty(), 30).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn more_is_refused_announced_or_not() {
        assert_eq!(read(&HeaderMap::new(), pieces(4), 39).await.unwrap_err().code, ErrorCode::TooLarge);
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, "40".parse().unwrap())]);
        assert_eq!(read(&headers, pieces(4), 39).await.unwrap_err().code, ErrorCode::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_whole_body() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("gone"))]);
        let error = read(&HeaderMap::new(), Body::from_stream(broken), 30).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_comes_back() {
        let memory = UploadMemory::new(3 * GRANULE);
        let first = memory.reserve(2 * GRANULE).await.unwrap();
        let small = memory.reserve(0).await.unwrap();
        assert_eq!(memory.reserve(1).await.unwrap_err().code, ErrorCode::Unavailable);
        drop(first);
        assert!(memory.reserve(GRANULE + 1).await.is_ok());
        drop(small);
        assert!(memory.reserve(usize::MAX).await.is_ok(), "more than there is means all of it");
    }
}
