//! Questions and answers between their wire form and the query engine's.

use std::sync::Arc;

use ragstone_core::{Filter, Hit, Result, SearchMode};
use ragstone_proto::{enum_value, v1};

use crate::query::view::milliseconds;
use crate::query::{Answer, Event, QueryInput, SearchInput, Timings};

/// Zero means "not said" on the wire.
fn said(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number != 0)
}

fn mode(number: i32) -> Result<SearchMode> {
    Ok(enum_value::<v1::SearchMode>(number, "mode")?.into())
}

/// A question from the wire; it is checked later, like one from REST.
pub(crate) fn query_input(message: v1::QueryRequest) -> Result<QueryInput> {
    Ok(QueryInput {
        query: message.query,
        k: said(message.k),
        filter: message.filter.map(Filter::try_from).transpose()?,
        mode: Some(mode(message.mode)?),
        max_tokens: said(message.max_tokens),
        temperature: message.temperature,
        rerank: Some(message.rerank),
        ..QueryInput::default()
    })
}

/// A search from the wire.
pub(crate) fn search_input(message: v1::SearchRequest) -> Result<SearchInput> {
    Ok(SearchInput {
        query: message.query,
        k: said(message.k),
        mode: Some(mode(message.mode)?),
        filter: message.filter.map(Filter::try_from).transpose()?,
        rerank: Some(message.rerank),
    })
}

/// Times to the wire.
pub(crate) fn timings(timings: &Timings) -> v1::Timings {
    v1::Timings {
        embed: milliseconds(timings.embed),
        search: milliseconds(timings.search),
        generate: milliseconds(timings.generate),
        total: milliseconds(timings.total),
    }
}

/// An answer to the wire.
pub(crate) fn answer(answer: Answer) -> v1::QueryResponse {
    let citations = answer.citations.into_iter().map(|citation| v1::Citation {
        marker: citation.marker,
        document_id: citation.document_id.into(),
        chunk_index: citation.chunk_index,
        quote: citation.quote,
        score: citation.score,
    });
    v1::QueryResponse {
        query_id: answer.query_id.to_string(),
        answer: answer.text,
        citations: citations.collect(),
        contexts: hits(answer.contexts),
        degraded: answer.trail.degraded,
        sources_complete: answer.sources_complete,
        cache: answer.cache.to_owned(),
        model: answer.model,
        usage: Some(v1::Usage {
            prompt_tokens: answer.usage.prompt_tokens,
            completion_tokens: answer.usage.completion_tokens,
        }),
        timings: Some(timings(&answer.trail.timings)),
        trace_id: answer.trace_id.unwrap_or_default(),
    }
}

/// A step of an answer to the wire.
pub(crate) fn event(event: Event) -> v1::QueryStreamResponse {
    use v1::query_stream_response::Event as Wire;
    let event = match event {
        Event::Contexts { contexts, .. } => Wire::Contexts(v1::QueryContexts { contexts: hits(contexts) }),
        Event::Delta(text) => Wire::Delta(v1::QueryDelta { text }),
        Event::Restart(degraded) => Wire::Restart(v1::QueryRestart { degraded }),
        Event::Done(done) => Wire::Done(answer(*done)),
    };
    v1::QueryStreamResponse { event: Some(event) }
}

fn hits(hits: Arc<Vec<Hit>>) -> Vec<v1::Hit> {
    Arc::unwrap_or_clone(hits).into_iter().map(Into::into).collect()
}
