//! Implementations of the `RateLimiter` port: in Redis for all gateways together, and in this process for when it is away.

mod config;
mod local;
#[cfg(test)]
mod reference;
mod script;
mod shared;

use std::sync::Arc;

use ragstone_core::ports::{Charge, RateLimiter};
use ragstone_core::{Error, Result, TenantId};

pub use config::LimiterConfig;
pub use local::LocalLimiter;
pub use shared::SharedLimiter;

/// The rate limiter that `config` describes: without a Redis one of this process alone. `replicas` is the number of
/// gateways, each of which lets in its share of the limits while there is no Redis. A Redis that does not answer yet is no
/// reason to fail.
///
/// # Errors
/// `InvalidArgument`, naming the key, when a setting cannot be used or Redis refuses it.
pub async fn open_limiter(config: &LimiterConfig, replicas: u32) -> Result<Arc<dyn RateLimiter>> {
    config.validate()?;
    if config.url.is_none() {
        return Ok(Arc::new(LocalLimiter::new(replicas)));
    }
    Ok(Arc::new(SharedLimiter::connect(config, replicas).await?))
}

/// A bucket's name: short whatever the key is, and telling nobody who the subject is.
type BucketId = [u8; 16];

fn bucket_id(tenant: &TenantId, charge: &Charge) -> BucketId {
    let mut hasher = blake3::Hasher::new();
    for text in [tenant.as_str(), charge.policy, &charge.key] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let limit = &charge.limit;
    for number in [limit.unit(), limit.leak(), limit.brim()] {
        hasher.update(&number.to_le_bytes());
    }
    let mut id = BucketId::default();
    hasher.finalize_xof().fill(&mut id);
    id
}

/// The ids of the charges' buckets.
///
/// # Errors
/// `InvalidArgument` when two are the same: each would be decided as if the other were not there.
fn bucket_ids<'a>(tenant: &TenantId, charges: impl Iterator<Item = &'a Charge>) -> Result<Vec<BucketId>> {
    let ids: Vec<BucketId> = charges.map(|charge| bucket_id(tenant, charge)).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    if sorted.is_sorted_by(|a, b| a < b) { Ok(ids) } else { Err(Error::invalid("a bucket is named twice in one call")) }
}

/// Refuses what could never be let in.
fn check_costs(charges: &[Charge]) -> Result<()> {
    match charges.iter().find(|charge| charge.cost > charge.limit.burst()) {
        Some(Charge { policy, limit, cost, .. }) => Err(Error::invalid(format!(
            "this needs {cost} of the limit '{policy}', which lets at most {} in at once",
            limit.burst()
        ))),
        None => Ok(()),
    }
}
