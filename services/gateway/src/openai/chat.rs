//! `POST /v1/chat/completions`: retrieval happens inside, the answer cites with `[n]`, `ragstone` resolves these.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::sse::Event as Sse;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use ragstone_core::{Error, Filter, Result, Scope, SearchMode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::{Conversation, Message};
use super::error::object;
use super::view::{MODEL, check_model, extras, now};
use crate::app::App;
use crate::extract;
use crate::openapi::errors::{Absent, Guarded, JsonBody, Limited, Unusable};
use crate::openapi::shapes::{FilterShape, ModeShape, ServerSentEvent};
use crate::openapi::theirs::{ChatCompletion, ModelName};
use crate::problem::Problem;
use crate::query::{self, Answer, Event, Events, QueryInput};
use crate::sse;

/// A request. Fields of OpenAI's that make no difference here are ignored, those that would make one are refused.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = ChatRequest, example = json!({
    "model": "ragstone",
    "messages": [{ "role": "user", "content": "Who cast the bell?" }]
}))]
pub(crate) struct Request {
    #[schema(value_type = ModelName)]
    model: String,
    #[schema(min_items = 1, max_items = 1000)]
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4096)]
    max_tokens: Option<u32>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4096)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1)]
    n: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>, max_items = 0)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    response_format: Option<Format>,
    #[serde(default, deserialize_with = "extract::object")]
    ragstone: Option<Options>,
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponseFormat)]
struct Format {
    #[serde(rename = "type")]
    #[schema(pattern = "^text$")]
    kind: String,
}

/// What Ragstone can do beyond OpenAI's fields; in the Python SDK: `extra_body={"ragstone": {…}}`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ChatOptions)]
pub(crate) struct Options {
    /// How many passages to retrieve.
    #[schema(minimum = 1, maximum = 100)]
    pub(crate) k: Option<u32>,
    /// Further conditions.
    #[serde(deserialize_with = "extract::object")]
    #[schema(value_type = Option<FilterShape>)]
    pub(crate) filter: Option<Filter>,
    /// Which signals to use.
    #[schema(value_type = Option<ModeShape>)]
    pub(crate) mode: Option<SearchMode>,
    /// Whether passages are ranked again by a reranker.
    pub(crate) rerank: Option<bool>,
    /// Whether a cached answer will do.
    pub(crate) cache: Option<bool>,
}

impl Options {
    /// The question of a chat, asked with these.
    pub(crate) fn ask(self, chat: Conversation, max_tokens: Option<u32>, temperature: Option<f32>) -> QueryInput {
        let Self { k, filter, mode, rerank, cache } = self;
        let Conversation { history, question } = chat;
        let asked = QueryInput { query: question, history, max_tokens, temperature, ..QueryInput::default() };
        QueryInput { k, filter, mode, rerank, cache, ..asked }
    }
}

impl Request {
    fn check(&self) -> Result<()> {
        check_model(&self.model)?;
        if self.n.is_some_and(|n| n != 1) {
            return Err(Error::invalid("n must be 1: there is one answer"));
        }
        if self.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            return Err(Error::invalid("tools cannot be used: this service calls none"));
        }
        match &self.response_format {
            Some(format) if format.kind != "text" => Err(Error::invalid("response_format must be text")),
            _ => Ok(()),
        }
    }
}

/// `POST /v1/chat/completions`
#[utoipa::path(
    post, path = "/v1/chat/completions", operation_id = "chat", tag = "openai",
    summary = "An answer to the last message of a chat, whole or as a stream",
    request_body = Request,
    responses(
        (status = 200, description = "The answer; with `stream`, chunks as OpenAI has them",
            content((ChatCompletion = "application/json"), (ServerSentEvent = "text/event-stream"))),
        Guarded, JsonBody, Absent, Unusable, Limited,
    ),
)]
pub(crate) async fn complete(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let request: Request = deadline.run(extract::json(&headers, body)).await?;
    request.check()?;
    let streamed = request.stream.unwrap_or_default();
    let include_usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or_default();
    let chat = Conversation::new(request.messages)?;
    let max_tokens = request.max_completion_tokens.or(request.max_tokens);
    let stop = match request.stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    let asked = request.ragstone.unwrap_or_default().ask(chat, max_tokens, request.temperature);
    let input = QueryInput { stop, seed: request.seed, ..asked };
    let events = query::start(app, caller, input, deadline).await?;
    if !streamed {
        return Ok(Json(whole(query::rest::finish(events).await?)?).into_response());
    }
    Ok(sse::respond(chunks(query::rest::begun(events).await?, include_usage)))
}

