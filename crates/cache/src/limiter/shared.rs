//! Redis decides for all gateways; while it does not answer, this process decides by its share of the limits.

use async_trait::async_trait;
use ragstone_core::ports::{Charge, Decision, RateLimiter, Settlement};
use ragstone_core::{Result, TenantId};

use super::script::RedisBuckets;
use super::{LimiterConfig, LocalLimiter, bucket_ids, check_costs};
use crate::redis::Problem;

/// Buckets in Redis, with buckets in this process for when it is away. Every call tries Redis first, so that it decides
/// again as soon as it is back; a connection that is known to be lost costs no time.
pub struct SharedLimiter {
    redis: RedisBuckets,
    local: LocalLimiter,
}

impl SharedLimiter {
    /// Connects in the background, and goes on doing so whenever Redis is gone. Returns after the first try.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, when a setting cannot be used or Redis refuses it.
    pub async fn connect(config: &LimiterConfig, replicas: u32) -> Result<Self> {
        Ok(Self { redis: RedisBuckets::connect(config).await?, local: LocalLimiter::new(replicas) })
    }
}

#[async_trait]
impl RateLimiter for SharedLimiter {
    async fn charge(&self, tenant: &TenantId, charges: &[Charge]) -> Result<Decision> {
        check_costs(charges)?;
        let ids = bucket_ids(tenant, charges.iter())?;
        match self.redis.charge(tenant, charges, &ids).await {
            Ok(decision) => Ok(decision),
            Err(problem) => {
                count(&problem);
                let decision = self.local.charge(tenant, charges).await?;
                Ok(Decision { local: true, ..decision })
            }
        }
    }

    async fn settle(&self, tenant: &TenantId, settlements: &[Settlement]) -> Result<()> {
        let ids = bucket_ids(tenant, settlements.iter().map(|settlement| &settlement.charge))?;
        if let Err(problem) = self.redis.settle(tenant, settlements, &ids).await {
            count(&problem);
            self.local.settle(tenant, settlements).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        self.redis.check().await
    }
}

/// The connection's own supervisor writes to the log: once for each outage, not for each call.
fn count(problem: &Problem) {
    metrics::counter!("rag_ratelimit_errors_total", "kind" => problem.kind).increment(1);
    tracing::debug!(problem = problem.message, detail = problem.detail, "ratelimit.local");
}
