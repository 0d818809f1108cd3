//! One connection: TLS, requests, and how it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt as _;

use super::body::Patient;
use super::streams::Answer;
use super::watch::{Fault, Limits, Request, Watch, Watched};
use super::{Shared, slow_client};

/// A stream on a connection past its age is cut after this long: longer than any answer, shorter than for ever.
const MAX_CONNECTION_GRACE: Duration = Duration::from_secs(3_900);
/// How long a connection that was told to close may stay open with nothing to do.
const LINGER: Duration = Duration::from_secs(5);

/// Who is at the other end of the connection; an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address: a proxy's, where there is one in between.
    pub address: SocketAddr,
    /// Whose certificate it has shown and proved, such as `CN=gateway`; `None` without mutual TLS.
    pub certificate_subject: Option<String>,
}

/// Serves what comes in on `stream` until it ends or must end.
pub(super) async fn serve(shared: &Shared, stream: TcpStream) {
    let (Ok(address), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let Some(tls) = &shared.tls else {
        return drive(shared, stream, Peer { address, certificate_subject: None }, local).await;
    };
    let handshake = timeout(shared.config.header_timeout(), TlsAcceptor::from(tls.current()).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = shared.stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let certificate_subject = subject(&stream);
            drive(shared, stream, Peer { address, certificate_subject }, local).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "TLS handshake failed");
            metrics::counter!("rag_tls_handshake_failures_total", "service" => shared.service).increment(1);
        }
        Err(_) => slow_client(shared.service, "handshake"),
    }
}

fn subject(stream: &TlsStream<TcpStream>) -> Option<String> {
    crate::tls::subject(stream.get_ref().1.peer_certificates()?.first()?)
}

async fn drive<IO>(shared: &Shared, io: IO, peer: Peer, local: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Watch::new();
    let io = TokioIo::new(Watched { io, watch: watch.clone() });
    let (router, seen) = (shared.router.clone(), watch.clone());
    let (name, patience) = (shared.service, shared.config.body_timeout());
    let info = TcpConnectInfo { local_addr: Some(local), remote_addr: Some(peer.address) };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let under_way = seen.request();
        let mut request = request.map(|body| axum::body::Body::new(Patient::new(body, name, patience)));
        request.extensions_mut().insert(ConnectInfo(peer.address));
        request.extensions_mut().insert(info.clone());
        request.extensions_mut().insert(peer.clone());
        answer(router.clone(), request, under_way)
    });
    let mut connection = pin!(shared.http.serve_connection(io, service));
    let first = tokio::select! {
        ended = connection.as_mut() => return note(ended),
        end = must_end(shared, &watch) => end,
    };
    if first == End::Now {
        return;
    }
    connection.as_mut().graceful_shutdown();
    watch.restart();
    tokio::select! {
        ended = connection => note(ended),
        () = overstays(shared, &watch) => {}
    }
}

async fn answer(
    router: axum::Router,
    request: axum::extract::Request,
    under_way: Request,
) -> Result<http::Response<Answer<Request>>, Infallible> {
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Answer::new(body, under_way)))
}

fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error = chain(error.as_ref()), "a connection broke");
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How a connection is to end.
#[derive(PartialEq, Eq)]
enum End {
    /// After what is under way.
    Gracefully,
    /// At once.
    Now,
}

/// Returns when the server stops, the connection is old or idle, or its client too slow.
async fn must_end(shared: &Shared, watch: &Watch) -> End {
    let limits = Limits {
        idle: shared.config.idle_timeout(),
        head: shared.config.header_timeout(),
        write: shared.config.write_timeout(),
    };
    tokio::select! {
        () = shared.stop.cancelled() => End::Gracefully,
        () = tokio::time::sleep(shared.config.max_connection_age()) => End::Gracefully,
        fault = faulty(watch, limits) => match fault {
            Fault::Idle => End::Gracefully,
            slow => {
                count(shared, slow);
                End::Now
            }
        },
    }
}

/// Returns when a connection that was told to end has had its time.
async fn overstays(shared: &Shared, watch: &Watch) {
    let limits = Limits { idle: LINGER, head: shared.config.header_timeout(), write: shared.config.write_timeout() };
    tokio::select! {
        () = tokio::time::sleep(MAX_CONNECTION_GRACE) => {}
        fault = faulty(watch, limits) => count(shared, fault),
    }
}

async fn faulty(watch: &Watch, limits: Limits) -> Fault {
    loop {
        match watch.check(limits) {
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(fault) => return fault,
        }
    }
}

fn count(shared: &Shared, fault: Fault) {
    match fault {
        Fault::Idle => {}
        Fault::SlowHead => slow_client(shared.service, "headers"),
        Fault::SlowReader => slow_client(shared.service, "response"),
    }
}
