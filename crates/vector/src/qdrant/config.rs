//! The `qdrant` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

use ragstone_config::Secret;

/// Where Qdrant serves REST unless it is told otherwise.
const REST_PORT: u16 = 6333;
/// The most shards an index may have.
pub(crate) const MAX_SHARDS: usize = 64;

/// Settings of Qdrant. All services and replicas that use the same Qdrant need the same ones.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QdrantConfig {
    /// Every Qdrant peer, `http://host:6334` or `https://…` (its gRPC port). With none, Qdrant is not used. Name each peer
    /// rather than one balanced address: searches are then spread and repeated over the replicas, and documents can
    /// be moved between shards.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub urls: Vec<String>,
    /// The peers' REST addresses, `http://host:6333` or `https://…`, one for each of `urls` in the same order; with none,
    /// the hosts of `urls` and port 6333. Only a backup with the index, and restoring one, uses them.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub rest_urls: Vec<String>,
    /// The API key; empty: none is sent.
    pub api_key: Secret,
    /// PEM file with the certificates of the authorities that vouch for the peers; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// The name in the peers' certificates, where it is not the host in `urls`.
    pub server_name: Option<String>,
    /// Collections are named `<prefix>-<index>`, and `<prefix>` is the alias of the one that serves.
    pub collection_prefix: String,
    /// Number of shards of a new index, 1 to 64; `ragstone reshard` changes it later. A Qdrant without cluster mode has one.
    pub shards: u32,
    /// On how many peers each shard of a new index lies.
    pub replication_factor: u32,
    /// How many replicas must have stored a write before it counts.
    pub write_consistency_factor: u32,
    /// How writes to one shard are ordered: `weak` (each waits until all replicas have it, but several writers may cross),
    /// `medium` or `strong` (through one replica).
    pub write_ordering: WriteOrder,
    /// How many replicas must agree on what is read: none (one is asked), `majority`, `quorum`, `all` or a number. As every
    /// write waits for all healthy replicas, one is enough; more fails when a replica is down.
    pub read_consistency: Option<Consistency>,
    /// How searches choose among the replicas of a shard.
    pub balance: Balance,
    /// When a second replica is asked.
    pub hedge: HedgeConfig,
    /// When a failing peer is left alone for a while.
    pub ejection: EjectionConfig,
    /// A shard that has not answered a search after this many milliseconds is left out and named.
    pub shard_timeout_ms: u64,
    /// The longest a write may take, in milliseconds.
    pub write_timeout_ms: u64,
    /// The longest connecting to a peer may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How often shards and replicas are looked up, in milliseconds. Nothing is searched with knowledge older than twice
    /// this.
    pub topology_refresh_ms: u64,
    /// Metadata fields that get a payload index at once, as texts. Others get one when a filter first names them, up to 32.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub indexed_metadata: Vec<String>,
}

/// How writes to one shard are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteOrder {
    /// By whichever peer takes them.
    #[default]
    Weak,
    /// By the replica that leads for now.
    Medium,
    /// By the same replica always; unavailable while it is down.
    Strong,
}

/// How many replicas must agree on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Consistency {
    /// This many.
    Replicas(u64),
    /// A share of them.
    Share(ConsistencyShare),
}

/// A share of a shard's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsistencyShare {
    /// All are asked, more than half must have it.
    Majority,
    /// More than half are asked, all of those must have it.
    Quorum,
    /// All are asked, all must have it.
    All,
}

/// How searches choose among the replicas of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The less busy and faster of two chosen by chance.
    #[default]
    PowerOfTwo,
    /// One after the other.
    RoundRobin,
}

/// When a second replica is asked for the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeConfig {
    /// Whether it is done at all.
    pub enabled: bool,
    /// After the time within which this share of recent answers came, 0 to 1.
    pub quantile: f64,
    /// The most extra calls, as a share of all, 0 to 1.
    pub max_extra: f64,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { enabled: true, quantile: 0.95, max_extra: 0.05 }
    }
}

/// When a failing peer is left alone for a while. The last usable one never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionConfig {
    /// After this many failures in a row.
    pub consecutive_failures: u32,
    /// For this many seconds, times the number of ejections so far (at most ten); then one call tries it.
    pub base_seconds: u64,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self { consecutive_failures: 5, base_seconds: 30 }
    }
}

