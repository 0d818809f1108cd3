//! The retrieval service as the pipeline sees it: the writes that keep the indexes in step with the catalog.

use std::time::Duration;

use async_trait::async_trait;
use ragstone_core::ports::NewVersion;
use ragstone_core::{Chunk, DocumentId, IndexName, IndexSpec, Job, Result, TenantId, Topology};
use ragstone_proto::metadata_to_struct;
use ragstone_proto::v1::index_service_client::IndexServiceClient;
use ragstone_proto::v1::retrieval_service_client::RetrievalServiceClient;
use ragstone_proto::v1::{
    BeginReshardRequest, CreateIndexRequest, FinishReshardRequest, MoveDocumentRequest, PublishVersionRequest,
    ReadTopologyRequest, RemoveIndexRequest, RemoveVersionsRequest, ScanIndexesRequest, ServeIndexRequest,
    StageChunksRequest, StagedChunk,
};
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tonic::Request;
use tonic::transport::Channel;

use crate::policy::of_peer;

/// The longest a write may take; publishing waits for two flushes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest a change of the indexes themselves may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(600);

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
    /// How much each chunk looks like orders to a language model.
    pub(crate) scores: &'a [f32],
}

/// One document of one index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Which index.
    pub(crate) index: &'a IndexName,
    /// Whose document.
    pub(crate) tenant: &'a TenantId,
    /// Which document.
    pub(crate) document: &'a DocumentId,
}

/// An index as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: IndexName,
    /// Whether it serves.
    pub(crate) serving: bool,
    /// Documents with a live version, where they were counted.
    pub(crate) documents: Option<u64>,
    /// Where its documents are placed.
    pub(crate) topology: Topology,
}

