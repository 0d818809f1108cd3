//! What the fake server can do to a request.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode};
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};

use super::obedient;

/// How a request is treated.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Streams these pieces, the end and the token counts.
    Answer(Vec<String>),
    /// Waits, then does the other thing.
    Late(Duration, Box<Behaviour>),
    /// Refuses with this status, perhaps with `Retry-After` in seconds, and an OpenAI error object of this type.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// Seconds to wait.
        retry_after: Option<u64>,
        /// The error object's `type`.
        kind: String,
    },
    /// Streams these pieces, then breaks the connection.
    Cut(Vec<String>),
    /// Streams these pieces, then closes the stream in good order but without a finish reason.
    Stop(Vec<String>),
    /// Streams these pieces, then nothing more, with the connection open.
    Stall(Vec<String>),
    /// Streams this piece again and again, with this pause.
    Endless(String, Duration),
    /// Streams these pieces, then an event that is not JSON.
    Malformed(Vec<String>),
    /// Streams these pieces, then an event that reports an error.
    ErrorEvent(Vec<String>),
    /// Streams the end and no text.
    Empty,
    /// Never sends a response.
    Hang,
    /// Ignores that a stream was asked for and answers with one JSON object.
    WholeJson(String),
    /// Streams the pieces that this makes of the request's body.
    Reads(fn(&Value) -> Vec<String>),
    /// Streams exactly these events, with `data:` before and `[DONE]` after them.
    Events(Vec<Value>),
}

/// What goes over the wire.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) retry_after: Option<u64>,
    pub(super) steps: Vec<Step>,
}

/// A part of a response's body.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(String),
    Wait(Duration),
    Repeat(String, Duration),
    Break,
    Hang,
}

impl Behaviour {
    /// Streams a text in words.
    #[must_use]
    pub fn answer(text: &str) -> Self {
        Self::Answer(text.split_inclusive(' ').map(str::to_owned).collect())
    }

    /// Refuses with this status.
    #[must_use]
    pub fn refuse(status: u16) -> Self {
        Self::Refuse { status, retry_after: None, kind: "server_error".to_owned() }
    }

    /// Obeys whatever stands outside the delimiters that the system message names, and nothing else.
    #[must_use]
    pub fn obedient() -> Self {
        Self::Reads(obedient::answer)
    }

    /// What goes over the wire for a request with this body.
    pub(super) fn reply(self, body: &Value) -> Reply {
        match self {
            Self::Answer(pieces) => Reply::answer(pieces),
            Self::Reads(answer) => Reply::answer(answer(body)),
            Self::Late(wait, other) => {
                let mut reply = other.reply(body);
                reply.steps.insert(0, Step::Wait(wait));
                reply
            }
            Self::Refuse { status, retry_after, kind } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let body = json!({"error": {"message": "no", "type": kind, "param": null, "code": null}});
                Reply { retry_after, ..Reply::status(status, &body.to_string()) }
            }
            Self::Cut(pieces) => Reply::events(pieces, [Step::Break]),
            Self::Stop(pieces) => Reply::events(pieces, [done()]),
            Self::Stall(pieces) => Reply::events(pieces, [Step::Hang]),
            Self::Endless(piece, pause) => {
                Reply::events(Vec::new(), [Step::Repeat(sse(&delta(&piece).to_string()), pause)])
            }
            Self::Malformed(pieces) => Reply::events(pieces, [Step::Send(sse("{\"choices\": [")), done()]),
            Self::ErrorEvent(pieces) => Reply::events(pieces, [event(&json!({"error": {"message": "no"}})), done()]),
            Self::Empty => Reply::events(Vec::new(), [event(&finish("stop")), event(&usage(0)), done()]),
            Self::Hang => Reply::events(Vec::new(), [Step::Hang]),
            Self::WholeJson(text) => Reply::status(StatusCode::OK, &completion(&text).to_string()),
            Self::Events(events) => Reply::events(Vec::new(), events.iter().map(event).chain([done()])),
        }
    }
}

impl Reply {
    pub(super) fn status(status: StatusCode, body: &str) -> Self {
        let content_type = HeaderValue::from_static("application/json");
        Self { status, content_type, retry_after: None, steps: vec![Step::Send(body.to_owned())] }
    }

    fn answer(pieces: Vec<String>) -> Self {
        let tokens = pieces.len();
        Self::events(pieces, [event(&finish("stop")), event(&usage(tokens)), done()])
    }

    fn events(pieces: Vec<String>, then: impl IntoIterator<Item = Step>) -> Self {
        let steps = pieces.iter().map(|piece| event(&delta(piece))).chain(then).collect();
        let content_type = HeaderValue::from_static("text/event-stream");
        Self { status: StatusCode::OK, content_type, retry_after: None, steps }
    }
}

impl Step {
    pub(super) fn into_stream(self) -> BoxStream<'static, std::io::Result<Bytes>> {
        match self {
            Self::Send(text) => stream::iter([Ok(text.into())]).boxed(),
            Self::Wait(wait) => stream::once(tokio::time::sleep(wait)).map(|()| Ok(Bytes::new())).boxed(),
            Self::Repeat(text, pause) => stream::repeat(Bytes::from(text))
                .then(move |text| async move {
                    tokio::time::sleep(pause).await;
                    Ok(text)
                })
                .boxed(),
            // While the body is pending hyper sends what came before.
            Self::Break => {
                stream::once(tokio::task::yield_now()).map(|()| Err(std::io::Error::other("cut, as told"))).boxed()
            }
            Self::Hang => stream::pending().boxed(),
        }
    }
}

fn event(value: &Value) -> Step {
    Step::Send(sse(&value.to_string()))
}

fn done() -> Step {
    Step::Send(sse("[DONE]"))
}

fn sse(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// A chunk with text.
#[must_use]
pub fn delta(text: &str) -> Value {
    chunk(json!({"content": text}), Value::Null)
}

/// A chunk that says why the model stopped.
#[must_use]
pub fn finish(reason: &str) -> Value {
    chunk(json!({}), reason.into())
}

/// A chunk with token counts: 10 read, `tokens` written.
#[must_use]
pub fn usage(tokens: usize) -> Value {
    let counts = json!({"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens});
    json!({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "fake", "choices": [], "usage": counts})
}

/// A whole answer in one object.
#[must_use]
pub fn completion(text: &str) -> Value {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    json!({"id": "c", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]})
}

fn chunk(delta: Value, reason: Value) -> Value {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
    json!({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "fake", "choices": [choice]})
}
