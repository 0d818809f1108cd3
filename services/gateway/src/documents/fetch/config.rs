//! The `[gateway.fetch]` section of the configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::address::Networks;
use super::target::Hosts;

const MAX_REDIRECTS: u32 = 20;

/// Documents that are sent as an address (`{"url": …}`): whether the gateway fetches them, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Whether documents may be sent as an address.
    pub enabled: bool,
    /// Hosts that may be fetched from, for example `docs.example.org` or `*.example.org`; empty: all.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub allowed_hosts: Vec<String>,
    /// Ports that may be fetched from.
    #[serde(deserialize_with = "ports")]
    pub allowed_ports: Vec<u16>,
    /// Networks (`10.1.0.0/16`) and addresses that may be fetched from although they are not public: private, loopback,
    /// link-local and other special ones are refused otherwise, whatever name leads to them.
    #[serde(deserialize_with = "ragstone_config::list")]
    pub allowed_networks: Vec<String>,
    /// The largest document that is fetched, in bytes; absent: `gateway.max_body_bytes`.
    pub max_bytes: Option<usize>,
    /// Time for a whole fetch, looking up names and redirects included, in milliseconds.
    pub timeout_ms: u64,
    /// The most redirects that are followed, 0 to 20.
    pub max_redirects: u32,
}

/// Reads a list of numbers, or one text with commas between them, as an environment variable has it.
fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of ports, or one text with commas between them")]
    enum Written {
        List(Vec<u16>),
        One(u16),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::List(ports) => Ok(ports),
        Written::One(port) => Ok(vec![port]),
        Written::Text(text) => text
            .split(',')
            .map(|port| port.trim().parse().map_err(|_| serde::de::Error::custom(format!("'{port}' is no port"))))
            .collect(),
    }
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            allowed_hosts: Vec::new(),
            allowed_ports: vec![80, 443],
            allowed_networks: Vec::new(),
            max_bytes: None,
            timeout_ms: 10_000,
            max_redirects: 3,
        }
    }
}

impl FetchConfig {
    /// Checks everything, without asking anybody; `max_body_bytes` is the gateway's.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self, max_body_bytes: usize) -> Result<(), String> {
        Networks::parse(&self.allowed_networks)?;
        Hosts::parse(&self.allowed_hosts)?;
        if self.allowed_ports.is_empty() || self.allowed_ports.contains(&0) {
            return Err("fetch.allowed_ports must name ports, 1 to 65535".to_owned());
        }
        if self.max_bytes.is_some_and(|bytes| bytes == 0 || bytes > max_body_bytes) {
            return Err("fetch.max_bytes must lie between 1 and max_body_bytes".to_owned());
        }
        if self.timeout_ms == 0 {
            return Err("fetch.timeout_ms must be at least 1".to_owned());
        }
        if self.max_redirects > MAX_REDIRECTS {
            return Err(format!("fetch.max_redirects must be at most {MAX_REDIRECTS}"));
        }
        Ok(())
    }

    /// Time for a whole fetch.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ports_may_be_one_text() {
        let read = |ports: serde_json::Value| {
            serde_json::from_value::<FetchConfig>(serde_json::json!({ "allowed_ports": ports }))
                .map(|config| config.allowed_ports)
        };
        assert_eq!(read(serde_json::json!([80, 8080])).unwrap(), [80, 8080]);
        assert_eq!(read("80, 8080".into()).unwrap(), [80, 8080]);
        assert_eq!(read(8080.into()).unwrap(), [8080]);
        for bad in ["", "80,", "http", "65536", "80;81"] {
            assert!(read(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_off_unless_configured_and_every_mistake_names_its_key() {
        let good = FetchConfig::default;
        assert!(!good().enabled);
        assert_eq!(good().check(1), Ok(()));
        let texts = |text: &str| vec![text.to_owned()];
        for (key, bad) in [
            ("fetch.allowed_networks", FetchConfig { allowed_networks: texts("10.0.0.0/33"), ..good() }),
            ("fetch.allowed_networks", FetchConfig { allowed_networks: texts("intranet"), ..good() }),
            ("fetch.allowed_hosts", FetchConfig { allowed_hosts: texts("https://a.example"), ..good() }),
            ("fetch.allowed_hosts", FetchConfig { allowed_hosts: texts("*"), ..good() }),
            ("fetch.allowed_ports", FetchConfig { allowed_ports: Vec::new(), ..good() }),
            ("fetch.allowed_ports", FetchConfig { allowed_ports: vec![443, 0], ..good() }),
            ("fetch.max_bytes", FetchConfig { max_bytes: Some(0), ..good() }),
            ("fetch.max_bytes", FetchConfig { max_bytes: Some(11), ..good() }),
            ("fetch.timeout_ms", FetchConfig { timeout_ms: 0, ..good() }),
            ("fetch.max_redirects", FetchConfig { max_redirects: 21, ..good() }),
        ] {
            let problem = bad.check(10).unwrap_err();
            assert!(problem.contains(key), "{key}: {problem}");
        }
    }
}
