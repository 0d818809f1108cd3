//! Implementations of the `Cache` port (in this process, in Redis, and Redis with a small tier in this process before it)
//! and of the `RateLimiter` port.

mod config;
mod limiter;
mod memory;
mod redis;
mod redis_url;
mod tiered;

use std::sync::Arc;

use ragstone_core::Result;
use ragstone_core::ports::Cache;

pub use config::CacheConfig;
pub use limiter::{LimiterConfig, LocalLimiter, SharedLimiter, open_limiter};
pub use memory::MemoryCache;
pub use redis::RedisCache;
pub use redis_url::RedisUrl;
pub use tiered::TieredCache;

/// The cache that `config` describes. A Redis that does not answer yet is no reason to fail: until it does, its calls
/// fail at once.
///
/// # Errors
/// `InvalidArgument`, naming the key, when a setting cannot be used or Redis refuses it.
pub async fn open(config: &CacheConfig) -> Result<Arc<dyn Cache>> {
    config.validate()?;
    if config.redis_url.is_none() {
        return Ok(Arc::new(MemoryCache::new(config.memory_bytes)));
    }
    let redis = RedisCache::connect(config).await?;
    if config.memory_bytes == 0 {
        return Ok(Arc::new(redis));
    }
    Ok(Arc::new(TieredCache::new(MemoryCache::new(config.memory_bytes), config.memory_ttl(), redis)))
}
