//! Fetches a document from the address that a caller named, and from nowhere that only the gateway can reach.
//!
//! Each host is looked up once, every address of it is checked, and the connection goes to these addresses and no others:
//! a name that means something else a moment later leads nowhere new. Redirects are followed by hand, with all of it again.

mod address;
mod config;
mod target;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use ragstone_core::{Error, ErrorCode, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::sync::OwnedSemaphorePermit;
use url::{Host, Url};

use self::address::Networks;
use self::target::Places;
use super::Format;
use crate::body::UploadMemory;

pub use config::FetchConfig;
pub(crate) use target::{parse, shown};

/// Addresses of one host that are tried at most.
const MAX_ADDRESSES: usize = 16;

/// Finds the addresses of hosts.
#[async_trait]
trait Lookup: Send + Sync {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// As the machine is configured.
struct System;

#[async_trait]
impl Lookup for System {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Fetches documents.
pub(crate) struct Fetcher {
    enabled: bool,
    places: Places,
    networks: Networks,
    lookup: Box<dyn Lookup>,
    max_bytes: usize,
    timeout: Duration,
    max_redirects: u32,
}

/// A document that was fetched.
pub(crate) struct Fetched {
    /// What kind of bytes the server says these are.
    pub media_type: &'static str,
    /// The bytes.
    pub body: Bytes,
    /// Their share of the memory for uploads.
    pub memory: OwnedSemaphorePermit,
}

/// Why nothing was fetched: as the metric counts it, and as the caller is told.
struct Failure {
    outcome: &'static str,
    error: Error,
}

impl Failure {
    fn new(outcome: &'static str, error: Error) -> Self {
        Self { outcome, error }
    }

    fn unusable(outcome: &'static str, message: impl Into<String>) -> Self {
        Self::new(outcome, Error::unprocessable(message))
    }

    /// The host is not one to fetch from. Whether it exists, and what is not allowed about it, would tell callers about the
    /// network that the gateway stands in.
    fn refused(outcome: &'static str, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        Self::unusable(outcome, format!("'{host}' is no place that documents may be fetched from"))
    }
}

impl Fetcher {
    /// From a configuration; `max_body_bytes` is the gateway's.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub(crate) fn new(config: &FetchConfig, max_body_bytes: usize) -> Result<Self> {
        Ok(Self {
            enabled: config.enabled,
            places: Places::new(config).map_err(Error::invalid)?,
            networks: Networks::parse(&config.allowed_networks).map_err(Error::invalid)?,
            lookup: Box::new(System),
            max_bytes: config.max_bytes.unwrap_or(max_body_bytes),
            timeout: config.timeout(),
            max_redirects: config.max_redirects,
        })
    }

    /// Fetches what `url` leads to, into `memory`.
    ///
    /// # Errors
    /// `Unprocessable` when that is switched off, refused or fails, `TooLarge`, `UnsupportedMediaType`, or `Unavailable`
    /// when there is no memory.
    #[tracing::instrument(skip_all, fields(host = url.host_str()))]
    pub(crate) async fn fetch(&self, url: Url, memory: &UploadMemory) -> Result<Fetched> {
        let fetched = self.attempt(url, memory).await;
        let outcome = fetched.as_ref().map_or_else(|failure| failure.outcome, |_| "done");
        metrics::counter!("rag_fetch_total", "outcome" => outcome).increment(1);
        fetched.map_err(|Failure { outcome, error }| {
            tracing::info!(outcome, cause = error.chain(), "a document could not be fetched");
            error
        })
    }

    async fn attempt(&self, url: Url, memory: &UploadMemory) -> Result<Fetched, Failure> {
        if !self.enabled {
            let message = "documents are not fetched by url here (gateway.fetch.enabled): send the document itself";
            return Err(Failure::unusable("disabled", message));
        }
        let late = |_| Err(Failure::unusable("timeout", "fetching the url took too long"));
        tokio::time::timeout(self.timeout, self.follow(url, memory)).await.unwrap_or_else(late)
    }

    async fn follow(&self, mut url: Url, memory: &UploadMemory) -> Result<Fetched, Failure> {
        for _ in 0..=self.max_redirects {
            let response = self.ask(&url).await?;
            match redirect(&url, &response)? {
                Some(next) => url = next,
                None => return self.read(response, memory).await,
            }
        }
        Err(Failure::unusable("redirects", format!("the url leads over more than {} redirects", self.max_redirects)))
    }

