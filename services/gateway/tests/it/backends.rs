//! Embedding, retrieval and generation as the tests want them to behave.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use ragstone_core::{Error, ErrorCode};
use ragstone_proto::v1;
use ragstone_proto::v1::embedding_service_server::EmbeddingService;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_server::GenerationService;
use ragstone_proto::v1::index_service_server::IndexService;
use ragstone_proto::v1::retrieval_service_server::RetrievalService;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

/// What a backend does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Fails(ErrorCode),
    Hangs,
    Nonsense,
}

impl Mood {
    async fn act(self) -> Result<(), Status> {
        match self {
            Self::Fine | Self::Nonsense => Ok(()),
            Self::Fails(code) => Err(ragstone_rpc::status(Error::new(code, "on purpose"))),
            Self::Hangs => std::future::pending().await,
        }
    }
}

/// One step of the generation service's script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Event),
    Fail(ErrorCode),
    Hang,
}

pub(crate) fn delta(text: &str) -> Step {
    Step::Send(Event::Delta(v1::GenerationDelta { text: text.to_owned() }))
}

pub(crate) fn restart(code: &str) -> Step {
    Step::Send(Event::Restart(v1::GenerationRestart { degraded: code.to_owned() }))
}

pub(crate) fn done(degraded: &[&str]) -> Step {
    Step::Send(Event::Done(v1::GenerationDone {
        model: "fake".to_owned(),
        usage: Some(v1::Usage { prompt_tokens: 11, completion_tokens: 7 }),
        finish: v1::FinishReason::Stop.into(),
        degraded: degraded.iter().map(|code| (*code).to_owned()).collect(),
        prompt_version: "answer/1".to_owned(),
    }))
}

pub(crate) fn hit(document: &str, content: &str, score: f32) -> v1::Hit {
    let metadata = serde_json::from_str(r#"{"lang":"en","year":2020}"#).unwrap();
    v1::Hit {
        document_id: document.to_owned(),
        version: 3,
        chunk_index: 1,
        score,
        similarity: None,
        content: content.to_owned(),
        title: format!("Title of {document}"),
        heading_path: vec!["Top".to_owned()],
        start: 0,
        end: content.chars().count() as u64,
        metadata: Some(ragstone_proto::metadata_to_struct(&metadata)),
    }
}

/// The three stateless backends.
pub(crate) struct Backends {
    pub(crate) embedding: Mutex<Mood>,
    /// By default there is no reranker.
    pub(crate) reranking: Mutex<Mood>,
    /// The reranker's scores; fewer than passages are sent as they are.
    pub(crate) scores: Mutex<Vec<f32>>,
    pub(crate) retrieval: Mutex<Mood>,
    pub(crate) hits: Mutex<Vec<v1::Hit>>,
    pub(crate) shards: Mutex<v1::Shards>,
    /// The index that serves; a search in another one finds nothing.
    pub(crate) serving: Mutex<Option<v1::IndexSpec>>,
    pub(crate) script: Mutex<Vec<Step>>,
    /// The last search and the last question.
    pub(crate) retrieved: Mutex<Option<v1::RetrieveRequest>>,
    /// The models that questions were embedded with; empty: the default.
    pub(crate) embedded: Mutex<Vec<String>>,
    /// What happens to those who ask which index serves, and how many did.
    pub(crate) indexes: Mutex<Mood>,
    pub(crate) scans: Mutex<usize>,
    pub(crate) generated: Mutex<Option<v1::GenerateRequest>>,
    /// The last question and passages to score.
    pub(crate) reranked: Mutex<Option<v1::RerankRequest>>,
    /// Fires when a script comes to its `Hang`.
    pub(crate) hanging: Arc<Notify>,
    /// Fires when an answer's stream is dropped before its script's end.
    pub(crate) cancelled: Arc<Notify>,
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            embedding: Mutex::new(Mood::Fine),
            reranking: Mutex::new(Mood::Fails(ErrorCode::NotFound)),
            scores: Mutex::default(),
            retrieval: Mutex::new(Mood::Fine),
            hits: Mutex::new(vec![
                hit("tram", "The tram opened in 1901. Tickets cost two crowns.", 0.75),
                hit("bridge", "A bridge crosses the river. It was built of stone in 1822.", 0.5),
            ]),
            shards: Mutex::new(v1::Shards { asked: 2, answered: 2, missing: Vec::new() }),
            serving: Mutex::new(None),
            script: Mutex::new(vec![
                delta("It opened "),
                delta("in 1901 [1]. "),
                delta("It is of stone [2]."),
                done(&[]),
            ]),
            retrieved: Mutex::new(None),
            embedded: Mutex::default(),
            indexes: Mutex::new(Mood::Fine),
            scans: Mutex::default(),
            generated: Mutex::new(None),
            reranked: Mutex::new(None),
            hanging: Arc::default(),
            cancelled: Arc::default(),
        }
    }
}