fn usage(answer: &Answer) -> Value {
    let (read, written) = (answer.usage.prompt_tokens, answer.usage.completion_tokens);
    json!({ "prompt_tokens": read, "completion_tokens": written, "total_tokens": read.saturating_add(written) })
}

fn whole(answer: Answer) -> Result<Value> {
    let id = format!("chatcmpl-{}", answer.query_id);
    let message = json!({ "role": "assistant", "content": answer.text, "refusal": null, "annotations": [] });
    let usage = usage(&answer);
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": answer.finish.as_str() });
    Ok(json!({
        "id": id, "object": "chat.completion", "created": now(), "model": MODEL, "choices": [choice], "usage": usage,
        "ragstone": extras(answer)?,
    }))
}

/// The chunks of one stream.
struct Chunks {
    id: String,
    created: u64,
    include_usage: bool,
    /// Whether the client has text that it cannot be told to forget.
    written: bool,
}

fn chunks(events: Events, include_usage: bool) -> impl Stream<Item = Result<Sse, axum::Error>> + Send + 'static {
    let chunks = Chunks { id: String::new(), created: now(), include_usage, written: false };
    stream::unfold(Some((events, chunks)), |state| async move {
        let (mut events, mut chunks) = state?;
        let (written, goes_on) = match events.next().await? {
            Ok(event) => match chunks.write(event) {
                Ok(written) => written,
                Err(error) => (vec![broken(error)], false),
            },
            Err(error) => (vec![broken(error)], false),
        };
        Some((stream::iter(written), goes_on.then_some((events, chunks))))
    })
    .flatten()
}

/// The error that ends a stream.
fn broken(error: Error) -> Result<Sse, axum::Error> {
    Sse::default().json_data(object(&Problem::from(error)))
}

impl Chunks {
    /// What is sent for an event, and whether the stream goes on after it.
    fn write(&mut self, event: Event) -> Result<(Vec<Result<Sse, axum::Error>>, bool)> {
        match event {
            Event::Contexts { query_id, .. } => {
                self.id = format!("chatcmpl-{query_id}");
                Ok((vec![self.chunk(json!({ "role": "assistant", "content": "" }), None)], true))
            }
            Event::Delta(text) => {
                self.written = true;
                Ok((vec![self.chunk(json!({ "content": text }), None)], true))
            }
            // OpenAI's protocol cannot take text back, and two answers in one would be worse than none.
            Event::Restart(_) if self.written => Err(Error::unavailable("the answer broke off; ask again")),
            Event::Restart(_) => Ok((Vec::new(), true)),
            Event::Done(answer) => Ok((self.last(*answer)?, false)),
        }
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> Result<Sse, axum::Error> {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        Sse::default().json_data(self.envelope(json!([choice])))
    }

    fn envelope(&self, choices: Value) -> Value {
        let usage = self.include_usage.then_some(Value::Null);
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": MODEL, "choices": choices,
        });
        if let (Some(fields), Some(usage)) = (chunk.as_object_mut(), usage) {
            fields.insert("usage".to_owned(), usage);
        }
        chunk
    }

    fn last(&self, answer: Answer) -> Result<Vec<Result<Sse, axum::Error>>> {
        let (usage, finish) = (usage(&answer), answer.finish.as_str());
        let choice = json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": finish });
        let mut end = self.envelope(json!([choice]));
        end["ragstone"] = extras(answer)?;
        let mut events = vec![Sse::default().json_data(end)];
        if self.include_usage {
            let mut counted = self.envelope(json!([]));
            counted["usage"] = usage;
            events.push(Sse::default().json_data(counted));
        }
        events.push(Ok(Sse::default().data("[DONE]")));
        Ok(events)
    }
}