    async fn ask(&self, url: &Url) -> Result<Response, Failure> {
        if !self.places.permit(url) {
            return Err(Failure::refused("refused_place", url));
        }
        let client = pinned(url, self.addresses(url).await?)
            .map_err(|e| Failure::new("failed", Error::internal("the HTTP client cannot be built").with_source(e)))?;
        // Packed answers are not unpacked: a small one could become any size.
        let request = client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        let request =
            request.header(header::ACCEPT, "text/html, text/markdown, text/plain, application/pdf, */*;q=0.5");
        request.send().await.map_err(|e| unreachable("the url's server cannot be reached", e))
    }

    /// The addresses of the host, all of them permitted.
    async fn addresses(&self, url: &Url) -> Result<Vec<IpAddr>, Failure> {
        let found = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => self.lookup.addresses(name).await.unwrap_or_else(|error| {
                tracing::info!(host = name, %error, "a host could not be looked up");
                Vec::new()
            }),
            None => Vec::new(),
        };
        if found.is_empty() {
            return Err(Failure::refused("unknown_host", url));
        }
        // One that is not public among others that are: somebody tries which of them will be taken.
        if !found.iter().all(|address| self.networks.permit(*address)) {
            return Err(Failure::refused("refused_address", url));
        }
        Ok(found.into_iter().take(MAX_ADDRESSES).collect())
    }

    async fn read(&self, mut response: Response, memory: &UploadMemory) -> Result<Fetched, Failure> {
        let media_type = media_type(&response)?;
        let too_large = || {
            let message = format!("what the url leads to is over the limit of {} bytes", self.max_bytes);
            Failure::new("too_large", Error::new(ErrorCode::TooLarge, message))
        };
        let announced = response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if announced.is_some_and(|length| length > self.max_bytes) {
            return Err(too_large());
        }
        let memory = memory.reserve(announced.unwrap_or(self.max_bytes)).await;
        let memory = memory.map_err(|error| Failure::new("memory", error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unreachable("the url's answer broke off", e))? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { media_type, body: body.into(), memory })
    }
}

fn unreachable(message: &str, error: reqwest::Error) -> Failure {
    // Without its URL, which may hold a secret.
    Failure::new("unreachable", Error::unprocessable(message).with_source(error.without_url()))
}

/// A client that connects to `addresses`, whatever name it is given.
fn pinned(url: &Url, addresses: Vec<IpAddr>) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("ragstone/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Pinned(addresses)))
        // A proxy would look the name up once more, and connect from where it stands.
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .retry(reqwest::retry::never());
    // Without TLS there is nothing to be read from the machine's certificates.
    if url.scheme() == "http" { builder.tls_certs_only([]).build() } else { builder.build() }
}

/// Answers every question for a name with the addresses that were checked.
struct Pinned(Vec<IpAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        // Port 0 stands for the URL's own.
        let addresses: Vec<_> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(std::future::ready(Ok(Box::new(addresses.into_iter()) as Addrs)))
    }
}

/// Where the answer sends us instead, if it does.
fn redirect(from: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    match response.status() {
        StatusCode::OK => return Ok(None),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {}
        status => return Err(Failure::unusable("status", format!("the url's server answered {status}"))),
    }
    let unusable = || Failure::unusable("redirects", "the url leads to a redirect that cannot be followed");
    let location = text(response.headers(), header::LOCATION).ok_or_else(unusable)?;
    let next = target::join(from, location).map_err(|_| unusable())?;
    // What was asked for in secret is not asked for in the open.
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(unusable());
    }
    Ok(Some(next))
}

/// What the answer is, as far as it is a document that can be read.
fn media_type(response: &Response) -> Result<&'static str, Failure> {
    let unsupported = |message| Failure::new("media_type", Error::new(ErrorCode::UnsupportedMediaType, message));
    let encodings = response.headers().get_all(header::CONTENT_ENCODING);
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("the url's server sends packed content without being asked for it".to_owned()));
    }
    let content_type = text(response.headers(), header::CONTENT_TYPE).unwrap_or_default();
    match Format::of(content_type) {
        Ok(Format::Document(media_type)) => Ok(media_type),
        Ok(_) => Err(unsupported(format!("the url leads to '{content_type}', which is no document"))),
        Err(error) => Err(unsupported(format!("the url leads to what cannot be taken: {}", error.message))),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
