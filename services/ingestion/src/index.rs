//! The retrieval service as the pipeline sees it: the writes that keep the index in step with the catalog.

use std::time::Duration;

use async_trait::async_trait;
use ragstone_core::ports::NewVersion;
use ragstone_core::{Chunk, DocumentId, Job, Result, TenantId};
use ragstone_proto::metadata_to_struct;
use ragstone_proto::v1::retrieval_service_client::RetrievalServiceClient;
use ragstone_proto::v1::{PublishVersionRequest, RemoveVersionsRequest, StageChunksRequest, StagedChunk};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tonic::transport::Channel;

use crate::policy::of_peer;

/// The longest a write may take; publishing waits for two flushes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Some chunks of one version, with their vectors.
pub(crate) struct Batch<'a> {
    /// Which document and version.
    pub(crate) job: &'a Job,
    /// What the caller said of it.
    pub(crate) version: &'a NewVersion,
    /// Its title, as the catalog has it now.
    pub(crate) title: &'a str,
    /// Its language, where known.
    pub(crate) language: Option<&'a str>,
    /// The chunks.
    pub(crate) chunks: &'a [Chunk],
    /// One for each chunk.
    pub(crate) vectors: Vec<Vec<f32>>,
}

/// The index. Every call may be repeated without changing anything.
#[async_trait]
pub(crate) trait Index: Send + Sync {
    /// Stores chunks, invisible until published.
    async fn stage(&self, batch: Batch<'_>) -> Result<()>;

    /// Makes a staged version of `chunks` chunks visible in place of older ones; on disk on return. `NotFound`: some
    /// of them were lost in a crash of the index.
    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()>;

    /// Removes versions below `below`; on disk on return.
    async fn remove(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()>;
}

/// The retrieval service over gRPC.
pub(crate) struct RemoteIndex {
    client: RetrievalServiceClient<Channel>,
}

impl RemoteIndex {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { client: RetrievalServiceClient::new(channel) }
    }
}

#[async_trait]
impl Index for RemoteIndex {
    async fn stage(&self, batch: Batch<'_>) -> Result<()> {
        let chunks = batch.chunks.iter().zip(batch.vectors).map(|(chunk, vector)| StagedChunk {
            index: chunk.index,
            content: chunk.content.clone(),
            heading_path: chunk.heading_path.clone(),
            start: chunk.start,
            end: chunk.end,
            tokens: chunk.tokens,
            vector,
        });
        let message = StageChunksRequest {
            tenant: batch.job.tenant.to_string(),
            document_id: batch.job.document_id.to_string(),
            version: batch.job.version,
            title: batch.title.to_owned(),
            metadata: Some(metadata_to_struct(&batch.version.metadata)),
            groups: batch.version.groups.clone(),
            language: batch.language.unwrap_or_default().to_owned(),
            chunks: chunks.collect(),
        };
        let message = request(message, Deadline::after(TIMEOUT));
        self.client.clone().stage_chunks(message).await.map_err(of_peer)?;
        Ok(())
    }

    async fn publish(&self, tenant: &TenantId, document: &DocumentId, version: u64, chunks: u32) -> Result<()> {
        let (tenant, document_id) = (tenant.to_string(), document.to_string());
        let message = PublishVersionRequest { tenant, document_id, version, chunks };
        let message = request(message, Deadline::after(TIMEOUT));
        self.client.clone().publish_version(message).await.map_err(of_peer)?;
        Ok(())
    }

    async fn remove(&self, tenant: &TenantId, document: &DocumentId, below: u64) -> Result<()> {
        let message = RemoveVersionsRequest { tenant: tenant.to_string(), document_id: document.to_string(), below };
        let message = request(message, Deadline::after(TIMEOUT));
        self.client.clone().remove_versions(message).await.map_err(of_peer)?;
        Ok(())
    }
}
