//! What a query leaves behind beside its answer: degradations, times and counts.

use std::time::{Duration, Instant};

use ragstone_core::{Degraded, ErrorCode, Result};

use super::Answer;
use crate::limits::Admission;

/// How long the steps took; zero for those that were not needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {
    /// Embedding the question.
    pub embed: Duration,
    /// Searching.
    pub search: Duration,
    /// Writing the answer.
    pub generate: Duration,
    /// Everything.
    pub total: Duration,
}

/// In what ways an answer is less than whole, and how long it took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    /// Codes, each once. Text, as a newer generation service may send one that this gateway does not know yet.
    pub degraded: Vec<String>,
    /// Times.
    pub timings: Timings,
}

impl Trail {
    /// Of a call that was let in.
    pub(crate) fn after(admission: &Admission) -> Self {
        let mut trail = Self::default();
        if admission.decided_locally() {
            trail.degrade(Degraded::RatelimitLocal.as_str());
        }
        trail
    }

    /// Notes a degradation: in the answer, the metrics and, as an event named after it, in the trace.
    pub(crate) fn degrade(&mut self, code: &str) {
        if self.degraded.iter().any(|known| known == code) {
            return;
        }
        metrics::counter!("rag_degraded_total", "code" => code.to_owned()).increment(1);
        tracing::warn!(code, "{code}");
        self.degraded.push(code.to_owned());
    }
}

/// Counts a query when it ends, however it ends: a caller who leaves drops it.
pub(super) struct Count {
    started: Instant,
    outcome: &'static str,
}

impl Count {
    pub(super) fn begin() -> Self {
        Self { started: Instant::now(), outcome: "cancelled" }
    }

    pub(super) fn end(mut self, outcome: &Result<Answer>) {
        self.outcome = match outcome {
            Ok(answer) if answer.trail.degraded.is_empty() => "ok",
            Ok(_) => "degraded",
            Err(error) => match error.code {
                ErrorCode::Cancelled => "cancelled",
                code if crate::problem::status_of(code).is_client_error() => "refused",
                _ => "error",
            },
        };
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        metrics::counter!("rag_queries_total", "outcome" => self.outcome).increment(1);
        metrics::histogram!("rag_query_duration_seconds").record(self.started.elapsed());
        if self.outcome == "cancelled" {
            metrics::counter!("rag_cancelled_total").increment(1);
        }
    }
}
