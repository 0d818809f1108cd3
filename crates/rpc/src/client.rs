//! Calling another service: channel, deadline and trace context.

use std::time::Duration;

use ragstone_core::{Error, Result};
use ragstone_resilience::Deadline;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// A connection that takes longer is counted as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that vanished without a word is noticed after two of these.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A channel to `url` (`http://host:port`). It connects at the first call and reconnects by itself.
///
/// # Errors
/// `InvalidArgument` when the URL is none.
pub fn connect(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|e| Error::invalid(format!("'{url}' is not a URL")).with_source(e))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
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
    }
}
