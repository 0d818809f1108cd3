//! The service as it runs: gRPC in front, gRPC behind, HTML in a child process, restart on the same data.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "service/access.rs"]
mod access;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use ragstone_core::ErrorCode;
use ragstone_ingestion::Config;
use ragstone_proto::v1::accept_document_request::Part;
use ragstone_proto::v1::access_service_client::AccessServiceClient;
use ragstone_proto::v1::embedding_service_server::{EmbeddingService, EmbeddingServiceServer};
use ragstone_proto::v1::index_service_server::{IndexService, IndexServiceServer};
use ragstone_proto::v1::ingestion_service_client::IngestionServiceClient;
use ragstone_proto::v1::retrieval_service_server::{RetrievalService, RetrievalServiceServer};
use ragstone_proto::v1::{self, JobStatus};
use ragstone_rpc::{Health, Runtime, ServerConfig, ServiceConfig as _, bind, connect, error_from};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

/// Counts words.
const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;

/// Document, version and index of a chunk.
type ChunkKey = (String, u64, u32);

/// Embedding and retrieval in one: what was staged, and which versions were published.
#[derive(Clone, Default)]
struct Peers {
    staged: Arc<Mutex<BTreeMap<ChunkKey, String>>>,
    published: Arc<Mutex<Vec<(String, u64)>>>,
}

#[tonic::async_trait]
impl EmbeddingService for Peers {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let texts = request.into_inner().texts;
        assert!(texts.len() <= 100);
        let vectors = texts.iter().map(|_| v1::Vector { values: vec![1.0, 0.0] }).collect();
        Ok(Response::new(v1::EmbedResponse { vectors, model: "m".into(), revision: "r".into() }))
    }

    async fn describe_model(
        &self,
        _: Request<v1::DescribeModelRequest>,
    ) -> Result<Response<v1::DescribeModelResponse>, Status> {
        Ok(Response::new(v1::DescribeModelResponse {
            model: "m".into(),
            revision: "r".into(),
            dimension: 2,
            max_tokens: 64,
            tokenizer_json: TOKENIZER.as_bytes().to_vec(),
            bytes_per_token: 0,
        }))
    }

    async fn rerank(&self, _: Request<v1::RerankRequest>) -> Result<Response<v1::RerankResponse>, Status> {
        Err(Status::unimplemented("not for ingestion"))
    }
}

#[tonic::async_trait]
impl IndexService for Peers {
    async fn create_index(
        &self,
        request: Request<v1::CreateIndexRequest>,
    ) -> Result<Response<v1::CreateIndexResponse>, Status> {
        let spec = request.into_inner().spec.unwrap();
        assert_eq!((spec.model.as_str(), spec.dimension), ("m", 2));
        Ok(Response::new(v1::CreateIndexResponse {}))
    }

    async fn scan_indexes(
        &self,
        _: Request<v1::ScanIndexesRequest>,
    ) -> Result<Response<v1::ScanIndexesResponse>, Status> {
        Ok(Response::new(v1::ScanIndexesResponse { indexes: Vec::new() }))
    }

    async fn serve_index(&self, _: Request<v1::ServeIndexRequest>) -> Result<Response<v1::ServeIndexResponse>, Status> {
        Ok(Response::new(v1::ServeIndexResponse {}))
    }

    async fn read_topology(
        &self,
        _: Request<v1::ReadTopologyRequest>,
    ) -> Result<Response<v1::ReadTopologyResponse>, Status> {
        let topology = v1::Topology { shards: vec!["s0".into()], moving_to: Vec::new() };
        Ok(Response::new(v1::ReadTopologyResponse { topology: Some(topology) }))
    }

    async fn remove_index(
        &self,
        _: Request<v1::RemoveIndexRequest>,
    ) -> Result<Response<v1::RemoveIndexResponse>, Status> {
        Err(Status::unimplemented("nobody asked for it"))
    }

    async fn begin_reshard(
        &self,
        _: Request<v1::BeginReshardRequest>,
    ) -> Result<Response<v1::BeginReshardResponse>, Status> {
        Err(Status::unimplemented("nobody asked for it"))
    }

    async fn move_document(
        &self,
        _: Request<v1::MoveDocumentRequest>,
    ) -> Result<Response<v1::MoveDocumentResponse>, Status> {
        Err(Status::unimplemented("nobody asked for it"))
    }

    async fn finish_reshard(
        &self,
        _: Request<v1::FinishReshardRequest>,
    ) -> Result<Response<v1::FinishReshardResponse>, Status> {
        Err(Status::unimplemented("nobody asked for it"))
    }
}