impl Backends {
    pub(crate) fn set<T>(&self, field: &Mutex<T>, value: T) {
        *field.lock().unwrap() = value;
    }
}

/// Shared by the servers, as a foreign trait cannot be implemented for `Arc<Backends>`.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Backends>);

#[tonic::async_trait]
impl EmbeddingService for Shared {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let mood = *self.0.embedding.lock().unwrap();
        mood.act().await?;
        let message = request.into_inner();
        assert_eq!(message.kind(), v1::EmbedKind::Query);
        self.0.embedded.lock().unwrap().push(message.model.clone());
        let value = if mood == Mood::Nonsense { f32::NAN } else { 1.0 };
        let vectors = message.texts.iter().map(|_| v1::Vector { values: vec![value, 0.0, 0.0] }).collect();
        let model = if message.model.is_empty() { "m".to_owned() } else { message.model };
        Ok(Response::new(v1::EmbedResponse { vectors, model, revision: "r".to_owned() }))
    }

    async fn describe_model(
        &self,
        _: Request<v1::DescribeModelRequest>,
    ) -> Result<Response<v1::DescribeModelResponse>, Status> {
        Err(Status::unimplemented("the gateway does not ask"))
    }

    async fn rerank(&self, request: Request<v1::RerankRequest>) -> Result<Response<v1::RerankResponse>, Status> {
        let mood = *self.0.reranking.lock().unwrap();
        *self.0.reranked.lock().unwrap() = Some(request.into_inner());
        mood.act().await?;
        let mut scores = self.0.scores.lock().unwrap().clone();
        if mood == Mood::Nonsense {
            scores[0] = f32::NAN;
        }
        Ok(Response::new(v1::RerankResponse { scores, model: "reranker".to_owned() }))
    }
}

/// The index that serves, as the retrieval service's other face tells it.
#[tonic::async_trait]
impl IndexService for Shared {
    async fn scan_indexes(
        &self,
        _: Request<v1::ScanIndexesRequest>,
    ) -> Result<Response<v1::ScanIndexesResponse>, Status> {
        *self.0.scans.lock().unwrap() += 1;
        let mood = *self.0.indexes.lock().unwrap();
        mood.act().await?;
        let spec = self.0.serving.lock().unwrap().clone();
        let entry = |spec| v1::IndexEntry { spec: Some(spec), serving: true, documents: None, topology: None };
        Ok(Response::new(v1::ScanIndexesResponse { indexes: spec.map(entry).into_iter().collect() }))
    }

    async fn create_index(
        &self,
        _: Request<v1::CreateIndexRequest>,
    ) -> Result<Response<v1::CreateIndexResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn serve_index(&self, _: Request<v1::ServeIndexRequest>) -> Result<Response<v1::ServeIndexResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn remove_index(
        &self,
        _: Request<v1::RemoveIndexRequest>,
    ) -> Result<Response<v1::RemoveIndexResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn read_topology(
        &self,
        _: Request<v1::ReadTopologyRequest>,
    ) -> Result<Response<v1::ReadTopologyResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn begin_reshard(
        &self,
        _: Request<v1::BeginReshardRequest>,
    ) -> Result<Response<v1::BeginReshardResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn move_document(
        &self,
        _: Request<v1::MoveDocumentRequest>,
    ) -> Result<Response<v1::MoveDocumentResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }

    async fn finish_reshard(
        &self,
        _: Request<v1::FinishReshardRequest>,
    ) -> Result<Response<v1::FinishReshardResponse>, Status> {
        Err(Status::unimplemented("the gateway does not change indexes"))
    }
}

