//! Entries in Redis: one server, a primary found through Sentinels, or a cluster. A call never waits for a connection.

mod link;
mod pool;
mod problem;
mod settings;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::{Client, Pipeline};
use fred::interfaces::{ClientLike, FredResult, KeysInterface};
use fred::types::config::Options;
use fred::types::{Expiration, Key, Value};
use ragstone_core::ports::Cache;
use ragstone_core::{Error, Result};

use crate::CacheConfig;
pub(crate) use pool::Pool;
pub(crate) use problem::Problem;
pub(crate) use settings::{Section, Settings};

/// Longer than anybody keeps an entry, and short enough for Redis' own arithmetic.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Under it `check` writes, after the prefix.
const PROBE: &[u8] = b"check";
const PROBE_TTL_MS: i64 = 10_000;

/// Begins every stored value and says what follows: the value as it is. It also keeps values apart from what the client
/// acts on, wherever it stands: in a cluster it takes a value that reads `MOVED 1 host:1` for an order to go there.
const MARK: u8 = 1;

/// A value and how long it stays fresh; `None`: for ever.
pub(crate) type Aged = (Bytes, Option<Duration>);

/// Entries in Redis. Every error of its calls is `Unavailable`: the caller goes on without the cache.
pub struct RedisCache {
    pool: Pool,
    prefix: Vec<u8>,
    connect_timeout: Duration,
}

impl RedisCache {
    /// Connects in the background, and goes on doing so whenever Redis is gone. Returns after the first try.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, when a setting cannot be used or Redis refuses it.
    pub async fn connect(config: &CacheConfig) -> Result<Self> {
        Ok(Self {
            pool: Pool::connect(config, Section::Cache).await?,
            prefix: config.key_prefix.clone().into_bytes(),
            connect_timeout: config.connect_timeout(),
        })
    }

    /// The values with the time each has left, in the order of the keys.
    pub(crate) async fn get_many_aged(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Aged>>> {
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key)).collect();
        let answers = self.pipeline(|pipeline| async move {
            for key in keys {
                pipeline.get::<(), _>(key.clone()).await?;
                pipeline.pttl::<(), _>(key).await?;
            }
            Ok(())
        });
        let answers = answers.await?;
        let aged = |pair: &[Value]| {
            let (value, left) = (pair.first()?, pair.get(1)?);
            Some((bytes(value.clone())?, remaining(left)?))
        };
        Ok(answers.chunks(2).map(aged).collect())
    }

    fn key(&self, key: &[u8]) -> Key {
        Key::from([self.prefix.as_slice(), key].concat().into_boxed_slice())
    }

    async fn call<T, F: Future<Output = FredResult<T>>>(&self, command: impl FnOnce(Client) -> F) -> Result<T> {
        self.pool.call(command).await.map_err(failed)
    }

    /// All commands in one go, each to the server its key belongs to: Redis' own commands for many keys refuse, in a
    /// cluster, keys of several servers.
    async fn pipeline<F: Future<Output = FredResult<()>>>(
        &self,
        fill: impl FnOnce(Pipeline<Client>) -> F,
    ) -> Result<Vec<Value>> {
        self.call(|client| async move {
            let pipeline = client.pipeline();
            fill(pipeline.clone()).await?;
            match pipeline.all::<Value>().await? {
                Value::Array(answers) => Ok(answers),
                other => Ok(vec![other]),
            }
        })
        .await
    }

    async fn probe(&self, client: &Client) -> FredResult<()> {
        let client = client.with_options(&Options { timeout: Some(self.connect_timeout), ..Options::default() });
        let (key, life) = (self.key(PROBE), Some(Expiration::PX(PROBE_TTL_MS)));
        client.set::<(), _, _>(key.clone(), "1", life, None, false).await?;
        client.get::<Value, _>(key).await.map(drop)
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = self.key(key);
        self.call(|client| async move { client.get::<Value, _>(key).await }).await.map(bytes)
    }

    async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
        self.set_many(vec![(key.to_vec(), value)], ttl).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key)).collect();
        let answers = self.pipeline(|pipeline| async move {
            for key in keys {
                pipeline.get::<(), _>(key).await?;
            }
            Ok(())
        });
        Ok(answers.await?.into_iter().map(bytes).collect())
    }

    async fn set_many(&self, entries: Vec<(Vec<u8>, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        let entries: Vec<(Key, Bytes)> = entries.into_iter().map(|(key, value)| (self.key(&key), value)).collect();
        let stored = self.pipeline(|pipeline| async move {
            for (key, value) in entries {
                match ttl.map(milliseconds) {
                    // Redis knows no life of zero.
                    Some(0) => pipeline.del::<(), _>(key).await?,
                    life => {
                        let value = Value::Bytes([&[MARK], value.as_ref()].concat().into());
                        pipeline.set::<(), _, _>(key, value, life.map(Expiration::PX), None, false).await?;
                    }
                }
            }
            Ok(())
        });
        stored.await.map(drop)
    }

    async fn remove(&self, key: &[u8]) -> Result<()> {
        let key = self.key(key);
        self.call(|client| async move { client.del::<Value, _>(key).await }).await.map(drop)
    }

    async fn check(&self) -> Result<()> {
        self.pool.check(|client| async move { self.probe(&client).await }).await
    }
}

fn failed(problem: Problem) -> Error {
    metrics::counter!("rag_cache_errors_total", "cache" => "redis", "kind" => problem.kind).increment(1);
    problem.for_callers()
}

/// Redis rounds nothing up: a life of less than a millisecond would be none.
fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.min(LONGEST_TTL).as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// What was stored; what nobody like us has stored is as good as nothing.
fn bytes(value: Value) -> Option<Bytes> {
    let stored = match value {
        Value::Bytes(bytes) => bytes,
        Value::String(text) => text.into_inner(),
        _ => return None,
    };
    (stored.first() == Some(&MARK)).then(|| stored.slice(1..))
}

/// What PTTL says: milliseconds, -1 for ever; `None`: the entry is gone.
fn remaining(answer: &Value) -> Option<Option<Duration>> {
    match answer {
        Value::Integer(-1) => Some(None),
        Value::Integer(left) => u64::try_from(*left).ok().map(|left| Some(Duration::from_millis(left))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_values_are_ours() {
        assert_eq!(bytes(Value::Bytes(Bytes::from_static(b"\x01x"))), Some(Bytes::from_static(b"x")));
        assert_eq!(bytes(Value::Bytes(Bytes::from_static(b"\x01"))), Some(Bytes::new()));
        for other in [Value::Null, Value::Bytes(Bytes::new()), Value::Bytes(Bytes::from_static(b"x"))] {
            assert_eq!(bytes(other), None);
        }
    }

    #[test]
    fn lives_are_rounded_up_and_never_overflow() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_500)), 2);
        assert_eq!(milliseconds(Duration::from_secs(1)), 1_000);
        assert!(milliseconds(Duration::MAX) < i64::MAX / 2);
    }
}
