//! What a cache is configured with: a Redis or none, and how long to wait for it.

use std::path::PathBuf;
use std::time::Duration;

use ragstone_config::Secret;
use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::redis::Settings;
use crate::redis_url::RedisUrl;

/// The most connections to each server.
const MAX_POOL: usize = 64;
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// Settings of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// The Redis that replicas share; without it entries live in this process only. `redis://HOST:PORT/DATABASE` is one
    /// server, `redis-sentinel://HOST:PORT?sentinelServiceName=NAME&node=HOST:PORT` is found through Sentinels (whose own
    /// credentials are `sentinelUsername` and `sentinelPassword`), `redis-cluster://HOST:PORT?node=HOST:PORT` is a cluster.
    /// `rediss` in place of `redis` demands TLS with a certificate that is valid for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<RedisUrl>,
    /// User name, where Redis has more than the default user.
    pub redis_username: String,
    /// Password of that user or of the default user.
    pub redis_password: Secret,
    /// PEM file of the authority that signed the certificate of Redis; without it the system's authorities are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_ca_file: Option<PathBuf>,
    /// Connections to Redis, 1 to 64; in a cluster to each server.
    pub redis_pool_size: usize,
    /// After this many milliseconds without an answer from Redis a call fails, and its caller goes on without.
    pub command_timeout_ms: u64,
    /// The longest that connecting to one server may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Begins every key in Redis, so that several installations can share one.
    pub key_prefix: String,
    /// How much memory entries may take in this process, in bytes; 0 with Redis: none are kept here.
    pub memory_bytes: u64,
    /// With Redis: how long an entry may stay in this process, in milliseconds. For so long a change that another process
    /// made may go unseen.
    pub memory_ttl_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            redis_username: String::new(),
            redis_password: Secret::default(),
            redis_ca_file: None,
            redis_pool_size: 4,
            command_timeout_ms: 20,
            connect_timeout_ms: 1000,
            key_prefix: "ragstone:".to_owned(),
            memory_bytes: 64 << 20,
            memory_ttl_ms: 30_000,
        }
    }
}

impl CacheConfig {
    /// Checks the ranges and the URL, without asking anybody.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (!(1..=MAX_POOL).contains(&self.redis_pool_size), "cache.redis_pool_size must lie between 1 and 64"),
            (self.command_timeout_ms == 0, "cache.command_timeout_ms must be at least 1"),
            (self.connect_timeout_ms == 0, "cache.connect_timeout_ms must be at least 1"),
            (self.memory_ttl_ms == 0, "cache.memory_ttl_ms must be at least 1"),
            // Redis Cluster would hash only what stands in braces: all keys would lie on one server.
            (self.key_prefix.contains(['{', '}']), "cache.key_prefix must not contain braces"),
            (
                !self.redis_username.is_empty() && self.redis_password.is_empty(),
                "cache.redis_username is set, but cache.redis_password is not",
            ),
        ];
        if let Some((_, problem)) = rules.iter().find(|(broken, _)| *broken) {
            return Err(Error::invalid(*problem));
        }
        match &self.redis_url {
            Some(url) => self.validate_url(url),
            None if !self.redis_password.is_empty() || self.redis_ca_file.is_some() => {
                Err(Error::invalid("cache.redis_password or cache.redis_ca_file is set, but cache.redis_url is not"))
            }
            None => Ok(()),
        }
    }

    fn validate_url(&self, written: &RedisUrl) -> Result<()> {
        let url =
            Url::parse(written.expose()).map_err(|e| Error::invalid(format!("cache.redis_url is no URL: {e}")))?;
        let scheme = url.scheme();
        if !SCHEMES.contains(&scheme) {
            let known = SCHEMES.join("://, ");
            return Err(Error::invalid(format!(
                "cache.redis_url begins with {scheme}://; it must be one of {known}://"
            )));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid("cache.redis_url names no host"));
        }
        if url.password().is_some_and(|password| !password.is_empty()) && !self.redis_password.is_empty() {
            return Err(Error::invalid("cache.redis_url has a password, and cache.redis_password is set too"));
        }
        if self.redis_ca_file.is_some() && !scheme.starts_with("rediss") {
            return Err(Error::invalid(format!(
                "cache.redis_ca_file is set, but cache.redis_url begins with {scheme}://, which is without TLS"
            )));
        }
        Settings::parse(written).map(drop)
    }

    pub(crate) fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn memory_ttl(&self) -> Duration {
        Duration::from_millis(self.memory_ttl_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn with_url(url: &str) -> CacheConfig {
        CacheConfig { redis_url: Some(RedisUrl::from(url.to_owned())), ..CacheConfig::default() }
    }

    #[test]
    fn good_settings_pass() {
        CacheConfig::default().validate().unwrap();
        for url in [
            "redis://localhost",
            "rediss://user:pass@redis.example:6380/3",
            "redis-sentinel://a:26379?sentinelServiceName=main&node=b:26379",
            "redis-cluster://a:7000?node=b:7001",
        ] {
            with_url(url).validate().unwrap();
        }
    }

    #[test]
    fn every_mistake_names_its_key_and_no_password() {
        let good = || CacheConfig { redis_password: "hush".to_owned().into(), ..with_url("redis://a") };
        for (key, config) in [
            ("cache.redis_url", with_url("localhost:6379")),
            ("cache.redis_url", with_url("http://a:hush@b")),
            ("cache.redis_url", with_url("redis://")),
            ("cache.redis_url", with_url("redis://a:hush@b/zero")),
            ("cache.redis_url", with_url("redis-sentinel://:hush@a")),
            ("cache.redis_url", with_url("redis-cluster://:hush@a?node=b")),
            (
                "cache.redis_password",
                CacheConfig { redis_password: "x".to_owned().into(), ..with_url("redis://:hush@a") },
            ),
            ("cache.redis_password", CacheConfig { redis_username: "me".into(), ..with_url("redis://a") }),
            ("cache.redis_url", CacheConfig { redis_url: None, ..good() }),
            ("cache.redis_ca_file", CacheConfig { redis_ca_file: Some("ca.pem".into()), ..good() }),
            ("cache.redis_pool_size", CacheConfig { redis_pool_size: 0, ..good() }),
            ("cache.command_timeout_ms", CacheConfig { command_timeout_ms: 0, ..good() }),
            ("cache.connect_timeout_ms", CacheConfig { connect_timeout_ms: 0, ..good() }),
            ("cache.memory_ttl_ms", CacheConfig { memory_ttl_ms: 0, ..good() }),
            ("cache.key_prefix", CacheConfig { key_prefix: "{x}".into(), ..good() }),
        ] {
            let error = config.validate().unwrap_err();
            assert_eq!(error.code, ragstone_core::ErrorCode::InvalidArgument);
            assert!(error.message.contains(key), "{key}: {error}");
            assert!(!error.chain().contains("hush"), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_passwords_not_dumped() {
        assert!(toml::from_str::<CacheConfig>("redis_pasword = 'x'").is_err());
        let config: CacheConfig =
            toml::from_str("redis_url = 'redis://:hush@a'\nredis_password = 'hush'\nmemory_bytes = 5").unwrap();
        assert_eq!(config.memory_bytes, 5);
        assert!(!toml::to_string(&config).unwrap().contains("hush"));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