/// The indexes. Every call may be repeated without changing anything.
#[async_trait]
pub(crate) trait Index: Send + Sync {
    /// Stores chunks, invisible until published.
    async fn stage(&self, index: &IndexName, batch: Batch<'_>) -> Result<()>;

    /// Makes a staged version of `chunks` chunks visible in place of older ones; on disk on return. `NotFound`: some
    /// of them were lost in a crash of the index.
    async fn publish(&self, place: Place<'_>, version: u64, chunks: u32) -> Result<()>;

    /// Removes versions below `below`; on disk on return.
    async fn remove(&self, place: Place<'_>, below: u64) -> Result<()>;

    /// Brings a document to the shard it belongs to.
    async fn relocate(&self, place: Place<'_>) -> Result<()>;

    /// Makes an index; the first one serves.
    async fn create(&self, spec: &IndexSpec) -> Result<()>;

    /// Every index there is, with its documents counted where `count` asks for it.
    async fn scan(&self, count: bool) -> Result<Vec<Entry>>;

    /// One index; `None` when it is not there.
    async fn look(&self, index: &IndexName, count: bool) -> Result<Option<Entry>>;

    /// Lets this index serve.
    async fn serve(&self, index: &IndexName) -> Result<()>;

    /// Removes an index that does not serve.
    async fn drop_index(&self, index: &IndexName) -> Result<()>;

    /// The index's shards as they are now.
    async fn topology(&self, index: &IndexName) -> Result<Topology>;

    /// Lets writes go to their places among `shards` from now on.
    async fn begin_reshard(&self, index: &IndexName, shards: &[String]) -> Result<Topology>;

    /// Ends the move. `Conflict`: documents are still where they do not belong.
    async fn finish_reshard(&self, index: &IndexName) -> Result<()>;
}

/// The retrieval service over gRPC.
pub(crate) struct RemoteIndex {
    chunks: RetrievalServiceClient<Channel>,
    indexes: IndexServiceClient<Channel>,
}

impl RemoteIndex {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { chunks: RetrievalServiceClient::new(channel.clone()), indexes: IndexServiceClient::new(channel) }
    }

    async fn entries(&self, message: ScanIndexesRequest) -> Result<Vec<Entry>> {
        let answer = self.indexes.clone().scan_indexes(admin(message)).await.map_err(of_peer)?;
        let entry = |entry: ragstone_proto::v1::IndexEntry| {
            let name = IndexName::new(entry.spec.unwrap_or_default().name)?;
            let topology = entry.topology.unwrap_or_default().into();
            Ok(Entry { name, serving: entry.serving, documents: entry.documents, topology })
        };
        answer.into_inner().indexes.into_iter().map(entry).collect()
    }
}

fn write<M>(message: M) -> Request<M> {
    request(message, Deadline::after(TIMEOUT))
}

fn admin<M>(message: M) -> Request<M> {
    request(message, Deadline::after(ADMIN_TIMEOUT))
}

#[async_trait]
impl Index for RemoteIndex {
    async fn stage(&self, index: &IndexName, batch: Batch<'_>) -> Result<()> {
        let chunks =
            batch.chunks.iter().zip(batch.vectors).zip(batch.scores).map(|((chunk, vector), score)| StagedChunk {
                index: chunk.index,
                content: chunk.content.clone(),
                heading_path: chunk.heading_path.clone(),
                start: chunk.start,
                end: chunk.end,
                tokens: chunk.tokens,
                vector,
                injection_score: *score,
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
            index: index.to_string(),
        };
        self.chunks.clone().stage_chunks(write(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn publish(&self, place: Place<'_>, version: u64, chunks: u32) -> Result<()> {
        let (tenant, document_id) = (place.tenant.to_string(), place.document.to_string());
        let message = PublishVersionRequest { tenant, document_id, version, chunks, index: place.index.to_string() };
        self.chunks.clone().publish_version(write(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn remove(&self, place: Place<'_>, below: u64) -> Result<()> {
        let (tenant, document_id) = (place.tenant.to_string(), place.document.to_string());
        let message = RemoveVersionsRequest { tenant, document_id, below, index: place.index.to_string() };
        self.chunks.clone().remove_versions(write(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn relocate(&self, place: Place<'_>) -> Result<()> {
        let (tenant, document_id) = (place.tenant.to_string(), place.document.to_string());
        let message = MoveDocumentRequest { index: place.index.to_string(), tenant, document_id };
        self.indexes.clone().move_document(write(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn create(&self, spec: &IndexSpec) -> Result<()> {
        let message = CreateIndexRequest { spec: Some(spec.clone().into()) };
        self.indexes.clone().create_index(admin(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn scan(&self, count: bool) -> Result<Vec<Entry>> {
        self.entries(ScanIndexesRequest { count, index: String::new() }).await
    }

    async fn look(&self, index: &IndexName, count: bool) -> Result<Option<Entry>> {
        let found = self.entries(ScanIndexesRequest { count, index: index.to_string() }).await?;
        Ok(found.into_iter().find(|entry| entry.name == *index))
    }

    async fn serve(&self, index: &IndexName) -> Result<()> {
        let message = ServeIndexRequest { index: index.to_string() };
        self.indexes.clone().serve_index(admin(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn drop_index(&self, index: &IndexName) -> Result<()> {
        let message = RemoveIndexRequest { index: index.to_string() };
        self.indexes.clone().remove_index(admin(message)).await.map_err(of_peer)?;
        Ok(())
    }

    async fn topology(&self, index: &IndexName) -> Result<Topology> {
        let message = ReadTopologyRequest { index: index.to_string() };
        let answer = self.indexes.clone().read_topology(write(message)).await.map_err(of_peer)?;
        Ok(answer.into_inner().topology.unwrap_or_default().into())
    }

    async fn begin_reshard(&self, index: &IndexName, shards: &[String]) -> Result<Topology> {
        let message = BeginReshardRequest { index: index.to_string(), shards: shards.to_vec() };
        // A caller's mistake is told as one: it is an operator who asked for these shards.
        let answer = self.indexes.clone().begin_reshard(admin(message)).await.map_err(ragstone_rpc::error_from)?;
        Ok(answer.into_inner().topology.unwrap_or_default().into())
    }

    async fn finish_reshard(&self, index: &IndexName) -> Result<()> {
        let message = FinishReshardRequest { index: index.to_string() };
        self.indexes.clone().finish_reshard(admin(message)).await.map_err(of_peer)?;
        Ok(())
    }
}
