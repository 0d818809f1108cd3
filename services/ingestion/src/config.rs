//! The `[ingestion]` section of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ragstone_catalog::{BlobsConfig, PostgresConfig};
use ragstone_rpc::ServiceConfig;
use ragstone_text::{ChunkConfig, ExtractLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

/// The ingestion service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// Where documents and jobs are stored: `catalog.db`, unless `postgres.url` is set, and `blobs`, unless `blobs` names
    /// another place. One process at a time uses it.
    pub data_dir: PathBuf,
    /// PostgreSQL for documents and jobs, shared by any number of ingestion processes.
    pub postgres: PostgresConfig,
    /// Where raw bodies are stored.
    pub blobs: BlobsConfig,
    /// The embedding service.
    pub embedding_url: String,
    /// The retrieval service.
    pub retrieval_url: String,
    /// How many documents are worked on at once.
    pub workers: usize,
    /// A worker that gives no sign of life for this long has lost its job to another. At least 3.
    pub lease_seconds: u64,
    /// The longest chunk, in the embedding model's own tokens; the model's limit caps it. At least 32.
    pub chunk_tokens: usize,
    /// How many tokens neighbouring chunks of one section share, at most. Less than `chunk_tokens`.
    pub chunk_overlap: usize,
    /// After this many failed tries of one step a job is dead.
    pub attempts: u32,
    /// The largest document that is accepted, in bytes; not more than `extract.max_bytes`.
    pub max_document_bytes: usize,
    /// How many hours the `Idempotency-Key` of a write is remembered. 1 to 8,760.
    pub idempotency_ttl_hours: u64,
    /// What extracting a document's text may cost.
    pub extract: ExtractLimits,
    /// The program that parses HTML, PDF and DOCX in a process of its own; without it this program itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_program: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7104)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9104)),
            data_dir: PathBuf::from(".ragstone"),
            postgres: PostgresConfig::default(),
            blobs: BlobsConfig::default(),
            embedding_url: "http://127.0.0.1:7101".to_owned(),
            retrieval_url: "http://127.0.0.1:7102".to_owned(),
            workers: 2,
            lease_seconds: 30,
            chunk_tokens: 512,
            chunk_overlap: 50,
            attempts: 3,
            max_document_bytes: 50 << 20,
            idempotency_ttl_hours: 24,
            extract: ExtractLimits::default(),
            extract_program: None,
        }
    }
}

impl Config {
    /// Whether the catalog is in PostgreSQL.
    pub(crate) fn uses_postgres(&self) -> bool {
        !self.postgres.url.is_empty()
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    pub(crate) fn idempotency_ttl(&self) -> Duration {
        Duration::from_secs(self.idempotency_ttl_hours * 3_600)
    }

    pub(crate) fn chunks(&self) -> ChunkConfig {
        ChunkConfig { tokens: self.chunk_tokens, overlap: self.chunk_overlap }
    }
}

impl ServiceConfig for Config {
    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn admin_listen(&self) -> SocketAddr {
        self.admin_listen
    }

    fn check(&self) -> Result<(), String> {
        for (key, url) in [("embedding_url", &self.embedding_url), ("retrieval_url", &self.retrieval_url)] {
            if !url.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some()) {
                return Err(format!("{key} is not a URL: '{url}'"));
            }
        }
        let rules = [
            (self.workers == 0, "workers must be at least 1"),
            (self.lease_seconds < 3, "lease_seconds must be at least 3"),
            (self.attempts == 0, "attempts must be at least 1"),
            (self.chunk_tokens < 32, "chunk_tokens must be at least 32"),
            (self.chunk_overlap >= self.chunk_tokens, "chunk_overlap must be less than chunk_tokens"),
            (self.max_document_bytes == 0, "max_document_bytes must be at least 1"),
            (!(1..=8_760).contains(&self.idempotency_ttl_hours), "idempotency_ttl_hours must be 1 to 8760"),
            (
                self.max_document_bytes > self.extract.max_bytes,
                "max_document_bytes must not be more than extract.max_bytes",
            ),
        ];
        if let Some((_, problem)) = rules.iter().find(|(broken, _)| *broken) {
            return Err((*problem).to_owned());
        }
        let checked = self.postgres.validate().and_then(|()| self.blobs.validate());
        // Whoever tells of it names the section.
        checked.map_err(|error| error.message.trim_start_matches("ingestion.").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_names_its_key() {
        let good = Config::default;
        assert_eq!(good().check(), Ok(()));
        let broken = [
            ("workers", Config { workers: 0, ..good() }),
            ("lease_seconds", Config { lease_seconds: 2, ..good() }),
            ("chunk_overlap", Config { chunk_overlap: 512, ..good() }),
            ("max_document_bytes", Config { max_document_bytes: 51 << 20, ..good() }),
            ("idempotency_ttl_hours", Config { idempotency_ttl_hours: 0, ..good() }),
            ("embedding_url", Config { embedding_url: "localhost".into(), ..good() }),
        ];
        for (key, config) in broken {
            assert!(config.check().is_err_and(|problem| problem.contains(key)), "{key}");
        }
    }
}
