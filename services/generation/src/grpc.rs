//! The gRPC face: checks a request, lets the chain answer it and streams what it says.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, DocumentId, Error, FinishReason, Passage, Result};
use ragstone_llm::ChatChain;
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_server::GenerationService;
use ragstone_rpc::{deadline, status};
use tonic::{Request, Response, Status};

use crate::citations::CitationFilter;
use crate::{Config, prompt};

/// The most passages of one request.
const MAX_PASSAGES: usize = 100;

pub(crate) struct Service {
    chain: ChatChain,
    without_passages: Arc<dyn ChatModel>,
    limits: Limits,
}

/// What a request may ask for, and what it gets where it does not say.
struct Limits {
    max_tokens: u32,
    max_tokens_limit: u32,
    temperature: f32,
    timeout: Duration,
}

impl Service {
    /// `without_passages` answers requests that have none: a language model would answer out of itself.
    pub(crate) fn new(chain: ChatChain, without_passages: Arc<dyn ChatModel>, config: &Config) -> Self {
        let limits = Limits {
            max_tokens: config.max_tokens,
            max_tokens_limit: config.max_tokens_limit,
            temperature: config.temperature,
            timeout: config.request_timeout(),
        };
        Self { chain, without_passages, limits }
    }
}

#[tonic::async_trait]
impl GenerationService for Service {
    type GenerateStream = BoxStream<'static, Result<v1::GenerateResponse, Status>>;

    #[tracing::instrument(name = "generate", skip_all, fields(passages = request.get_ref().passages.len()))]
    async fn generate(&self, request: Request<v1::GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        let deadline = deadline(&request, self.limits.timeout);
        let request = self.limits.chat_request(request.into_inner()).map_err(status)?;
        let passages = request.passages.len();
        let version = request.prompt.version.clone();
        let events = if passages == 0 {
            self.without_passages.stream(request).await.map_err(status)?
        } else {
            self.chain.answer(request, Some(deadline))
        };
        let mut filter = CitationFilter::new(passages);
        let responses = events.flat_map(move |event| stream::iter(responses(event, &mut filter, &version)));
        Ok(Response::new(responses.boxed()))
    }
}

impl Limits {
    fn chat_request(&self, request: v1::GenerateRequest) -> Result<ChatRequest> {
        if request.question.trim().is_empty() {
            return Err(Error::invalid("field 'question' is missing"));
        }
        if request.passages.len() > MAX_PASSAGES {
            let count = request.passages.len();
            return Err(Error::invalid(format!("{count} passages are too many: {MAX_PASSAGES} at most")));
        }
        if request.max_tokens > self.max_tokens_limit {
            return Err(Error::invalid(format!("max_tokens must be at most {}", self.max_tokens_limit)));
        }
        let temperature = request.temperature.unwrap_or(self.temperature);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(Error::invalid("temperature must be 0 to 2"));
        }
        let passages = request.passages.into_iter().map(passage).collect::<Result<Vec<_>>>()?;
        Ok(ChatRequest {
            prompt: prompt::answer(&request.question, &passages),
            question: request.question,
            passages,
            max_tokens: if request.max_tokens == 0 { self.max_tokens } else { request.max_tokens },
            temperature,
        })
    }
}

fn passage(passage: v1::GenerationPassage) -> Result<Passage> {
    Ok(Passage {
        document_id: DocumentId::new(passage.document_id)?,
        chunk_index: passage.chunk_index,
        title: passage.title,
        content: passage.content,
        score: passage.score,
    })
}

/// What goes to the caller for one event: nothing yet, one message, or the text held back and then the end.
fn responses(
    event: Result<ChatEvent>,
    filter: &mut CitationFilter,
    version: &str,
) -> Vec<Result<v1::GenerateResponse, Status>> {
    let text = |text: String| (!text.is_empty()).then_some(Event::Delta(v1::GenerationDelta { text }));
    let (text, then) = match event {
        Ok(ChatEvent::Delta(delta)) => (text(filter.push(&delta)), None),
        Ok(ChatEvent::Restart { degraded }) => {
            filter.reset();
            let degraded = degraded.as_str().to_owned();
            (None, Some(Ok(Event::Restart(v1::GenerationRestart { degraded }))))
        }
        Ok(ChatEvent::Done { model, usage, finish, degraded }) => {
            let done = v1::GenerationDone {
                model,
                usage: Some(v1::Usage {
                    prompt_tokens: usage.prompt_tokens,
                    completion_tokens: usage.completion_tokens,
                }),
                finish: match finish {
                    FinishReason::Stop => v1::FinishReason::Stop,
                    FinishReason::Length => v1::FinishReason::Length,
                }
                .into(),
                degraded: degraded.into_iter().map(|code| code.as_str().to_owned()).collect(),
                prompt_version: version.to_owned(),
            };
            (text(filter.finish()), Some(Ok(Event::Done(done))))
        }
        Err(error) => (None, Some(Err(status(error)))),
    };
    let response = |event| v1::GenerateResponse { event: Some(event) };
    text.map(Ok).into_iter().chain(then).map(|event| event.map(response)).collect()
}
