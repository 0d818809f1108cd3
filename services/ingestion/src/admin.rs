//! The administrators' calls: messages in, [`Indexes`] calls, messages out.

use std::time::Duration;

use ragstone_core::{Error, IndexName, Result};
use ragstone_proto::v1::maintenance_service_server::MaintenanceService;
use ragstone_proto::{caller, index_name, v1};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::grpc::within;
use crate::indexes::{IndexProgress, Indexes, ReshardProgress};

/// The longest a change of the indexes may take.
const LIMIT: Duration = Duration::from_secs(600);

/// `ragstone.v1.MaintenanceService`.
pub(crate) struct Admin(pub(crate) Indexes);

#[tonic::async_trait]
impl MaintenanceService for Admin {
    async fn read_indexes(
        &self,
        request: Request<v1::ReadIndexesRequest>,
    ) -> Result<Response<v1::ReadIndexesResponse>, Status> {
        within(request, LIMIT, |message| read_indexes(&self.0, message)).await
    }

    async fn begin_reindex(
        &self,
        request: Request<v1::BeginReindexRequest>,
    ) -> Result<Response<v1::BeginReindexResponse>, Status> {
        within(request, LIMIT, |message| detached(begin_reindex(self.0.clone(), message))).await
    }

    async fn switch_index(
        &self,
        request: Request<v1::SwitchIndexRequest>,
    ) -> Result<Response<v1::SwitchIndexResponse>, Status> {
        within(request, LIMIT, |message| detached(switch_index(self.0.clone(), message))).await
    }

    async fn drop_index(
        &self,
        request: Request<v1::DropIndexRequest>,
    ) -> Result<Response<v1::DropIndexResponse>, Status> {
        within(request, LIMIT, |message| detached(drop_index(self.0.clone(), message))).await
    }

    async fn reshard(&self, request: Request<v1::ReshardRequest>) -> Result<Response<v1::ReshardResponse>, Status> {
        within(request, LIMIT, |message| detached(reshard(self.0.clone(), message))).await
    }

    async fn read_reshard(
        &self,
        request: Request<v1::ReadReshardRequest>,
    ) -> Result<Response<v1::ReadReshardResponse>, Status> {
        within(request, LIMIT, |_| read_reshard(&self.0)).await
    }
}

/// Runs a change to its end, also when the caller leaves in the middle of it.
async fn detached<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let ended = tokio::spawn(change.in_current_span()).await;
    ended.unwrap_or_else(|error| Err(Error::internal("a change of the indexes broke off").with_source(error)))
}

async fn read_indexes(indexes: &Indexes, message: v1::ReadIndexesRequest) -> Result<v1::ReadIndexesResponse> {
    let found = match index_name(message.index)? {
        Some(name) => vec![indexes.progress(&name).await?],
        None => indexes.read().await?,
    };
    Ok(v1::ReadIndexesResponse { indexes: found.into_iter().map(Into::into).collect() })
}

async fn begin_reindex(indexes: Indexes, message: v1::BeginReindexRequest) -> Result<v1::BeginReindexResponse> {
    let begun = indexes.begin_reindex(&caller(message.caller)?, &message.model).await?;
    Ok(v1::BeginReindexResponse { index: Some(begun.into()) })
}

async fn switch_index(indexes: Indexes, message: v1::SwitchIndexRequest) -> Result<v1::SwitchIndexResponse> {
    let serving = indexes.switch(&caller(message.caller)?, index_name(message.index)?).await?;
    Ok(v1::SwitchIndexResponse { index: Some(serving.into()) })
}

async fn drop_index(indexes: Indexes, message: v1::DropIndexRequest) -> Result<v1::DropIndexResponse> {
    let name: Option<IndexName> = index_name(message.index)?;
    let name = name.ok_or_else(|| Error::invalid("field 'index' is missing"))?;
    indexes.drop_index(&caller(message.caller)?, &name).await?;
    Ok(v1::DropIndexResponse {})
}

async fn reshard(indexes: Indexes, message: v1::ReshardRequest) -> Result<v1::ReshardResponse> {
    let progress = indexes.reshard(&caller(message.caller)?, &message.shards).await?;
    Ok(v1::ReshardResponse { progress: Some(progress.into()) })
}

async fn read_reshard(indexes: &Indexes) -> Result<v1::ReadReshardResponse> {
    Ok(v1::ReadReshardResponse { progress: Some(indexes.reshard_progress().await?.into()) })
}

impl From<IndexProgress> for v1::IndexProgress {
    fn from(progress: IndexProgress) -> Self {
        let IndexProgress { index, unfinished, documents, expected, topology } = progress;
        Self {
            spec: Some(index.spec.into()),
            state: v1::IndexState::from(index.state).into(),
            created_at: Some(index.created_at.into()),
            waiting: unfinished.active,
            stuck: unfinished.stuck,
            documents,
            expected,
            topology: Some(topology.into()),
        }
    }
}

impl From<ReshardProgress> for v1::ReshardProgress {
    fn from(progress: ReshardProgress) -> Self {
        let (waiting, stuck) = (progress.unfinished.active, progress.unfinished.stuck);
        Self { topology: Some(progress.topology.into()), waiting, stuck }
    }
}
