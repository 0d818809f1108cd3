//! The indexes themselves over gRPC: making and removing them, which one serves, where documents are placed.

use std::time::Duration;

use ragstone_core::{Error, IndexName, IndexSpec, Result, Topology};
use ragstone_proto::v1::index_service_server::IndexService;
use ragstone_proto::{index_name, required, v1};
use tonic::{Request, Response, Status};

use crate::grpc::Service;
use crate::requests::ids;

/// The longest a change of the indexes may take: every reader has to learn of it.
const LIMIT: Duration = Duration::from_secs(600);

impl Service {
    /// Gives a new index the shards of the one that serves, which may have been resharded since it was configured.
    async fn align(&self, name: &IndexName) -> Result<()> {
        let serving = self.indexes.open(None).await?;
        if serving.spec().name == *name {
            return Ok(());
        }
        let index = self.indexes.open(Some(name)).await?;
        let (wanted, own) = (serving.topology().await?, index.topology().await?);
        let wanted = wanted.moving_to.unwrap_or(wanted.shards);
        if own.shards == wanted || own.moving_to.is_some() || index.live_documents().await? > 0 {
            return Ok(());
        }
        index.begin_reshard(&wanted).await?;
        index.finish_reshard().await
    }

    /// How many documents an index holds, where `count` asks for it, and its shards.
    async fn look(&self, name: &IndexName, count: bool) -> Result<(Option<u64>, Topology)> {
        let store = self.indexes.open(Some(name)).await?;
        let documents = if count { Some(store.live_documents().await?) } else { None };
        Ok((documents, store.topology().await?))
    }

    async fn scan(&self, request: v1::ScanIndexesRequest) -> Result<v1::ScanIndexesResponse> {
        let only = index_name(request.index)?;
        let serving = self.indexes.serving().await?;
        let mut indexes = Vec::new();
        let list = self.indexes.list().await?;
        for spec in list.into_iter().filter(|spec| only.as_ref().is_none_or(|only| *only == spec.name)) {
            let serving = serving.as_ref() == Some(&spec.name);
            // An index that is broken must not hide the others.
            let looked = self.look(&spec.name, request.count).await.inspect_err(|error| {
                tracing::warn!(index = %spec.name, error = error.chain(), "an index cannot be looked at");
            });
            let (documents, topology) = looked.unwrap_or_default();
            indexes.push(v1::IndexEntry {
                spec: Some(spec.into()),
                serving,
                documents,
                topology: Some(topology.into()),
            });
        }
        Ok(v1::ScanIndexesResponse { indexes })
    }
}

#[tonic::async_trait]
impl IndexService for Service {
    #[tracing::instrument(name = "create_index", skip_all)]
    async fn create_index(
        &self,
        request: Request<v1::CreateIndexRequest>,
    ) -> Result<Response<v1::CreateIndexResponse>, Status> {
        let call = async |request: v1::CreateIndexRequest| {
            let spec: IndexSpec = required(request.spec, "spec")?.try_into()?;
            self.indexes.create(&spec).await?;
            self.align(&spec.name).await?;
            Ok(v1::CreateIndexResponse {})
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }

    #[tracing::instrument(name = "scan_indexes", skip_all)]
    async fn scan_indexes(
        &self,
        request: Request<v1::ScanIndexesRequest>,
    ) -> Result<Response<v1::ScanIndexesResponse>, Status> {
        self.within_limit(request, LIMIT, "index_admin", |request| self.scan(request)).await
    }

    #[tracing::instrument(name = "serve_index", skip_all, fields(index = request.get_ref().index))]
    async fn serve_index(
        &self,
        request: Request<v1::ServeIndexRequest>,
    ) -> Result<Response<v1::ServeIndexResponse>, Status> {
        let call = async |request: v1::ServeIndexRequest| {
            self.indexes.serve(&named(request.index)?).await?;
            Ok(v1::ServeIndexResponse {})
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }

    #[tracing::instrument(name = "remove_index", skip_all, fields(index = request.get_ref().index))]
    async fn remove_index(
        &self,
        request: Request<v1::RemoveIndexRequest>,
    ) -> Result<Response<v1::RemoveIndexResponse>, Status> {
        let call = async |request: v1::RemoveIndexRequest| {
            self.indexes.remove(&named(request.index)?).await?;
            Ok(v1::RemoveIndexResponse {})
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }

    #[tracing::instrument(name = "read_topology", skip_all)]
    async fn read_topology(
        &self,
        request: Request<v1::ReadTopologyRequest>,
    ) -> Result<Response<v1::ReadTopologyResponse>, Status> {
        let call = async |request: v1::ReadTopologyRequest| {
            let topology = self.index(request.index).await?.topology().await?;
            Ok(v1::ReadTopologyResponse { topology: Some(topology.into()) })
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }

    #[tracing::instrument(name = "begin_reshard", skip_all)]
    async fn begin_reshard(
        &self,
        request: Request<v1::BeginReshardRequest>,
    ) -> Result<Response<v1::BeginReshardResponse>, Status> {
        let call = async |request: v1::BeginReshardRequest| {
            let index = self.index(request.index).await?;
            index.begin_reshard(&request.shards).await?;
            Ok(v1::BeginReshardResponse { topology: Some(index.topology().await?.into()) })
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }

    #[tracing::instrument(name = "move_document", skip_all)]
    async fn move_document(
        &self,
        request: Request<v1::MoveDocumentRequest>,
    ) -> Result<Response<v1::MoveDocumentResponse>, Status> {
        let call = async |request: v1::MoveDocumentRequest| {
            let (tenant, document) = ids(request.tenant, request.document_id)?;
            let moved = self.index(request.index).await?.move_document(&tenant, &document).await?;
            Ok(v1::MoveDocumentResponse { moved })
        };
        self.within(request, "index_write", call).await
    }

    #[tracing::instrument(name = "finish_reshard", skip_all)]
    async fn finish_reshard(
        &self,
        request: Request<v1::FinishReshardRequest>,
    ) -> Result<Response<v1::FinishReshardResponse>, Status> {
        let call = async |request: v1::FinishReshardRequest| {
            let index = self.index(request.index).await?;
            index.finish_reshard().await?;
            Ok(v1::FinishReshardResponse { topology: Some(index.topology().await?.into()) })
        };
        self.within_limit(request, LIMIT, "index_admin", call).await
    }
}

/// The index that a field must name.
fn named(field: String) -> Result<IndexName> {
    index_name(field)?.ok_or_else(|| Error::invalid("field 'index' is missing"))
}
