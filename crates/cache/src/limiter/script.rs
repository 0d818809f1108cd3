//! Buckets in Redis: one script decides on all of a call's buckets, in one round trip and by Redis' own clock.

use fred::clients::Client;
use fred::interfaces::{ClientLike as _, FredResult, LuaInterface as _};
use fred::types::scripts::Script;
use fred::types::{Key, Value};
use ragstone_core::ports::{Charge, Decision, MAX_LEVEL, Settlement};
use ragstone_core::{Result, TenantId};

use super::{BucketId, LimiterConfig};
use crate::redis::{Pool, Problem, Section};

const CLOCK: &str = include_str!("clock.lua");
const BUCKETS: &str = include_str!("buckets.lua");

/// Buckets in Redis. Every error means: Redis has not decided, or nobody knows.
pub(super) struct RedisBuckets {
    pool: Pool,
    prefix: String,
    script: Script,
    lua: String,
}

impl RedisBuckets {
    pub(super) async fn connect(config: &LimiterConfig) -> Result<Self> {
        Self::with_clock(config, CLOCK).await
    }

    /// `clock` is Lua that defines `now`; tests bring their own.
    async fn with_clock(config: &LimiterConfig, clock: &str) -> Result<Self> {
        let lua = format!("{clock}{BUCKETS}");
        Ok(Self {
            pool: Pool::connect(&config.connection(), Section::Limits).await?,
            prefix: config.key_prefix.clone(),
            script: Script::from_lua(lua.clone()),
            lua,
        })
    }

    pub(super) async fn charge(
        &self,
        tenant: &TenantId,
        charges: &[Charge],
        ids: &[BucketId],
    ) -> Result<Decision, Problem> {
        let keys = charges.iter().zip(ids).map(|(charge, id)| self.key(tenant, charge, id)).collect();
        let mut args = vec!["charge".to_owned()];
        args.extend(charges.iter().flat_map(|charge| arguments(charge, whole(charge.limit.amount(charge.cost)))));
        let (allowed, levels) = self.run(keys, args, charges.len()).await?;
        let standing = |(charge, level): (&Charge, u64)| charge.limit.standing(level, charge.cost);
        Ok(Decision { allowed, standings: charges.iter().zip(levels).map(standing).collect(), local: false })
    }

    pub(super) async fn settle(
        &self,
        tenant: &TenantId,
        settlements: &[Settlement],
        ids: &[BucketId],
    ) -> Result<(), Problem> {
        let keys =
            settlements.iter().zip(ids).map(|(settlement, id)| self.key(tenant, &settlement.charge, id)).collect();
        let mut args = vec!["settle".to_owned()];
        for Settlement { charge, used } in settlements {
            let more = whole(charge.limit.amount(used.saturating_sub(charge.cost)));
            let less = whole(charge.limit.amount(charge.cost.saturating_sub(*used)));
            args.extend(arguments(charge, more - less));
        }
        self.run(keys, args, settlements.len()).await.map(drop)
    }

    pub(super) async fn check(&self) -> Result<()> {
        self.pool.check(|client| async move { client.ping::<String>(None).await.map(drop) }).await
    }

    /// The braces make a cluster keep all buckets of a tenant on one server, where one script can decide on them.
    fn key(&self, tenant: &TenantId, charge: &Charge, id: &BucketId) -> Key {
        let (tenant, id) = (tenant.as_str().replace(['{', '}'], "_"), u128::from_be_bytes(*id));
        Key::from(format!("{}limit:{{{tenant}}}:{}:{id:032x}", self.prefix, charge.policy))
    }

    /// Whether the amounts were taken, and the level of each bucket.
    async fn run(&self, keys: Vec<Key>, args: Vec<String>, buckets: usize) -> Result<(bool, Vec<u64>), Problem> {
        let answer = self.pool.call(|client| self.evaluate(client, keys, args)).await?;
        let numbers: Option<Vec<u64>> = answer.into_iter().map(|n| u64::try_from(n).ok()).collect();
        match numbers.as_deref() {
            Some([taken @ (0 | 1), levels @ ..]) if levels.len() == buckets => Ok((*taken == 1, levels.to_vec())),
            _ => Err(Problem::nonsense()),
        }
    }

    /// A Redis that has been started again or told to forget its scripts learns this one by being sent it once more.
    async fn evaluate(&self, client: Client, keys: Vec<Key>, args: Vec<String>) -> FredResult<Vec<i64>> {
        let arguments = || args.iter().map(|arg| Value::from(arg.as_str())).collect::<Vec<Value>>();
        match client.evalsha(self.script.sha1().clone(), keys.clone(), arguments()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                client.eval(self.lua.as_str(), keys, arguments()).await
            }
            outcome => outcome,
        }
    }
}

fn arguments(charge: &Charge, amount: i64) -> [String; 3] {
    [amount.to_string(), charge.limit.leak().to_string(), charge.limit.brim().to_string()]
}

/// An amount is never more than `MAX_LEVEL`.
fn whole(amount: u64) -> i64 {
    i64::try_from(amount.min(MAX_LEVEL)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
