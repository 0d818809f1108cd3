//! The `[gateway]` section of the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use ragstone_auth::AuthConfig;
use ragstone_rpc::{Server, ServiceConfig, TlsConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::FetchConfig;
use crate::guard::GuardConfig;
use crate::limits::LimitsConfig;

/// Where the gateway listens, where its backends are, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of REST and gRPC.
    pub listen: SocketAddr,
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// The embedding service.
    pub embedding_url: String,
    /// The retrieval service.
    pub retrieval_url: String,
    /// The generation service.
    pub generation_url: String,
    /// The ingestion service.
    pub ingestion_url: String,
    /// The longest query, in characters; longer ones are refused, never cut.
    pub max_query_chars: usize,
    /// The largest body of a document or a batch of documents, in bytes.
    pub max_body_bytes: usize,
    /// Memory for uploads under way, in bytes; an upload that finds no room for 5 seconds is turned away.
    pub upload_memory_bytes: usize,
    /// The most requests worked on at once; more are turned away at once.
    pub max_concurrency: usize,
    /// Time for a whole query or any other call but an upload, in milliseconds.
    pub query_timeout_ms: u64,
    /// Time for a whole upload, its body included, in milliseconds.
    pub upload_timeout_ms: u64,
    /// A query's share for embedding the question, in milliseconds.
    pub embed_timeout_ms: u64,
    /// A query's share for searching, in milliseconds.
    pub search_timeout_ms: u64,
    /// Of a query that is to be reranked: how many times as many passages as asked for are searched to choose from.
    pub rerank_factor: u32,
    /// The most passages that are reranked, 1 to 100, unless more are asked for.
    pub rerank_max_candidates: u32,
    /// A query's share for reranking, in milliseconds; when it is over, the search's own order stands.
    pub rerank_timeout_ms: u64,
    /// The most tokens of passages a model is given, estimated; the lowest ranked passages are left out.
    pub context_tokens: usize,
    /// Whether the text of queries may be written to the log.
    pub log_queries: bool,
    /// Who may call.
    pub auth: AuthConfig,
    /// Tenants whose administrators may change indexes and shards, which all tenants share. Empty: those of every tenant may,
    /// which is right where one organisation owns them all.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub operator_tenants: Vec<String>,
    /// What may be asked, and what answers may carry.
    pub guard: GuardConfig,
    /// Documents that are sent as an address.
    pub fetch: FetchConfig,
    /// How much they may ask.
    pub limits: LimitsConfig,
    /// The certificate this port shows; without it, it serves in the clear, for a proxy in front that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Web pages of other origins (`https://app.example.org`, or `*`) whose scripts may call REST and gRPC-Web.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub cors_origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            embedding_url: "http://127.0.0.1:7101".to_owned(),
            retrieval_url: "http://127.0.0.1:7102".to_owned(),
            generation_url: "http://127.0.0.1:7103".to_owned(),
            ingestion_url: "http://127.0.0.1:7104".to_owned(),
            max_query_chars: 1000,
            max_body_bytes: 50 * 1024 * 1024,
            upload_memory_bytes: 512 * 1024 * 1024,
            max_concurrency: 512,
            query_timeout_ms: 30_000,
            upload_timeout_ms: 120_000,
            embed_timeout_ms: 2_000,
            search_timeout_ms: 3_000,
            rerank_factor: 4,
            rerank_max_candidates: 50,
            rerank_timeout_ms: 1_000,
            context_tokens: 3_000,
            log_queries: false,
            auth: AuthConfig::default(),
            operator_tenants: Vec::new(),
            guard: GuardConfig::default(),
            fetch: FetchConfig::default(),
            limits: LimitsConfig::default(),
            tls: None,
            cors_origins: Vec::new(),
        }
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
        let positive = [
            ("max_query_chars", self.max_query_chars),
            ("max_body_bytes", self.max_body_bytes),
            ("max_concurrency", self.max_concurrency),
            ("context_tokens", self.context_tokens),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{key} must be at least 1"));
        }
        if self.rerank_factor == 0 || !(1..=100).contains(&self.rerank_max_candidates) {
            return Err("rerank_factor must be at least 1, rerank_max_candidates 1 to 100".to_owned());
        }
        if self.upload_memory_bytes < self.max_body_bytes {
            return Err("upload_memory_bytes must be at least max_body_bytes".to_owned());
        }
        self.guard.check()?;
        self.fetch.check(self.max_body_bytes)?;
        self.limits.check()?;
        Server::check_origins(&self.cors_origins).map_err(|problem| format!("cors_origins: {problem}"))?;
        self.auth.check()?;
        self.auth.check_listen(self.listen)
    }
}

impl Config {
    /// Time for a whole query.
    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms)
    }

    /// Time for a whole upload.
    pub(crate) fn upload_timeout(&self) -> Duration {
        Duration::from_millis(self.upload_timeout_ms)
    }

    /// A query's share for embedding.
    pub(crate) fn embed_timeout(&self) -> Duration {
        Duration::from_millis(self.embed_timeout_ms)
    }

    /// A query's share for searching.
    pub(crate) fn search_timeout(&self) -> Duration {
        Duration::from_millis(self.search_timeout_ms)
    }

    /// A query's share for reranking.
    pub(crate) fn rerank_timeout(&self) -> Duration {
        Duration::from_millis(self.rerank_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let small = Config { upload_memory_bytes: 1, ..Config::default() };
        assert!(small.check().is_err_and(|problem| problem.contains("upload_memory_bytes")));
        let none = Config { context_tokens: 0, ..Config::default() };
        assert!(none.check().is_err_and(|problem| problem.contains("context_tokens")));
        let many = Config { rerank_max_candidates: 101, ..Config::default() };
        assert!(many.check().is_err_and(|problem| problem.contains("rerank_max_candidates")));
        let open = Config { listen: SocketAddr::from(([0, 0, 0, 0], 80)), ..Config::default() };
        assert!(open.check().is_err_and(|problem| problem.contains("0.0.0.0:80")));
    }
}