impl Default for QdrantConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            rest_urls: Vec::new(),
            api_key: Secret::default(),
            ca_file: None,
            server_name: None,
            collection_prefix: "ragstone".to_owned(),
            shards: 4,
            replication_factor: 2,
            write_consistency_factor: 1,
            write_ordering: WriteOrder::Weak,
            read_consistency: None,
            balance: Balance::PowerOfTwo,
            hedge: HedgeConfig::default(),
            ejection: EjectionConfig::default(),
            shard_timeout_ms: 1000,
            write_timeout_ms: 20_000,
            connect_timeout_ms: 1000,
            topology_refresh_ms: 1000,
            indexed_metadata: Vec::new(),
        }
    }
}

impl QdrantConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// `InvalidArgument`, beginning with the key.
    pub fn validate(&self) -> Result<()> {
        if self.urls.is_empty() {
            return Err(Error::invalid("urls must name at least one peer"));
        }
        for (key, urls) in [("urls", &self.urls), ("rest_urls", &self.rest_urls)] {
            urls.iter().enumerate().try_for_each(|(n, url)| check_url(key, n, url).map(drop))?;
        }
        if ![0, self.urls.len()].contains(&self.rest_urls.len()) {
            let (rest, all) = (self.rest_urls.len(), self.urls.len());
            let message = format!("rest_urls names {rest} peers and urls {all}: name each of them, in the same order");
            return Err(Error::invalid(message));
        }
        check_prefix(&self.collection_prefix)?;
        if self.api_key.expose().chars().any(|c| !c.is_ascii_graphic()) {
            return Err(Error::invalid("api_key may hold visible ASCII characters only"));
        }
        self.check_counts()?;
        self.check_shares()?;
        for (key, value) in [
            ("shard_timeout_ms", self.shard_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("topology_refresh_ms", self.topology_refresh_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                return Err(Error::invalid(format!("{key} is {value}; it must lie between 1 and 600000")));
            }
        }
        if self.write_timeout_ms < 2 * self.shard_timeout_ms {
            return Err(Error::invalid(format!(
                "write_timeout_ms is {}; it must be at least twice shard_timeout_ms, which is {}: while documents move, a \
                 write waits until no search can miss it",
                self.write_timeout_ms, self.shard_timeout_ms
            )));
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<()> {
        if !(1..=MAX_SHARDS).contains(&(self.shards as usize)) {
            return Err(Error::invalid(format!("shards is {}; it must lie between 1 and {MAX_SHARDS}", self.shards)));
        }
        if self.replication_factor == 0 {
            return Err(Error::invalid("replication_factor must be at least 1"));
        }
        if !(1..=self.replication_factor).contains(&self.write_consistency_factor) {
            return Err(Error::invalid(format!(
                "write_consistency_factor is {}; it must lie between 1 and replication_factor, which is {}",
                self.write_consistency_factor, self.replication_factor
            )));
        }
        if self.read_consistency == Some(Consistency::Replicas(0)) {
            return Err(Error::invalid("read_consistency must be at least 1"));
        }
        if self.ejection.consecutive_failures == 0 || self.ejection.base_seconds == 0 {
            return Err(Error::invalid("ejection.consecutive_failures and ejection.base_seconds must be at least 1"));
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<()> {
        for (key, value) in [("hedge.quantile", self.hedge.quantile), ("hedge.max_extra", self.hedge.max_extra)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::invalid(format!("{key} is {value}; it must lie between 0 and 1")));
            }
        }
        for name in &self.indexed_metadata {
            if name.split('.').any(str::is_empty) || name.contains(['[', ']', '"']) {
                return Err(Error::invalid(format!("indexed_metadata: '{name}' is not the name of a field")));
            }
        }
        Ok(())
    }

    /// Where each peer serves its REST API, in the order of `urls`.
    pub(crate) fn rest_addresses(&self) -> Result<Vec<String>> {
        if !self.rest_urls.is_empty() {
            return Ok(self.rest_urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect());
        }
        let beside = |(n, url): (usize, &String)| {
            let uri = check_url("urls", n, url)?;
            let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default());
            Ok(format!("{scheme}://{host}:{REST_PORT}"))
        };
        self.urls.iter().enumerate().map(beside).collect()
    }

    /// How long a shard may take to answer a search.
    pub(crate) fn shard_timeout(&self) -> Duration {
        Duration::from_millis(self.shard_timeout_ms)
    }

    /// How long a write may take.
    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// How often shards and replicas are looked up.
    pub(crate) fn refresh(&self) -> Duration {
        Duration::from_millis(self.topology_refresh_ms)
    }

    /// The names of a new index's shards, `s0`, `s1` and so on.
    pub(crate) fn shard_names(&self) -> Vec<String> {
        (0..self.shards).map(|n| format!("s{n}")).collect()
    }

    /// The collection of the index with this name.
    pub(crate) fn collection(&self, index: &str) -> String {
        format!("{}-{index}", self.collection_prefix)
    }
}

fn check_url(key: &str, n: usize, url: &str) -> Result<Uri> {
    // The URL itself is not repeated: it may hold a password.
    let uri: Uri = url.parse().map_err(|_| Error::invalid(format!("{key}[{n}] is not a URL")))?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !scheme || uri.host().is_none() || !bare || credentials {
        return Err(Error::invalid(format!("{key}[{n}] must be http:// or https:// with a host and a port, no more")));
    }
    Ok(uri)
}

fn check_prefix(prefix: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if prefix.is_empty() || prefix.len() > 100 || !prefix.chars().all(fits) {
        return Err(Error::invalid("collection_prefix must be 1 to 100 letters, digits, '-', '_' or '.'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn config(extra: serde_json::Value) -> Result<QdrantConfig> {
        let mut all = json!({"urls": ["http://a:6334", "https://b:6334/"]});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let config: QdrantConfig = serde_json::from_value(all).map_err(|e| Error::invalid(e.to_string()))?;
        config.validate().map(|()| config)
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (extra, key) in [
            (json!({"urls": []}), "urls"),
            (json!({"urls": ["a:6334"]}), "urls[0]"),
            (json!({"urls": ["http://a:1", "http://user:hush@a:1"]}), "urls[1]"),
            (json!({"urls": ["http://a:1/path"]}), "urls[0]"),
            (json!({"rest_urls": ["http://a:1"]}), "rest_urls"),
            (json!({"rest_urls": ["http://a:1", "http://user:hush@a:1"]}), "rest_urls[1]"),
            (json!({"collection_prefix": "a/b"}), "collection_prefix"),
            (json!({"api_key": "a\nb"}), "api_key"),
            (json!({"shards": 0}), "shards"),
            (json!({"shards": 65}), "shards"),
            (json!({"write_consistency_factor": 3}), "write_consistency_factor"),
            (json!({"read_consistency": 0}), "read_consistency"),
            (json!({"hedge": {"quantile": 1.5}}), "hedge.quantile"),
            (json!({"ejection": {"base_seconds": 0}}), "ejection"),
            (json!({"shard_timeout_ms": 0}), "shard_timeout_ms"),
            (json!({"topology_refresh_ms": 0}), "topology_refresh_ms"),
            (json!({"write_timeout_ms": 1500}), "write_timeout_ms"),
            (json!({"indexed_metadata": ["a..b"]}), "indexed_metadata"),
            (json!({"balanse": "round_robin"}), "balanse"),
        ] {
            let error = config(extra).unwrap_err().message;
            assert!(error.contains(key) && !error.contains("hush"), "{key}: {error}");
        }
    }

    #[test]
    fn rest_is_beside_grpc_unless_it_is_said_where() {
        let beside = config(json!({"urls": ["http://a:7", "https://[::1]"]})).unwrap();
        assert_eq!(beside.rest_addresses().unwrap(), ["http://a:6333", "https://[::1]:6333"]);
        let said = config(json!({"rest_urls": ["http://c:1", "https://d:2/"]})).unwrap();
        assert_eq!(said.rest_addresses().unwrap(), ["http://c:1", "https://d:2"]);
    }

    #[test]
    fn consistency_is_a_number_or_a_word() {
        for (value, expected) in [
            (json!(null), None),
            (json!(2), Some(Consistency::Replicas(2))),
            (json!("majority"), Some(Consistency::Share(ConsistencyShare::Majority))),
        ] {
            assert_eq!(config(json!({"read_consistency": value})).unwrap().read_consistency, expected);
        }
    }

    #[test]
    fn the_key_is_never_shown() {
        let config = config(json!({"api_key": "hush"})).unwrap();
        assert_eq!(config.api_key.expose(), "hush");
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
    }
}
