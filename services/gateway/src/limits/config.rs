//! The `[gateway.limits]` section of the configuration.

use std::time::Duration;

use ragstone_cache::LimiterConfig;
use ragstone_core::ports::Limit;
use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClientAddress;

/// Queries per hour and subject where callers say who they are, unless configured.
const QUERIES_PER_HOUR: u64 = 100;
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const MAX_REPLICAS: u32 = 512;

/// How much each subject and each tenant may ask. Without authentication nothing is limited. Everywhere, 0 means: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Questions and searches of one subject in an hour.
    pub queries_per_hour: u64,
    /// Questions and searches of all subjects of a tenant in an hour.
    pub tenant_queries_per_hour: u64,
    /// Tokens, prompt and answer together, that models take for one subject in a minute.
    pub tokens_per_minute: u64,
    /// Tokens that models take for all subjects of a tenant in a minute.
    pub tenant_tokens_per_minute: u64,
    /// Documents that one subject writes or deletes in an hour.
    pub uploads_per_hour: u64,
    /// Documents that all subjects of a tenant write or delete in an hour.
    pub tenant_uploads_per_hour: u64,
    /// How much of each limit may be used at once after a rest, in percent, 1 to 100; the rest comes back evenly.
    pub burst_percent: u64,
    /// The number of gateways, 1 to 512: the share of each limit that one gateway lets in while Redis does not answer.
    pub replicas: u32,
    /// The Redis that counts for all gateways.
    pub redis: LimiterConfig,
    /// Addresses (`10.0.0.7`) and networks (`10.0.0.0/8`) of the proxies before the gateway, whose `X-Forwarded-For` is
    /// believed.
    pub trusted_proxies: Vec<String>,
    /// How many proxies a request comes through: the caller's address is at most so many entries from the right of
    /// `X-Forwarded-For`. At least 1.
    pub forwarded_hops: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            queries_per_hour: QUERIES_PER_HOUR,
            tenant_queries_per_hour: 0,
            tokens_per_minute: 0,
            tenant_tokens_per_minute: 0,
            uploads_per_hour: 0,
            tenant_uploads_per_hour: 0,
            burst_percent: 100,
            replicas: 1,
            redis: LimiterConfig::default(),
            trusted_proxies: Vec::new(),
            forwarded_hops: 1,
        }
    }
}

/// Whose bucket a limit fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Each subject's own.
    Subject,
    /// One for the tenant.
    Tenant,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Calls, or documents.
    Requests,
    /// Tokens of models.
    Tokens,
}

/// One limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// As headers, messages and Redis call it.
    pub(super) name: &'static str,
    pub(super) whose: Whose,
    pub(super) unit: Unit,
    pub(super) limit: Limit,
}

/// The limits of each kind of call.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    pub(super) queries: Vec<Policy>,
    pub(super) uploads: Vec<Policy>,
}

impl LimitsConfig {
    /// Checks everything, without asking anybody.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_REPLICAS).contains(&self.replicas) {
            return Err("limits.replicas must lie between 1 and 512".to_owned());
        }
        self.policies(true).map_err(|error| error.message)?;
        ClientAddress::new(self).map_err(|error| error.message)?;
        self.redis.validate().map_err(|error| error.message)
    }

    /// The limits there are.
    pub(super) fn policies(&self, authenticated: bool) -> Result<Policies> {
        if !(1..=100).contains(&self.burst_percent) {
            return Err(Error::invalid("limits.burst_percent must lie between 1 and 100"));
        }
        if !authenticated {
            return Ok(Policies::default());
        }
        let policy = |key: &str, name, whose, unit, count: u64, window| -> Result<Option<Policy>> {
            if count == 0 {
                return Ok(None);
            }
            let burst = (u128::from(count) * u128::from(self.burst_percent) / 100).max(1);
            let limit = Limit::new(count, window, u64::try_from(burst).unwrap_or(u64::MAX))
                .map_err(|error| Error::invalid(format!("limits.{key}: {error}")))?;
            Ok(Some(Policy { name, whose, unit, limit }))
        };
        let requests = |key, name, whose, count| policy(key, name, whose, Unit::Requests, count, HOUR);
        let tokens = |key, name, whose, count| policy(key, name, whose, Unit::Tokens, count, MINUTE);
        let queries = [
            requests("queries_per_hour", "queries", Whose::Subject, self.queries_per_hour)?,
            requests("tenant_queries_per_hour", "tenant-queries", Whose::Tenant, self.tenant_queries_per_hour)?,
            tokens("tokens_per_minute", "tokens", Whose::Subject, self.tokens_per_minute)?,
            tokens("tenant_tokens_per_minute", "tenant-tokens", Whose::Tenant, self.tenant_tokens_per_minute)?,
        ];
        let uploads = [
            requests("uploads_per_hour", "uploads", Whose::Subject, self.uploads_per_hour)?,
            requests("tenant_uploads_per_hour", "tenant-uploads", Whose::Tenant, self.tenant_uploads_per_hour)?,
        ];
        Ok(Policies {
            queries: queries.into_iter().flatten().collect(),
            uploads: uploads.into_iter().flatten().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn by_default_a_subject_who_is_known_may_ask_a_hundred_times_an_hour() {
        let config = LimitsConfig::default();
        config.check().unwrap();
        let policies = config.policies(true).unwrap();
        assert!(policies.uploads.is_empty());
        let [policy] = policies.queries[..] else { unreachable!() };
        assert_eq!((policy.name, policy.whose, policy.unit), ("queries", Whose::Subject, Unit::Requests));
        assert_eq!(policy.limit, Limit::new(100, HOUR, 100).unwrap());
        assert!(config.policies(false).unwrap().queries.is_empty());
    }

    #[test]
    fn a_burst_is_a_part_of_the_limit_and_never_nothing() {
        let config = LimitsConfig {
            burst_percent: 10,
            tokens_per_minute: 20_000,
            uploads_per_hour: 3,
            tenant_uploads_per_hour: 50,
            ..LimitsConfig::default()
        };
        let policies = config.policies(true).unwrap();
        let bursts = |policies: &[Policy]| policies.iter().map(|policy| policy.limit.burst()).collect::<Vec<_>>();
        assert_eq!((bursts(&policies.queries), bursts(&policies.uploads)), (vec![10, 2_000], vec![1, 5]));
    }

    #[test]
    fn every_mistake_names_its_key() {
        let good = LimitsConfig::default;
        let redis = LimiterConfig { pool_size: 0, ..LimiterConfig::default() };
        for (key, config) in [
            ("limits.burst_percent", LimitsConfig { burst_percent: 0, ..good() }),
            ("limits.burst_percent", LimitsConfig { burst_percent: 101, ..good() }),
            ("limits.replicas", LimitsConfig { replicas: 0, ..good() }),
            ("limits.replicas", LimitsConfig { replicas: 513, ..good() }),
            ("limits.queries_per_hour", LimitsConfig { queries_per_hour: u64::MAX, ..good() }),
            ("limits.tenant_tokens_per_minute", LimitsConfig { tenant_tokens_per_minute: 999_999_999, ..good() }),
            ("limits.redis.pool_size", LimitsConfig { redis, ..good() }),
            ("limits.trusted_proxies", LimitsConfig { trusted_proxies: vec!["proxy".to_owned()], ..good() }),
            ("limits.forwarded_hops", LimitsConfig { forwarded_hops: 0, ..good() }),
        ] {
            let problem = config.check().unwrap_err();
            assert!(problem.contains(key), "{key}: {problem}");
        }
    }
}