#[tonic::async_trait]
impl RetrievalService for Shared {
    async fn retrieve(&self, request: Request<v1::RetrieveRequest>) -> Result<Response<v1::RetrieveResponse>, Status> {
        let mood = *self.0.retrieval.lock().unwrap();
        *self.0.retrieved.lock().unwrap() = Some(request.into_inner());
        mood.act().await?;
        let serving = self.0.serving.lock().unwrap().clone();
        let asked = self.0.retrieved.lock().unwrap().as_ref().map(|request| request.index.clone()).unwrap_or_default();
        if serving.as_ref().is_some_and(|serving| !asked.is_empty() && serving.name != asked) {
            return Err(ragstone_rpc::status(Error::not_found(format!("there is no index '{asked}'"))));
        }
        let hits = match mood {
            Mood::Nonsense => vec![v1::Hit::default()],
            _ => self.0.hits.lock().unwrap().clone(),
        };
        Ok(Response::new(v1::RetrieveResponse { hits, shards: Some(self.0.shards.lock().unwrap().clone()), serving }))
    }

    async fn stage_chunks(
        &self,
        _: Request<v1::StageChunksRequest>,
    ) -> Result<Response<v1::StageChunksResponse>, Status> {
        Err(Status::unimplemented("the gateway does not write"))
    }

    async fn publish_version(
        &self,
        _: Request<v1::PublishVersionRequest>,
    ) -> Result<Response<v1::PublishVersionResponse>, Status> {
        Err(Status::unimplemented("the gateway does not write"))
    }

    async fn remove_versions(
        &self,
        _: Request<v1::RemoveVersionsRequest>,
    ) -> Result<Response<v1::RemoveVersionsResponse>, Status> {
        Err(Status::unimplemented("the gateway does not write"))
    }
}

/// Tells when it is dropped.
struct Bell(Option<Arc<Notify>>);

impl Bell {
    fn silence(mut self) {
        self.0 = None;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(bell) = &self.0 {
            bell.notify_one();
        }
    }
}

#[tonic::async_trait]
impl GenerationService for Shared {
    type GenerateStream = BoxStream<'static, Result<v1::GenerateResponse, Status>>;

    async fn rewrite(&self, request: Request<v1::RewriteRequest>) -> Result<Response<v1::RewriteResponse>, Status> {
        let question = request.into_inner().question;
        Ok(Response::new(v1::RewriteResponse { question, model: "fake".to_owned(), ..v1::RewriteResponse::default() }))
    }

    async fn generate(&self, request: Request<v1::GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        *self.0.generated.lock().unwrap() = Some(request.into_inner());
        let script = self.0.script.lock().unwrap().clone();
        let hanging = Arc::clone(&self.0.hanging);
        let state = (script.into_iter(), Bell(Some(Arc::clone(&self.0.cancelled))));
        let steps = stream::unfold(state, move |(mut script, bell)| {
            let hanging = Arc::clone(&hanging);
            async move {
                let Some(step) = script.next() else {
                    bell.silence();
                    return None;
                };
                let item = match step {
                    Step::Send(event) => Ok(v1::GenerateResponse { event: Some(event) }),
                    Step::Fail(code) => Err(ragstone_rpc::status(Error::new(code, "on purpose"))),
                    Step::Hang => {
                        hanging.notify_one();
                        std::future::pending().await
                    }
                };
                Some((item, (script, bell)))
            }
        });
        Ok(Response::new(steps.boxed()))
    }
}
