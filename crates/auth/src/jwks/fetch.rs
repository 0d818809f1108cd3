//! One fetch of a key set: short, small, and from that server only.

use std::time::Duration;

use http::header;
use ragstone_core::{Error, Result};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response};
use url::Url;

use crate::algorithm::JwtAlgorithm;
use crate::keyset::KeySet;

/// Time for a whole fetch.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest key set, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Redirects followed at most.
const MAX_REDIRECTS: usize = 3;

/// A client for one address.
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

/// What a fetch brought.
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// For how long the issuer says that it holds.
    pub(super) max_age: Option<Duration>,
}

impl Fetcher {
    pub(super) fn new(url: Url) -> Result<Self> {
        let mut client = Client::builder().timeout(TIMEOUT).redirect(Policy::custom(same_server));
        // Without TLS the keys must not leave this machine, not even by way of a proxy.
        if url.scheme() == "http" {
            client = client.no_proxy();
        }
        let client =
            client.build().map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))?;
        Ok(Self { client, url })
    }

    /// Fetches.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub(super) async fn fetch(&self, allowed: &[JwtAlgorithm]) -> Result<Fetched, String> {
        let request = self.client.get(self.url.clone()).header(header::ACCEPT, "application/json");
        let response = request.send().await.map_err(describe)?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let max_age = max_age(&response);
        let set = KeySet::parse(&body(response).await?, allowed)?;
        if set.len() == 0 {
            return Err("it has no key that can be used with auth.jwt.algorithms".to_owned());
        }
        Ok(Fetched { set, max_age })
    }
}

/// Follows a redirect within the server only: elsewhere, somebody else would say which keys are right.
fn same_server(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first();
    let same = first.is_some_and(|first| first.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.error("a redirect to another server, or too many of them")
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(format!("the answer is larger than {MAX_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `max-age` of `Cache-Control`; an answer that must not be stored holds no longer than it has to.
fn max_age(response: &Response) -> Option<Duration> {
    let values = response.headers().get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if directives.iter().any(|one| one.eq_ignore_ascii_case("no-store") || one.eq_ignore_ascii_case("no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = |one: &&str| {
        let (name, value) = one.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok())?
    };
    directives.iter().find_map(seconds).map(Duration::from_secs)
}

/// An error with its causes, on one line.
fn describe(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
