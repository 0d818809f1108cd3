//! Answers and passages as JSON, field by field as the contract has them.

use std::time::Duration;

use ragstone_core::{Citation, Hit, Metadata, Usage};
use serde::Serialize;

use super::{Answer, Timings};
use crate::openapi::shapes::CacheState;

/// A passage that was found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Hit)]
pub(crate) struct HitView {
    document_id: String,
    version: u64,
    chunk_index: u32,
    score: f32,
    content: String,
    title: String,
    heading_path: Vec<String>,
    #[schema(value_type = Object)]
    metadata: Metadata,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        Self {
            document_id: hit.document_id.into(),
            version: hit.version,
            chunk_index: hit.chunk_index,
            score: hit.score,
            content: hit.content,
            title: hit.title,
            heading_path: hit.heading_path,
            metadata: hit.metadata,
        }
    }
}

/// The `contexts` event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Contexts)]
pub(crate) struct ContextsView {
    pub(crate) query_id: String,
    pub(crate) contexts: Vec<ContextView>,
}

/// A passage that an answer was written from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Context)]
pub(crate) struct ContextView {
    document_id: String,
    version: u64,
    chunk_index: u32,
    title: String,
    content: String,
    score: f32,
}

impl From<&Hit> for ContextView {
    fn from(hit: &Hit) -> Self {
        Self {
            document_id: hit.document_id.to_string(),
            version: hit.version,
            chunk_index: hit.chunk_index,
            title: hit.title.clone(),
            content: hit.content.clone(),
            score: hit.score,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Citation)]
pub(crate) struct CitationView {
    marker: u32,
    document_id: String,
    chunk_index: u32,
    quote: String,
    score: f32,
}

impl From<Citation> for CitationView {
    fn from(citation: Citation) -> Self {
        let Citation { marker, document_id, chunk_index, quote, score } = citation;
        Self { marker, document_id: document_id.into(), chunk_index, quote, score }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Usage)]
struct UsageView {
    prompt_tokens: u32,
    completion_tokens: u32,
}

/// Times in milliseconds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Timings)]
pub(crate) struct TimingsView {
    embed: f64,
    search: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<f64>,
    total: f64,
}

/// Milliseconds to three places.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

impl TimingsView {
    fn new(timings: &Timings) -> Self {
        Self { generate: Some(milliseconds(timings.generate)), ..Self::without_generation(timings) }
    }

    /// Those of a search.
    pub(crate) fn without_generation(timings: &Timings) -> Self {
        Self {
            embed: milliseconds(timings.embed),
            search: milliseconds(timings.search),
            generate: None,
            total: milliseconds(timings.total),
        }
    }
}

/// The answer to a query.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Answer)]
pub(crate) struct AnswerView {
    query_id: String,
    answer: String,
    citations: Vec<CitationView>,
    contexts: Vec<ContextView>,
    degraded: Vec<String>,
    sources_complete: bool,
    #[schema(value_type = CacheState)]
    cache: &'static str,
    model: String,
    usage: UsageView,
    timings_ms: TimingsView,
    trace_id: Option<String>,
}

impl From<Answer> for AnswerView {
    fn from(answer: Answer) -> Self {
        let Usage { prompt_tokens, completion_tokens } = answer.usage;
        Self {
            query_id: answer.query_id.to_string(),
            answer: answer.text,
            citations: answer.citations.into_iter().map(CitationView::from).collect(),
            contexts: answer.contexts.iter().map(ContextView::from).collect(),
            degraded: answer.trail.degraded,
            sources_complete: answer.sources_complete,
            cache: answer.cache,
            model: answer.model,
            usage: UsageView { prompt_tokens, completion_tokens },
            timings_ms: TimingsView::new(&answer.trail.timings),
            trace_id: answer.trace_id,
        }
    }
}
