//! `POST /v1/responses`: text in, text out, each citation a `file_citation` annotation. Nothing is kept between calls.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::sse::Event as Sse;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use ragstone_core::{Error, Result, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::chat::Options;
use super::conversation::{Conversation, Message};
use super::error::object;
use super::view::{MODEL, check_model, extras, now};
use crate::app::App;
use crate::extract;
use crate::openapi::errors::{Absent, Guarded, JsonBody, Limited, Unusable};
use crate::openapi::shapes::ServerSentEvent;
use crate::openapi::theirs::{ModelName, ResponseShape};
use crate::problem::Problem;
use crate::query::{self, Answer, Event, Events};
use crate::sse;

/// A request.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponseRequest, example = json!({ "model": "ragstone", "input": "Who cast the bell?" }))]
pub(crate) struct Request {
    #[schema(value_type = ModelName)]
    model: String,
    input: Input,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4096)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    conversation: Option<Value>,
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
    #[serde(default, deserialize_with = "extract::object")]
    ragstone: Option<Options>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = ResponseInput)]
enum Input {
    Text(String),
    Messages(Vec<Message>),
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponseTool)]
struct Tool {
    #[serde(rename = "type")]
    #[schema(pattern = "^file_search$")]
    kind: String,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    max_num_results: Option<u32>,
}

/// What of the request an answer repeats.
#[derive(Debug, Clone)]
struct Frame {
    created: u64,
    max_output_tokens: Option<u32>,
    temperature: Option<f32>,
    metadata: HashMap<String, String>,
}

impl Request {
    fn check(&mut self) -> Result<()> {
        check_model(&self.model)?;
        if self.previous_response_id.is_some() || self.conversation.is_some() || self.background == Some(true) {
            let message = "nothing is kept between calls: send the earlier messages in 'input' instead of \
                           previous_response_id, conversation or background";
            return Err(Error::invalid(message));
        }
        for tool in self.tools.iter().flatten() {
            if tool.kind != "file_search" {
                let message = format!("the tool '{}' cannot be used; file_search is, in any case", tool.kind);
                return Err(Error::invalid(message));
            }
            let options = self.ragstone.get_or_insert_default();
            options.k = options.k.or(tool.max_num_results);
        }
        Ok(())
    }
}

/// `POST /v1/responses`
#[utoipa::path(
    post, path = "/v1/responses", operation_id = "respond", tag = "openai",
    summary = "Text in, text out, with a file citation for each passage; whole or as a stream",
    request_body = Request,
    responses(
        (status = 200, description = "The response; with `stream`, events as OpenAI has them",
            content((ResponseShape = "application/json"), (ServerSentEvent = "text/event-stream"))),
        Guarded, JsonBody, Absent, Unusable, Limited,
    ),
)]
pub(crate) async fn create(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let mut request: Request = deadline.run(extract::json(&headers, body)).await?;
    request.check()?;
    let Request { input, stream, max_output_tokens, temperature, metadata, ragstone, .. } = request;
    let chat = match input {
        Input::Text(question) => Conversation { question, ..Conversation::default() },
        Input::Messages(messages) => Conversation::new(messages)?,
    };
    let frame = Frame { created: now(), max_output_tokens, temperature, metadata: metadata.unwrap_or_default() };
    let events =
        query::start(app, caller, ragstone.unwrap_or_default().ask(chat, max_output_tokens, temperature), deadline)
            .await?;
    if !stream.unwrap_or_default() {
        return Ok(Json(frame.complete(query::rest::finish(events).await?)?).into_response());
    }
    Ok(sse::respond(steps(query::rest::begun(events).await?, frame)))
}

/// Where `[n]` stands in the text, in characters, and which document it names.
fn annotations(answer: &Answer) -> Vec<Value> {
    let mut found = Vec::new();
    for citation in &answer.citations {
        let marker = format!("[{}]", citation.marker);
        let context = (citation.marker as usize).checked_sub(1).and_then(|n| answer.contexts.get(n));
        let id = citation.document_id.as_str();
        let name = context.map(|hit| hit.title.as_str()).filter(|title| !title.is_empty()).unwrap_or(id);
        for (at, _) in answer.text.match_indices(&marker) {
            let index = answer.text[..at].chars().count();
            found.push((index, json!({ "type": "file_citation", "file_id": id, "filename": name, "index": index })));
        }
    }
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, annotation)| annotation).collect()
}

fn part(text: &str, annotations: Vec<Value>) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": [] })
}

fn message(id: Uuid, status: &str, content: Vec<Value>) -> Value {
    json!({ "type": "message", "id": format!("msg_{id}"), "status": status, "role": "assistant", "content": content })
}

impl Frame {
    /// The response object.
    fn response(&self, id: Uuid, status: &str, output: Vec<Value>, usage: Value) -> Value {
        json!({
            "id": format!("resp_{id}"), "object": "response", "created_at": self.created, "status": status,
            "background": false, "error": null, "incomplete_details": null, "instructions": null,
            "max_output_tokens": self.max_output_tokens, "model": MODEL, "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "reasoning": { "effort": null, "summary": null }, "store": false,
            "temperature": self.temperature, "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [],
            "top_p": null, "truncation": "disabled", "usage": usage, "metadata": self.metadata,
        })
    }

