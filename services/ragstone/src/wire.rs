//! What the gateway sends, as far as the command line reads it; unknown fields are left alone.

use std::fmt;

use ragstone_core::JobStatus;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// A problem object (RFC 9457).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Problem {
    /// What kind of problem.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// What exactly.
    #[serde(default)]
    pub(crate) detail: Option<String>,
    /// The stable code.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// Where to look in the server's logs and traces.
    #[serde(default)]
    pub(crate) trace_id: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.detail.as_deref().or(self.title.as_deref()).unwrap_or("the server refused without a reason");
        f.write_str(what)?;
        match (self.code.as_deref(), self.trace_id.as_deref().filter(|id| !id.is_empty())) {
            (Some(code), Some(trace)) => write!(f, " ({code}, trace {trace})"),
            (Some(code), None) => write!(f, " ({code})"),
            (None, Some(trace)) => write!(f, " (trace {trace})"),
            (None, None) => Ok(()),
        }
    }
}

/// A document that the server has taken, or a deletion.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) document_id: String,
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) job_id: Option<String>,
    #[serde(default)]
    pub(crate) unchanged: bool,
}

/// A job.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    pub(crate) job_id: String,
    pub(crate) document_id: String,
    pub(crate) version: u64,
    pub(crate) status: JobStatus,
    #[serde(default)]
    pub(crate) stage: Option<String>,
    #[serde(default)]
    pub(crate) attempts: u32,
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) progress: f64,
}

/// A document with the state of its newest version.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) document_id: String,
    pub(crate) version: u64,
    pub(crate) status: String,
    pub(crate) chunks: u32,
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) error: Option<String>,
    pub(crate) updated_at: String,
}

/// One version of a document.
#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) status: String,
    pub(crate) bytes: u64,
    pub(crate) chunks: u32,
    #[serde(default)]
    pub(crate) error: Option<String>,
    pub(crate) created_at: String,
}

/// Where a passage was found.
#[derive(Debug, Deserialize)]
pub(crate) struct Hit {
    pub(crate) document_id: String,
    pub(crate) chunk_index: u32,
    pub(crate) score: f64,
    pub(crate) content: String,
}

/// How many shards took part.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Shards {
    pub(crate) asked: u32,
    pub(crate) answered: u32,
}

/// The answer to a search.
#[derive(Debug, Deserialize)]
pub(crate) struct SearchAnswer {
    pub(crate) hits: Vec<Hit>,
    #[serde(default)]
    pub(crate) shards: Shards,
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
}

/// What an answer rests on.
#[derive(Debug, Deserialize)]
pub(crate) struct Citation {
    pub(crate) marker: u32,
    pub(crate) document_id: String,
    pub(crate) chunk_index: u32,
    pub(crate) quote: String,
}

/// The answer to a question.
#[derive(Debug, Deserialize)]
pub(crate) struct QueryAnswer {
    pub(crate) answer: String,
    #[serde(default)]
    pub(crate) citations: Vec<Citation>,
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
    /// False when a shard is missing from the search behind the answer.
    #[serde(default = "yes")]
    pub(crate) sources_complete: bool,
}

fn yes() -> bool {
    true
}

/// More text of a streamed answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Delta {
    pub(crate) text: String,
}

/// An API key, without its secret except when it was just made.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    #[serde(default)]
    pub(crate) key: Option<String>,
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) all_groups: bool,
    pub(crate) created_at: Option<String>,
    #[serde(default)]
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
}

/// An entry of the audit log.
#[derive(Debug, Deserialize)]
pub(crate) struct AuditEntry {
    pub(crate) seq: u64,
    pub(crate) at: Option<String>,
    pub(crate) subject: String,
    pub(crate) action: String,
    pub(crate) object_kind: String,
    pub(crate) object_id: String,
    pub(crate) version: Option<u64>,
    #[serde(default)]
    pub(crate) documents: Vec<DocumentRead>,
    pub(crate) detail: Option<String>,
}

/// A document that an answer has read.
#[derive(Debug, Deserialize)]
pub(crate) struct DocumentRead {
    pub(crate) document_id: String,
    pub(crate) version: u64,
}

/// What came out of verifying the audit log.
#[derive(Debug, Deserialize)]
pub(crate) struct Verification {
    pub(crate) whole: bool,
    pub(crate) entries: u64,
    pub(crate) first_broken: Option<u64>,
    #[serde(default)]
    pub(crate) hash: String,
}

/// The admin port's view of the server.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Readiness {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) checks: Vec<Dependency>,
}

/// One dependency of the server.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) critical: bool,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) detail: Option<String>,
}

/// Reads an answer that was kept as plain JSON.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| {
        Failure::failed(format!("the server's answer is not Ragstone's: {e}"))
            .advise("Check that --url is the address of a Ragstone gateway of this version.")
    })
}
