//! An answer over REST: whole as JSON, or as Server-Sent Events.

use axum::Json;
use axum::response::{IntoResponse as _, Response, sse};
use futures::{StreamExt as _, stream};
use ragstone_core::{Error, Result};
use serde_json::json;

use super::view::{AnswerView, ContextView, ContextsView};
use super::{Answer, Event, Events};
use crate::problem::Problem;

/// The whole answer, once it is there.
///
/// # Errors
/// Whatever ends the query.
pub(crate) async fn finish(mut events: Events) -> Result<Answer> {
    while let Some(event) = events.next().await {
        if let Event::Done(answer) = event? {
            return Ok(*answer);
        }
    }
    Err(Error::internal("a query ended without an answer"))
}

/// The answer as one JSON object.
pub(crate) async fn whole(events: Events) -> Result<Response, Problem> {
    Ok(Json(AnswerView::from(finish(events).await?)).into_response())
}

/// The same events, once the first is there. What fails before it is an ordinary error response: clients, proxies and load
/// balancers understand a status better than an event.
///
/// # Errors
/// Whatever ends the query before its first event.
pub(crate) async fn begun(mut events: Events) -> Result<Events> {
    let first = events.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(events).boxed())
}

/// The answer as a stream.
pub(crate) async fn stream(events: Events) -> Result<Response, Problem> {
    Ok(crate::sse::respond(begun(events).await?.map(|event| match event {
        Ok(event) => render(event),
        Err(error) => crate::sse::error(error),
    })))
}

fn render(event: Event) -> Result<sse::Event, axum::Error> {
    match event {
        Event::Contexts { query_id, contexts } => {
            let contexts = contexts.iter().map(ContextView::from).collect();
            sse::Event::default().event("contexts").json_data(ContextsView { query_id: query_id.to_string(), contexts })
        }
        Event::Delta(text) => sse::Event::default().event("delta").json_data(json!({ "text": text })),
        Event::Restart(code) => sse::Event::default().event("restart").json_data(json!({ "degraded": code })),
        Event::Done(answer) => sse::Event::default().event("done").json_data(AnswerView::from(*answer)),
    }
}
