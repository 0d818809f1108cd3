//! Step 5 of a query: the question's embedding, or keyword search where there is none.

use std::time::Instant;

use ragstone_core::{Degraded, Error, ErrorCode, IndexName, Result, SearchMode};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use super::Trail;
use super::input::Search;
use crate::app::App;
use crate::backends::failed;
use crate::serving;

/// The first question may take this part of its share to learn which model it is to be embedded with: 1/4 (0.5 s).
const LEARN: u32 = 4;

/// How a question will be searched.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// Its embedding; empty in keyword mode.
    pub vector: Vec<f32>,
    /// The mode that is left.
    pub mode: SearchMode,
    /// The index whose vectors this one can be compared with; empty: no vector, any index will do.
    pub index: String,
}

impl Embedded {
    pub(super) fn keywords() -> Self {
        Self { vector: Vec::new(), mode: SearchMode::Keyword, index: String::new() }
    }
}

/// Embeds the question. Where that fails, hybrid search goes on with keywords alone and says so.
///
/// # Errors
/// Only for dense search, which is nothing without a vector: `InvalidArgument` when the model cannot read the
/// question, else `Unavailable`.
#[tracing::instrument(name = "embed", skip_all)]
pub(crate) async fn embed(app: &App, search: &Search, deadline: Deadline, trail: &mut Trail) -> Result<Embedded> {
    if search.mode == SearchMode::Keyword {
        return Ok(Embedded::keywords());
    }
    let started = Instant::now();
    let share = deadline.cap(app.config.embed_timeout());
    let outcome = share.run(vector(app, search, share)).await;
    trail.timings.embed = started.elapsed();
    match (outcome, search.mode) {
        (Ok((vector, index)), mode) => Ok(Embedded { vector, mode, index: index.into() }),
        (Err(error), SearchMode::Dense) if error.code == ErrorCode::InvalidArgument => Err(error),
        (Err(error), SearchMode::Dense) => {
            Err(Error::unavailable("the question cannot be embedded now; hybrid search may do").with_source(error))
        }
        (Err(error), _) => {
            tracing::debug!(error = error.chain(), "the question was not embedded");
            trail.degrade(Degraded::EmbedLexicalOnly.as_str());
            Ok(Embedded::keywords())
        }
    }
}

async fn vector(app: &App, search: &Search, deadline: Deadline) -> Result<(Vec<f32>, IndexName)> {
    let share = deadline.cap(app.config.embed_timeout() / LEARN);
    let model = app.serving.model_or_ask(serving::ask(app, share)).await;
    let texts = vec![search.text.clone()];
    let message = v1::EmbedRequest { texts, kind: v1::EmbedKind::Query.into(), model };
    let answer = app.backends.embedding.clone().embed(request(message, deadline)).await;
    let v1::EmbedResponse { vectors, model, revision } = answer.map_err(failed("embedding"))?.into_inner();
    match <[v1::Vector; 1]>::try_from(vectors) {
        Ok([vector]) if usable(&vector.values) => Ok((vector.values, IndexName::of(&model, &revision))),
        _ => {
            metrics::counter!("rag_errors_total", "type" => "embedding_invalid").increment(1);
            Err(Error::internal("the embedding is no usable vector"))
        }
    }
}

/// Finite, and not all zero.
fn usable(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite()) && values.iter().any(|value| *value != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_would_spoil_a_search_are_not_used() {
        assert!(usable(&[0.0, 1.0]));
        for bad in [&[][..], &[0.0, 0.0], &[1.0, f32::NAN], &[f32::INFINITY]] {
            assert!(!usable(bad), "{bad:?}");
        }
    }
}
