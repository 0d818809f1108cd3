//! The gRPC face: checks a request, lets the chain answer it and streams what it says.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, Degraded, FinishReason, Result, Usage};
use ragstone_llm::ChatChain;
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_server::GenerationService;
use ragstone_rpc::{deadline, status};
use tonic::{Request, Response, Status};

use crate::citations::CitationFilter;
use crate::input::Limits;
use crate::rewrite::{Rewriter, Rewritten};

pub(crate) struct Service {
    chain: ChatChain,
    without_passages: Arc<dyn ChatModel>,
    rewriter: Rewriter,
    limits: Limits,
}

impl Service {
    /// `without_passages` answers requests that have none: a language model would answer out of itself.
    pub(crate) fn new(
        chain: ChatChain,
        without_passages: Arc<dyn ChatModel>,
        rewriter: Rewriter,
        limits: Limits,
    ) -> Self {
        Self { chain, without_passages, rewriter, limits }
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

    #[tracing::instrument(name = "rewrite", skip_all, fields(turns = request.get_ref().history.len()))]
    async fn rewrite(&self, request: Request<v1::RewriteRequest>) -> Result<Response<v1::RewriteResponse>, Status> {
        let deadline = deadline(&request, self.limits.timeout);
        let (question, history) = self.limits.follow_up(request.into_inner()).map_err(status)?;
        let rewritten = self.rewriter.rewrite(question, &history, deadline).await;
        let Rewritten { question, model, usage, degraded } = rewritten;
        Ok(Response::new(v1::RewriteResponse {
            question,
            model,
            usage: Some(counts(usage)),
            degraded: codes(degraded),
        }))
    }
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
                usage: Some(counts(usage)),
                finish: match finish {
                    FinishReason::Stop => v1::FinishReason::Stop,
                    FinishReason::Length => v1::FinishReason::Length,
                }
                .into(),
                degraded: codes(degraded),
                prompt_version: version.to_owned(),
            };
            (text(filter.finish()), Some(Ok(Event::Done(done))))
        }
        Err(error) => (None, Some(Err(status(error)))),
    };
    let response = |event| v1::GenerateResponse { event: Some(event) };
    text.map(Ok).into_iter().chain(then).map(|event| event.map(response)).collect()
}

fn counts(usage: Usage) -> v1::Usage {
    v1::Usage { prompt_tokens: usage.prompt_tokens, completion_tokens: usage.completion_tokens }
}

fn codes(degraded: Vec<Degraded>) -> Vec<String> {
    degraded.into_iter().map(|code| code.as_str().to_owned()).collect()
}
