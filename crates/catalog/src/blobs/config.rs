//! Where document bodies are stored: a directory, or a bucket of an S3-compatible store.

use std::path::PathBuf;
use std::time::Duration;

use ragstone_config::Secret;
use ragstone_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where document bodies are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsConfig {
    /// Directory of the bodies, where they are not in S3; without it `blobs` in `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The S3-compatible store.
    pub s3: S3Config,
}

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// Name of the bucket, which must exist; empty: bodies are stored in a directory.
    pub bucket: String,
    /// Begins every key in the bucket, for example `ragstone/blobs`.
    pub prefix: String,
    /// Region of the bucket; empty: that of `AWS_REGION`, or `us-east-1`.
    pub region: String,
    /// Address of the store, for example `https://minio.example:9000`; empty: Amazon's for the region.
    pub endpoint: String,
    /// Id of the access key. Without one the standard variables of AWS count: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, those of containers; without an `endpoint`
    /// also the role of the machine.
    pub access_key_id: String,
    /// The secret of that access key.
    pub secret_access_key: Secret,
    /// PEM file of the authority that signed the endpoint's certificate; without it the system's authorities are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether `endpoint` may begin with `http://`: then anybody on the way can read the bodies.
    pub allow_http: bool,
    /// Whether the bucket stands in the path (`https://HOST/BUCKET`) and not in the host name.
    pub path_style: bool,
    /// The longest that connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest that one request may take, with its body, in milliseconds.
    pub request_timeout_ms: u64,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: String::new(),
            endpoint: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            ca_file: None,
            allow_http: false,
            path_style: true,
            connect_timeout_ms: 2_000,
            request_timeout_ms: 30_000,
        }
    }
}

impl BlobsConfig {
    /// Checks the settings, without asking anybody.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub fn validate(&self) -> Result<()> {
        if !self.s3.bucket.is_empty() && self.directory.is_some() {
            return Err(Error::invalid("both ingestion.blobs.directory and ingestion.blobs.s3.bucket are set"));
        }
        if self.s3.bucket.is_empty() && self.s3 != S3Config::default() {
            return Err(Error::invalid("ingestion.blobs.s3 has settings, but no ingestion.blobs.s3.bucket"));
        }
        if self.s3.bucket.is_empty() { Ok(()) } else { self.s3.validate() }
    }
}

impl S3Config {
    /// Checks the settings, without asking anybody.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub fn validate(&self) -> Result<()> {
        let plain = self.endpoint.starts_with("http://");
        let rules = [
            (self.bucket.is_empty(), "bucket is not set"),
            (self.bucket.contains(['/', ' ']), "bucket must not contain slashes or spaces"),
            (object_store::path::Path::parse(&self.prefix).is_err(), "prefix cannot be the beginning of a key"),
            (
                !self.endpoint.is_empty() && !plain && !self.endpoint.starts_with("https://"),
                "endpoint must begin with https:// or http://",
            ),
            (plain && !self.allow_http, "endpoint begins with http://, which allow_http does not allow"),
            (
                self.access_key_id.is_empty() != self.secret_access_key.is_empty(),
                "access_key_id and secret_access_key must both be set or both not",
            ),
            (self.ca_file.is_some() && plain, "ca_file is set, but endpoint begins with http://"),
            (self.connect_timeout_ms == 0, "connect_timeout_ms must be at least 1"),
            (self.request_timeout_ms == 0, "request_timeout_ms must be at least 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, problem)) => Err(Error::invalid(format!("ingestion.blobs.s3.{problem}"))),
            None => Ok(()),
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_mistake_names_its_key() {
        let good = || S3Config { bucket: "b".into(), ..S3Config::default() };
        let blobs = |s3| BlobsConfig { directory: None, s3 };
        blobs(good()).validate().unwrap();
        BlobsConfig::default().validate().unwrap();
        BlobsConfig { directory: Some("d".into()), s3: S3Config::default() }.validate().unwrap();
        for (key, config) in [
            ("blobs.directory", BlobsConfig { directory: Some("d".into()), s3: good() }),
            ("s3.bucket", blobs(S3Config { region: "r".into(), ..S3Config::default() })),
            ("s3.bucket", blobs(S3Config { bucket: "a/b".into(), ..good() })),
            ("s3.prefix", blobs(S3Config { prefix: "a//b".into(), ..good() })),
            ("s3.endpoint", blobs(S3Config { endpoint: "minio:9000".into(), ..good() })),
            ("allow_http", blobs(S3Config { endpoint: "http://minio:9000".into(), ..good() })),
            ("s3.access_key_id", blobs(S3Config { access_key_id: "k".into(), ..good() })),
            ("secret_access_key", blobs(S3Config { secret_access_key: "k".to_owned().into(), ..good() })),
            ("s3.connect_timeout_ms", blobs(S3Config { connect_timeout_ms: 0, ..good() })),
            ("s3.request_timeout_ms", blobs(S3Config { request_timeout_ms: 0, ..good() })),
        ] {
            let error = config.validate().unwrap_err();
            assert!(error.message.contains(key), "{key}: {error}");
        }
        let with_ca =
            S3Config { ca_file: Some("ca.pem".into()), endpoint: "http://minio".into(), allow_http: true, ..good() };
        assert!(blobs(with_ca).validate().unwrap_err().message.contains("ca_file"));
    }
}