#[tonic::async_trait]
impl RetrievalService for Peers {
    async fn retrieve(&self, _: Request<v1::RetrieveRequest>) -> Result<Response<v1::RetrieveResponse>, Status> {
        Err(Status::unimplemented("not for ingestion"))
    }

    async fn stage_chunks(
        &self,
        request: Request<v1::StageChunksRequest>,
    ) -> Result<Response<v1::StageChunksResponse>, Status> {
        let request = request.into_inner();
        for chunk in request.chunks {
            let key = (request.document_id.clone(), request.version, chunk.index);
            self.staged.lock().unwrap().insert(key, chunk.content);
        }
        Ok(Response::new(v1::StageChunksResponse {}))
    }

    async fn publish_version(
        &self,
        request: Request<v1::PublishVersionRequest>,
    ) -> Result<Response<v1::PublishVersionResponse>, Status> {
        let request = request.into_inner();
        self.published.lock().unwrap().push((request.document_id, request.version));
        Ok(Response::new(v1::PublishVersionResponse {}))
    }

    async fn remove_versions(
        &self,
        request: Request<v1::RemoveVersionsRequest>,
    ) -> Result<Response<v1::RemoveVersionsResponse>, Status> {
        let request = request.into_inner();
        let keep = |key: &ChunkKey| key.0 != request.document_id || key.1 >= request.below;
        self.staged.lock().unwrap().retain(|key, _| keep(key));
        Ok(Response::new(v1::RemoveVersionsResponse {}))
    }
}

