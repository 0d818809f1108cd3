//! Which Redis counts for all gateways.

use std::path::PathBuf;

use ragstone_config::Secret;
use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redis::Section;
use crate::{CacheConfig, RedisUrl};

/// The Redis that rate limits are counted in; without a URL each gateway counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimiterConfig {
    /// The Redis that all gateways share, written as a cache's `redis_url`. One that caches use may throw counters away
    /// when it is full: a Redis of its own, or one that evicts nothing, is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<RedisUrl>,
    /// User name, where Redis has more than the default user.
    pub username: String,
    /// Password of that user or of the default user.
    pub password: Secret,
    /// PEM file of the authority that signed the certificate of Redis; without it the system's authorities are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Connections to Redis, 1 to 64; in a cluster to each server.
    pub pool_size: usize,
    /// After this many milliseconds without an answer from Redis the gateway decides by itself.
    pub command_timeout_ms: u64,
    /// The longest that connecting to one server may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Begins every key in Redis, so that several installations can share one.
    pub key_prefix: String,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        let cache = CacheConfig::default();
        Self {
            url: None,
            username: String::new(),
            password: Secret::default(),
            ca_file: None,
            pool_size: cache.redis_pool_size,
            command_timeout_ms: cache.command_timeout_ms,
            connect_timeout_ms: cache.connect_timeout_ms,
            key_prefix: cache.key_prefix,
        }
    }
}

impl LimiterConfig {
    /// Checks the ranges and the URL, without asking anybody.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key as `limits.redis.…`.
    pub fn validate(&self) -> Result<()> {
        let named = |error: Error| Error { message: Section::Limits.named(&error.message), ..error };
        self.connection().validate().map_err(named)
    }

    /// As a cache would have it, whose connections this uses.
    pub(super) fn connection(&self) -> CacheConfig {
        CacheConfig {
            redis_url: self.url.clone(),
            redis_username: self.username.clone(),
            redis_password: self.password.clone(),
            redis_ca_file: self.ca_file.clone(),
            redis_pool_size: self.pool_size,
            command_timeout_ms: self.command_timeout_ms,
            connect_timeout_ms: self.connect_timeout_ms,
            key_prefix: self.key_prefix.clone(),
            ..CacheConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_mistake_names_its_key_as_it_is_called_here() {
        let url = |url: &str| LimiterConfig { url: Some(RedisUrl::from(url.to_owned())), ..LimiterConfig::default() };
        for (key, config) in [
            ("limits.redis.url", url("http://a:hush@b")),
            ("limits.redis.url", url("redis://:hush@a/zero")),
            ("limits.redis.username", LimiterConfig { username: "me".to_owned(), ..url("redis://a") }),
            ("limits.redis.ca_file", LimiterConfig { ca_file: Some("ca.pem".into()), ..url("redis://a") }),
            ("limits.redis.pool_size", LimiterConfig { pool_size: 0, ..url("redis://a") }),
            ("limits.redis.command_timeout_ms", LimiterConfig { command_timeout_ms: 0, ..url("redis://a") }),
            ("limits.redis.key_prefix", LimiterConfig { key_prefix: "{x}".to_owned(), ..url("redis://a") }),
        ] {
            let error = config.validate().unwrap_err();
            assert!(error.message.contains(key) && !error.message.contains("cache."), "{key}: {error}");
            assert!(!error.chain().contains("hush"), "{error}");
        }
        LimiterConfig::default().validate().unwrap();
        url("redis-cluster://a:7000?node=b:7001").validate().unwrap();
    }
}
