//! What the edge keeps about callers and answers: API keys, the audit log, feedback. The ingestion service owns them.

pub(crate) mod audit;
pub(crate) mod feedback;
pub(crate) mod keys;
pub(crate) mod recorder;

const INGESTION: &str = "ingestion";
