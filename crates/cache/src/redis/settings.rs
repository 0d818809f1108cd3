//! The Redis client's own settings, made from ours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ServerConfig, TlsConfig, TlsConnector, TlsHostMapping,
};
use ragstone_core::{Error, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::CacheConfig;
use crate::redis_url::RedisUrl;

/// Commands that may wait in one link; further ones fail at once.
const MAX_QUEUE: usize = 1024;

/// The section of the configuration that names this Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// A cache's, whose keys are `cache.redis_url` and so on.
    Cache,
    /// The rate limiter's, whose keys are `limits.redis.url` and so on.
    Limits,
}

impl Section {
    /// The message, written for a cache, with the keys as they are called in this section.
    pub(crate) fn named(self, message: &str) -> String {
        match self {
            Self::Cache => message.to_owned(),
            Self::Limits => message.replace("cache.redis_", "limits.redis.").replace("cache.", "limits.redis."),
        }
    }
}

/// Everything a link needs to connect, again and again.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) section: Section,
    config: Config,
    performance: PerformanceConfig,
    connection: ConnectionConfig,
    /// Must not appear in any message: a server may quote what it was sent.
    pub(super) secrets: Vec<String>,
    pub(super) connect_timeout: Duration,
}

impl Settings {
    pub(super) fn new(config: &CacheConfig, section: Section) -> Result<Self> {
        let written = config.redis_url.as_ref().ok_or_else(|| Error::invalid("cache.redis_url is not set"))?;
        let mut client = Self::parse(written)?;
        if !config.redis_password.is_empty() {
            client.password = Some(config.redis_password.expose().to_owned());
        }
        if !config.redis_username.is_empty() {
            client.username = Some(config.redis_username.clone());
        }
        if written.expose().starts_with("rediss") {
            client.tls = Some(tls(config.redis_ca_file.as_deref(), &client.server)?);
        }
        let mut secrets = written.secrets();
        secrets.extend(client.password.clone());
        Ok(Self {
            section,
            config: client,
            performance: PerformanceConfig {
                default_command_timeout: config.command_timeout(),
                ..PerformanceConfig::default()
            },
            connection: ConnectionConfig {
                connection_timeout: config.connect_timeout(),
                internal_command_timeout: config.connect_timeout(),
                max_command_buffer_len: MAX_QUEUE,
                ..ConnectionConfig::default()
            },
            secrets,
            connect_timeout: config.connect_timeout(),
        })
    }

    /// The client's settings as far as the URL says them, without TLS.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub(crate) fn parse(written: &RedisUrl) -> Result<Config> {
        let unusable = |why: &str| Error::invalid(format!("cache.redis_url cannot be used: {why}"));
        let mut url = Url::parse(written.expose()).map_err(|e| unusable(&e.to_string()))?;
        // The client would read the system's certificates, which a private authority makes needless.
        let plain = url.scheme().replacen("rediss", "redis", 1);
        url.set_scheme(&plain).map_err(|()| unusable("it has an odd scheme"))?;
        Config::from_url(url.as_str()).map_err(|e| unusable(e.details()))
    }

    /// A client that has not connected yet. It connects once: what comes after is the link's business.
    pub(super) fn client(&self) -> Client {
        Client::new(self.config.clone(), Some(self.performance.clone()), Some(self.connection.clone()), None)
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.config.server.is_clustered()
    }

    pub(super) fn has_password(&self) -> bool {
        self.config.password.is_some()
    }

    pub(super) fn has_tls(&self) -> bool {
        self.config.tls.is_some()
    }

    /// The longest that one try may take: every known server is tried in turn, then one more.
    pub(super) fn attempt_timeout(&self) -> Duration {
        let servers = u32::try_from(self.config.server.hosts().len()).unwrap_or(u32::MAX);
        self.connect_timeout.saturating_mul(servers.saturating_mul(2).saturating_add(2))
    }
}

fn tls(ca_file: Option<&Path>, server: &ServerConfig) -> Result<TlsConfig> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let unusable = |why: String| Error::invalid(format!("cache.redis_ca_file {}: {why}", file.display()));
            let certificates = CertificateDer::pem_file_iter(file).map_err(|e| unusable(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
                roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("no certificate is in it".to_owned()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(Error::invalid(
                    "the system has no certificates of authorities: cache.redis_ca_file must name one",
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("TLS cannot be set up").with_source(e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A cluster names its servers by address, while certificates are mostly made for the name in the URL.
    let by_name = server.hosts().iter().all(|server| server.host.parse::<std::net::IpAddr>().is_err());
    let hostnames = if server.is_clustered() && by_name { TlsHostMapping::DefaultHost } else { TlsHostMapping::None };
    Ok(TlsConfig { connector: TlsConnector::from(client), hostnames })
}
