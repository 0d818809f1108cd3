//! The address of Redis, which shows its passwords to nobody but the client.

use std::borrow::Cow;
use std::fmt;

use ragstone_config::REDACTED;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// The part of a URL's query that is a secret too.
const SENTINEL_PASSWORD: &str = "sentinelPassword";

/// The address of Redis; printed and serialised with `***` in place of its passwords.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The URL as it was written.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Every password in it, as Redis would see it.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let Ok(url) = Url::parse(&self.0) else { return Vec::new() };
        let own = url.password().map(|password| vec![password.to_owned()]).unwrap_or_default();
        let sentinels = url.query_pairs().filter(|(key, _)| key == SENTINEL_PASSWORD);
        own.into_iter().chain(sentinels.map(|(_, value)| value.into_owned())).filter(|text| !text.is_empty()).collect()
    }

    fn redacted(&self) -> String {
        let Ok(mut url) = Url::parse(&self.0) else { return REDACTED.to_owned() };
        if url.cannot_be_a_base() {
            // `user:password@host`: no part of it can be told from another.
            return REDACTED.to_owned();
        }
        if url.password().is_some() && url.set_password(Some(REDACTED)).is_err() {
            return REDACTED.to_owned();
        }
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        if pairs.iter().any(|(key, _)| key == SENTINEL_PASSWORD) {
            let hide = |key: &str, value: String| if key == SENTINEL_PASSWORD { REDACTED.to_owned() } else { value };
            url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(|(key, value)| {
                let value = hide(&key, value);
                (key, value)
            }));
        }
        url.into()
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.redacted())
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

impl JsonSchema for RedisUrl {
    fn schema_name() -> Cow<'static, str> {
        "RedisUrl".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_url_keeps_its_passwords_to_itself() {
        let written = "redis-sentinel://me:hush@a:1/2?sentinelServiceName=s&sentinelPassword=hush2&node=b:2";
        let url = RedisUrl::from(written.to_owned());
        let shown = format!("{url:?} {}", serde_json::to_string(&url).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("redis-sentinel://me:***@a:1/2") && shown.contains("sentinelServiceName=s"), "{shown}");
        assert_eq!(url.expose(), written);
        assert_eq!(url.secrets(), ["hush", "hush2"]);
        assert_eq!(format!("{:?}", RedisUrl::from("redis://a:1".to_owned())), "redis://a:1");
        assert_eq!(format!("{:?}", RedisUrl::from("me:hush at a".to_owned())), "***");
    }
}