/// Serves the peers on a free port; the URL.
async fn serve_peers(peers: &Peers) -> String {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder()
        .add_service(EmbeddingServiceServer::new(peers.clone()))
        .add_service(IndexServiceServer::new(peers.clone()))
        .add_service(RetrievalServiceServer::new(peers.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

struct Service {
    client: IngestionServiceClient<Channel>,
    access: AccessServiceClient<Channel>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A caller with a group.
fn ann() -> Option<v1::Caller> {
    let access = v1::Access { tenant: "t".into(), all_groups: false, groups: vec!["staff".into()] };
    Some(v1::Caller { access: Some(access), subject: "ann".into(), request_id: "r-1".into() })
}

impl Service {
    async fn start(data: &Path, peers: &str) -> Self {
        let config = Config {
            data_dir: data.to_owned(),
            embedding_url: peers.to_owned(),
            retrieval_url: peers.to_owned(),
            max_document_bytes: 100_000,
            extract_program: Some(env!("CARGO_BIN_EXE_ragstone-ingestion").into()),
            ..Config::default()
        };
        config.check().unwrap();
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, server) = (CancellationToken::new(), ServerConfig::default());
        let runtime =
            Runtime { name: "ingestion", listener, shutdown: shutdown.clone(), health: Health::default(), server };
        let task = tokio::spawn(ragstone_ingestion::serve(config, runtime));
        let channel = connect(&url).unwrap();
        let (client, access) = (IngestionServiceClient::new(channel.clone()), AccessServiceClient::new(channel));
        Self { client, access, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    async fn put(&mut self, id: &str, media_type: &str, body: &[u8]) -> Result<v1::AcceptDocumentResponse, Status> {
        let document =
            v1::DocumentHeader { document_id: id.into(), media_type: media_type.into(), ..Default::default() };
        let header = Part::Header(v1::AcceptHeader { caller: ann(), document: Some(document), ..Default::default() });
        let data = body.chunks(1000).map(|piece| Part::Data(piece.to_vec()));
        let parts: Vec<_> =
            std::iter::once(header).chain(data).map(|part| v1::AcceptDocumentRequest { part: Some(part) }).collect();
        Ok(self.client.accept_document(tokio_stream::iter(parts)).await?.into_inner())
    }

    /// Follows the job to its end.
    async fn end_of(&mut self, job_id: &str) -> v1::Job {
        let request = v1::FollowJobRequest { caller: ann(), job_id: job_id.into() };
        let states: Streaming<_> = self.client.follow_job(request).await.unwrap().into_inner();
        states.map(|state| state.unwrap().job.unwrap()).collect::<Vec<_>>().await.pop().unwrap()
    }

    async fn document(&mut self, id: &str) -> v1::Document {
        let request = v1::ReadDocumentRequest { caller: ann(), document_id: id.into() };
        self.client.read_document(request).await.unwrap().into_inner().document.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_go_in_are_read_back_survive_a_restart_and_go() {
    let (peers, dir) = (Peers::default(), tempfile::tempdir().unwrap());
    let url = serve_peers(&peers).await;
    let mut service = Service::start(dir.path(), &url).await;

    let page = b"<html><head><title>Tides</title></head><body><p>High water at noon.</p></body></html>";
    let job = service.put("page", "text/html", page).await.unwrap().job.unwrap();
    assert_eq!((job.version, job.status()), (1, JobStatus::Queued));
    let done = service.end_of(&job.job_id).await;
    assert_eq!((done.status(), done.error.as_str()), (JobStatus::Done, ""));
    assert!(peers.staged.lock().unwrap()[&("page".to_owned(), 1, 0)].contains("High water at noon."));
    assert_eq!(*peers.published.lock().unwrap(), [("page".to_owned(), 1)]);
    let found = service.document("page").await;
    assert_eq!((found.title.as_str(), found.live_version, found.chunks), ("Tides", Some(1), 1));
    let request = v1::ReadTextRequest { caller: ann(), document_id: "page".into(), ..Default::default() };
    let text = service.client.read_text(request.clone()).await.unwrap().into_inner();
    assert_eq!((text.title.as_str(), text.version, text.total), ("Tides", 1, 1));
    assert!(text.chunks[0].content.contains("High water at noon.") && text.chunks[0].end > text.chunks[0].start);
    let beyond = v1::ReadTextRequest { from: 1, ..request };
    assert!(service.client.read_text(beyond).await.unwrap().into_inner().chunks.is_empty());

    service.stop().await;
    let mut service = Service::start(dir.path(), &url).await;
    assert!(service.put("page", "text/html", page).await.unwrap().unchanged);
    let broken = service.put("broken", "application/pdf", b"%PDF-1.7 nonsense").await.unwrap().job.unwrap();
    let failed = service.end_of(&broken.job_id).await;
    assert_eq!(failed.status(), JobStatus::Failed, "{}", failed.error);

    let request = v1::TombstoneDocumentRequest {
        caller: ann(),
        document_id: "page".into(),
        if_version: Some(1),
        ..Default::default()
    };
    let removal = service.client.tombstone_document(request.clone()).await.unwrap().into_inner().job.unwrap();
    assert_eq!(service.end_of(&removal.job_id).await.status(), JobStatus::Done);
    assert!(peers.staged.lock().unwrap().is_empty());
    let again = service.client.tombstone_document(request).await.unwrap_err();
    assert_eq!(error_from(again).code, ErrorCode::NotFound);

    let scan = v1::ScanDocumentsRequest { caller: ann(), ..Default::default() };
    let listed = service.client.scan_documents(scan).await.unwrap().into_inner().documents;
    assert_eq!(listed.iter().map(|d| d.document_id.as_str()).collect::<Vec<_>>(), ["broken"]);
    let scan = v1::ScanJobsRequest { caller: ann(), status: JobStatus::Done.into(), ..Default::default() };
    assert_eq!(service.client.scan_jobs(scan).await.unwrap().into_inner().jobs.len(), 2);
    let history = v1::ReadHistoryRequest { caller: ann(), document_id: "page".into() };
    let history = service.client.read_history(history).await.unwrap().into_inner().versions;
    assert_eq!(history.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_carry_their_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), "http://127.0.0.1:1").await;
    let code = |result: Result<v1::AcceptDocumentResponse, Status>| error_from(result.unwrap_err()).code;
    assert_eq!(code(service.put("d", "image/png", b"x").await), ErrorCode::UnsupportedMediaType);
    assert_eq!(code(service.put("d", "text/plain", &[b'x'; 100_001]).await), ErrorCode::TooLarge);
    assert_eq!(code(service.put("d", "text/plain", b"").await), ErrorCode::Unprocessable);
    assert_eq!(code(service.put("\n", "text/plain", b"x").await), ErrorCode::InvalidArgument);
    let headless = v1::AcceptDocumentRequest { part: Some(Part::Data(b"x".to_vec())) };
    let refused = service.client.accept_document(tokio_stream::iter([headless])).await.unwrap_err();
    assert_eq!(error_from(refused).code, ErrorCode::InvalidArgument);
    let request = v1::ReadJobRequest { caller: ann(), job_id: "7".into() };
    assert_eq!(error_from(service.client.read_job(request).await.unwrap_err()).code, ErrorCode::NotFound);
    let request = v1::ScanJobsRequest { caller: ann(), cursor: "zz".into(), ..Default::default() };
    assert_eq!(error_from(service.client.scan_jobs(request).await.unwrap_err()).code, ErrorCode::InvalidArgument);

    // Nobody is there to embed: accepted all the same, and stopping does not wait for it.
    let job = service.put("d", "text/plain", b"words").await.unwrap().job.unwrap();
    assert_eq!(job.version, 1);
    service.stop().await;
}
