//! Calling another service: channel, TLS, deadline and trace context.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use ragstone_core::{Error, Result};
use ragstone_resilience::Deadline;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use crate::ServerConfig;
use crate::tls::{self, Reloaded};

/// A connection that takes longer is counted as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that vanished without a word is noticed after two of these.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Makes channels to other services, with the TLS that `server.client_tls` says for `https://` URLs.
pub struct Dialer {
    tls: Option<Arc<Reloaded<tls::Client>>>,
}

impl Dialer {
    /// For a service with this configuration. Its certificates are read again when they change, for as long as it or one
    /// of its channels lives; that takes a Tokio runtime around it.
    ///
    /// # Errors
    /// `InvalidArgument` when a file of `server.client_tls` cannot be used.
    pub fn new(config: &ServerConfig) -> Result<Self> {
        let start = |config| Reloaded::start(tls::client(config)?).map(Arc::new);
        Ok(Self { tls: config.client_tls.as_ref().map(start).transpose()? })
    }

    /// A channel to `url` (`http://host:port` or `https://host:port`). It connects at the first call and reconnects by
    /// itself, then with the newest certificate.
    ///
    /// # Errors
    /// `InvalidArgument` when the URL is none, or needs TLS that is not configured.
    pub fn connect(&self, url: &str) -> Result<Channel> {
        let endpoint = endpoint(url)?;
        if endpoint.uri().scheme_str() != Some("https") {
            return Ok(endpoint.connect_lazy());
        }
        let Some(tls) = &self.tls else {
            return Err(Error::invalid(format!("'{url}' needs server.client_tls, which is not set")));
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // To tonic the connection is a plain one: it refuses `https` unless the TLS is its own, which cannot change.
        let plain = Endpoint::from_shared(url.replacen("https://", "http://", 1)).map_err(|e| not_a_url(url, e))?;
        let plain = tuned(plain).origin(endpoint.uri().clone());
        Ok(plain.connect_with_connector_lazy(Connector { tcp, tls: Arc::clone(tls) }))
    }
}

/// A channel to `url` (`http://host:port`), without TLS. It connects at the first call and reconnects by itself.
///
/// # Errors
/// `InvalidArgument` when the URL is none.
pub fn connect(url: &str) -> Result<Channel> {
    Dialer { tls: None }.connect(url)
}

/// Checks the files of `server.client_tls`.
///
/// # Errors
/// `InvalidArgument`, naming the setting.
pub(crate) fn check(config: &ServerConfig) -> Result<()> {
    config.client_tls.as_ref().map_or(Ok(()), |config| tls::client(config)?.once().map(|_| ()))
}

fn endpoint(url: &str) -> Result<Endpoint> {
    Endpoint::from_shared(url.to_owned()).map(tuned).map_err(|e| not_a_url(url, e))
}

fn not_a_url(url: &str, error: tonic::transport::Error) -> Error {
    Error::invalid(format!("'{url}' is not a URL")).with_source(error)
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
}

/// Connects with the TLS of the moment.
struct Connector {
    tcp: HttpConnector,
    tls: Arc<Reloaded<tls::Client>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, client) = (self.tcp.call(uri.clone()), self.tls.current());
        Box::pin(async move {
            let name = match &client.server_name {
                Some(name) => name.clone(),
                None => host(&uri)?,
            };
            let stream = connecting.await?.into_inner();
            let connected = TlsConnector::from(Arc::clone(&client.config)).connect(name, stream).await;
            Ok(TokioIo::new(connected.map_err(|error| refused(&uri, error))?))
        })
    }
}

fn host(uri: &Uri) -> io::Result<ServerName<'static>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).map_err(|_| io::Error::other(format!("'{host}' is no host name")))
}

/// Says which setting a refused certificate concerns.
fn refused(uri: &Uri, error: io::Error) -> io::Error {
    let setting = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "the server's certificate was not signed by an authority of server.client_tls.ca_file"
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate carries another name than the URL or server.client_tls.server_name",
        _ => "TLS failed",
    };
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    io::Error::new(error.kind(), format!("{host}: {setting}: {error}"))
}

/// `message` as a request that carries what is left of `deadline` and the current trace.
pub fn request<T>(message: T, deadline: Deadline) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.remaining());
    ragstone_telemetry::metadata_from_current(request.metadata_mut());
    request
}

/// The deadline the caller set, or `limit` from now when that is sooner or none was set.
#[must_use]
pub fn deadline<T>(request: &Request<T>, limit: Duration) -> Deadline {
    let header = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    match header.and_then(Deadline::from_grpc_timeout) {
        Some(deadline) => deadline.cap(limit),
        None => Deadline::after(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_travels_in_the_request() {
        let sent = request((), Deadline::after(Duration::from_millis(1500)));
        assert_eq!(deadline(&sent, Duration::from_secs(9)).remaining(), Duration::from_millis(1500));
        assert_eq!(deadline(&sent, Duration::from_secs(1)).remaining(), Duration::from_secs(1));
        assert_eq!(deadline(&Request::new(()), Duration::from_secs(9)).remaining(), Duration::from_secs(9));
    }

    #[tokio::test]
    async fn what_is_no_url_is_refused() {
        assert!(connect("not a url").is_err());
        assert!(connect("https://host:1").is_err_and(|error| error.message.contains("server.client_tls")));
    }
}