    fn complete(&self, answer: Answer) -> Result<Value> {
        let (read, written) = (answer.usage.prompt_tokens, answer.usage.completion_tokens);
        let usage = json!({
            "input_tokens": read, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": written,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": read.saturating_add(written),
        });
        let content = part(&answer.text, annotations(&answer));
        let (status, details) = match answer.finish.as_str() {
            "length" => ("incomplete", json!({ "reason": "max_output_tokens" })),
            _ => ("completed", Value::Null),
        };
        let output = vec![message(answer.query_id, status, vec![content])];
        let mut response = self.response(answer.query_id, status, output, usage);
        response["incomplete_details"] = details;
        response["ragstone"] = extras(answer)?;
        Ok(response)
    }
}

/// The events of one stream, numbered.
struct Steps {
    frame: Frame,
    id: Uuid,
    sequence: u64,
    text: String,
}

fn steps(events: Events, frame: Frame) -> impl Stream<Item = Result<Sse, axum::Error>> + Send + 'static {
    let steps = Steps { frame, id: Uuid::nil(), sequence: 0, text: String::new() };
    stream::unfold(Some((events, steps)), |state| async move {
        let (mut events, mut steps) = state?;
        let outcome = match events.next().await? {
            Ok(event) => {
                let last = matches!(event, Event::Done(_));
                steps.write(event).map(|written| (written, !last))
            }
            Err(error) => Err(error),
        };
        let (written, goes_on) = outcome.unwrap_or_else(|error| (steps.failed(error), false));
        Some((stream::iter(written), goes_on.then_some((events, steps))))
    })
    .flatten()
}

impl Steps {
    fn step(&mut self, kind: &str, mut fields: Value) -> Result<Sse, axum::Error> {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        Sse::default().event(kind).json_data(fields)
    }

    /// Where in the response the text is: it has one message of one part.
    fn place(&self) -> Value {
        json!({ "item_id": format!("msg_{}", self.id), "output_index": 0, "content_index": 0 })
    }

    fn write(&mut self, event: Event) -> Result<Vec<Result<Sse, axum::Error>>> {
        match event {
            Event::Contexts { query_id, .. } => {
                self.id = query_id;
                Ok(self.begin())
            }
            Event::Delta(text) => {
                self.text.push_str(&text);
                let mut fields = self.place();
                fields["delta"] = text.into();
                fields["logprobs"] = json!([]);
                Ok(vec![self.step("response.output_text.delta", fields)])
            }
            // As in a chat: text cannot be taken back.
            Event::Restart(_) if !self.text.is_empty() => Err(Error::unavailable("the answer broke off; ask again")),
            Event::Restart(_) => Ok(Vec::new()),
            Event::Done(answer) => self.end(*answer),
        }
    }

    fn begin(&mut self) -> Vec<Result<Sse, axum::Error>> {
        let response = self.frame.response(self.id, "in_progress", Vec::new(), Value::Null);
        let mut opened = self.place();
        opened["part"] = part("", Vec::new());
        let item = message(self.id, "in_progress", Vec::new());
        vec![
            self.step("response.created", json!({ "response": response })),
            self.step("response.in_progress", json!({ "response": response })),
            self.step("response.output_item.added", json!({ "output_index": 0, "item": item })),
            self.step("response.content_part.added", opened),
        ]
    }

    fn end(&mut self, answer: Answer) -> Result<Vec<Result<Sse, axum::Error>>> {
        let (text, annotations) = (answer.text.clone(), annotations(&answer));
        let response = self.frame.complete(answer)?;
        let mut events = Vec::new();
        for (n, annotation) in annotations.iter().enumerate() {
            let mut fields = self.place();
            fields["annotation_index"] = n.into();
            fields["annotation"] = annotation.clone();
            events.push(self.step("response.output_text.annotation.added", fields));
        }
        let (mut done, mut closed) = (self.place(), self.place());
        done["text"] = text.as_str().into();
        done["logprobs"] = json!([]);
        closed["part"] = part(&text, annotations);
        events.push(self.step("response.output_text.done", done));
        events.push(self.step("response.content_part.done", closed));
        let item = json!({ "output_index": 0, "item": response["output"][0] });
        events.push(self.step("response.output_item.done", item));
        let kind = if response["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
        events.push(self.step(kind, json!({ "response": response })));
        Ok(events)
    }

    fn failed(&mut self, error: Error) -> Vec<Result<Sse, axum::Error>> {
        let told = object(&Problem::from(error));
        let (code, message) = (told["error"]["code"].clone(), told["error"]["message"].clone());
        let mut response = self.frame.response(self.id, "failed", Vec::new(), Value::Null);
        response["error"] = json!({ "code": code, "message": message });
        vec![
            self.step("error", json!({ "code": code, "message": message, "param": null })),
            self.step("response.failed", json!({ "response": response })),
        ]
    }
}
