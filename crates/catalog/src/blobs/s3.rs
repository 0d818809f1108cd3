//! Bodies in a bucket of an S3-compatible store.

mod error;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use ragstone_core::ports::BlobStore;
use ragstone_core::{Error, Result};

use super::S3Config;
use super::objects::Objects;
use error::{for_callers, for_operators};

/// A request that met no good answer is made again so often, and not after this time: a dead store is to be known soon,
/// and the job that needs it is tried again anyway.
const RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Variables that say where the bucket is.
const PLACE: [&str; 2] = ["AWS_DEFAULT_REGION", "AWS_REGION"];
/// Variables that say who is asking. No others count: an endpoint or a bucket from the environment would surprise.
const CREDENTIALS: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Bodies under `PREFIX/ab/cdef…`, where `abcdef…` is the BLAKE3 hash.
pub struct S3Blobs(Objects);

impl S3Blobs {
    /// Opens the bucket and writes a few bytes to it. Credentials that `config` does not have are taken from `env`.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key, when a setting cannot be used or the store refuses it; `Unavailable` when it
    /// does not answer; `Internal` when the process has not installed a TLS provider.
    pub async fn open(config: &S3Config, env: &HashMap<String, String>) -> Result<Self> {
        config.validate()?;
        // The HTTP client would panic.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(Error::internal("the process has not installed a TLS provider"));
        }
        let store = builder(config, env)?.build().map_err(|e| refused("ingestion.blobs.s3 cannot be used", e))?;
        let prefix = Key::parse(&config.prefix).map_err(|e| refused("ingestion.blobs.s3.prefix cannot be used", e))?;
        let blobs = Self(Objects { store: Arc::new(store), prefix, error: for_callers, check_error: for_operators });
        blobs.check().await?;
        Ok(blobs)
    }
}

fn refused(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::invalid(what).with_source(error)
}

fn builder(config: &S3Config, env: &HashMap<String, String>) -> Result<AmazonS3Builder> {
    let secure = !config.endpoint.starts_with("http://");
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_virtual_hosted_style_request(!config.path_style)
        .with_client_options(client(config)?)
        // TLS guards the body on its way; hashing it once more would cost more than sending it.
        .with_unsigned_payload(secure)
        // Not all compatible stores know how to delete many at once, and bodies are deleted one by one.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
            backoff: BackoffConfig { max_backoff: Duration::from_secs(1), ..BackoffConfig::default() },
        });
    if !config.endpoint.is_empty() {
        builder = builder.with_endpoint(endpoint(config));
    }
    let own_key = !config.access_key_id.is_empty();
    let wanted = PLACE.iter().chain(if own_key { &[][..] } else { &CREDENTIALS[..] });
    let mut found = own_key;
    for name in wanted {
        let Some(value) = env.get(*name).filter(|value| !value.is_empty()) else { continue };
        let key: AmazonS3ConfigKey =
            name.to_ascii_lowercase().parse().map_err(|e| Error::internal("a variable of AWS").with_source(e))?;
        found |= !PLACE.contains(name);
        builder = builder.with_config(key, value);
    }
    if !found && !config.endpoint.is_empty() {
        return Err(Error::invalid("ingestion.blobs.s3.access_key_id is not set, and neither is AWS_ACCESS_KEY_ID"));
    }
    if !config.region.is_empty() {
        builder = builder.with_region(&config.region);
    }
    if own_key {
        let secret = config.secret_access_key.expose();
        builder = builder.with_access_key_id(&config.access_key_id).with_secret_access_key(secret);
    }
    Ok(builder)
}

/// The library expects the bucket in a host name that it is given.
fn endpoint(config: &S3Config) -> String {
    match config.endpoint.split_once("://") {
        Some((scheme, host)) if !config.path_style => format!("{scheme}://{}.{host}", config.bucket),
        _ => config.endpoint.clone(),
    }
}

fn client(config: &S3Config) -> Result<ClientOptions> {
    let options = ClientOptions::new()
        .with_allow_http(config.allow_http)
        .with_connect_timeout(config.connect_timeout())
        .with_timeout(config.request_timeout());
    let Some(file) = &config.ca_file else { return Ok(options) };
    let certificates = authorities(file)?;
    let options = options.with_no_system_certificates(true);
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

fn authorities(file: &Path) -> Result<Vec<Certificate>> {
    let what = || format!("ingestion.blobs.s3.ca_file {} cannot be used", file.display());
    let pem = std::fs::read(file).map_err(|e| refused(&what(), e))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| refused(&what(), e))?;
    if certificates.is_empty() {
        return Err(Error::invalid(format!("{}: no certificate is in it", what())));
    }
    Ok(certificates)
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, body: Bytes) -> Result<String> {
        self.0.put(body).await
    }

    async fn get(&self, hash: &str) -> Result<Bytes> {
        self.0.get(hash).await
    }

    async fn delete(&self, hash: &str) -> Result<()> {
        self.0.delete(hash).await
    }

    fn list(&self) -> BoxStream<'_, Result<(String, SystemTime)>> {
        self.0.list()
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}
