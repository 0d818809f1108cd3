//! Which web pages' scripts may call: their origins, as one layer for REST and gRPC-Web.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use ragstone_core::{Error, Result};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long browsers may remember the answer.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// Headers of answers that scripts may read beside those every page may.
const EXPOSED: [&str; 14] = [
    "etag",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "location",
    "mcp-protocol-version",
    "mcp-session-id",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "traceparent",
    "www-authenticate",
    "x-request-id",
];

/// The layer that lets scripts of `origins` call (`https://app.example.org`, or `*` for all). Credentials that browsers
/// send by themselves are not let in: callers show a token.
///
/// # Errors
/// `InvalidArgument` when one is no origin.
pub(crate) fn layer(origins: &[String]) -> Result<CorsLayer> {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| parse(origin)).collect::<Result<Vec<_>>>()?)
    };
    Ok(CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(MAX_AGE))
}

fn parse(origin: &str) -> Result<HeaderValue> {
    let not_one = || Error::invalid(format!("'{origin}' is no origin: one looks like https://app.example.org"));
    let uri: Uri = origin.parse().map_err(|_| not_one())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(not_one()) };
    // What browsers send, letter for letter: no path, no user, lower case.
    if origin != format!("{scheme}://{authority}").to_lowercase() || authority.as_str().contains('@') {
        return Err(not_one());
    }
    HeaderValue::from_str(origin).map_err(|_| not_one())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_taken() {
        let with = |origin: &str| layer(&[origin.to_owned()]).is_ok();
        assert!(with("https://app.example.org") && with("http://localhost:3000") && with("*"));
        for odd in ["app.example.org", "https://app.example.org/", "https://x/y", "https://u@x", "HTTPS://X", ""] {
            assert!(!with(odd), "{odd}");
        }
    }
}
