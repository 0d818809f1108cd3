//! The REST client of the gateway: addresses, credential, errors and retries.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use clap::Args;
use ragstone_core::DocumentId;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::failure::{Exit, Failure};
use crate::wire::{Problem, Readiness};
use crate::{Session, output, wire};

/// Where `ragstone up` listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence within an answer: streams carry a heartbeat every 15 s.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for administrators' calls, which wait until every reader of an index knows of a change.
const ADMIN_READ_TIMEOUT: Duration = Duration::from_secs(610);
/// How often a busy server is asked again, and the longest it may make one wait.
const RETRIES: usize = 8;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Which server, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The server's address [default: http://127.0.0.1:8080]
    #[arg(long, global = true, env = "RAGSTONE_URL", hide_env_values = true, value_parser = parse_url, help_heading = "Server")]
    pub(crate) url: Option<Url>,
    /// The bearer token to present
    #[arg(long, global = true, env = "RAGSTONE_TOKEN", hide_env_values = true, help_heading = "Server")]
    pub(crate) token: Option<String>,
}

impl Connection {
    /// The server's address.
    fn base(&self) -> Result<Url, Failure> {
        self.url.clone().map_or_else(|| parse_url(DEFAULT_URL).map_err(Failure::failed), Ok)
    }
}

pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it must begin with http:// or https:// and name a host".to_owned());
    }
    Ok(url)
}

/// A client of one server; clones share its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// Why a request brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No connection, or it broke.
    #[error("{url} cannot be reached: {}", chain(source))]
    Unreachable { url: Url, source: reqwest::Error },
    /// The server said no.
    #[error("{problem}")]
    Refused { status: StatusCode, problem: Box<Problem>, retry_after: Option<Duration> },
    /// The server's answer is not what was agreed.
    #[error("{url} gave an answer that is not Ragstone's: {what}")]
    Malformed { url: Url, what: String },
}

impl RequestError {
    /// Whether the same request may succeed a little later.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { status, .. }
            if matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether every further request would end the same way: no server, or no permission.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            Self::Malformed { .. } => false,
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::Unreachable { .. } => Self::new(Exit::Unreachable, message)
                .advise("Start the server with `ragstone up`, or name another one with --url or RAGSTONE_URL."),
            RequestError::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
                Self::new(Exit::Refused, message).advise("Give a valid token with --token or RAGSTONE_TOKEN.")
            }
            RequestError::Refused { status: StatusCode::FORBIDDEN, .. } => {
                Self::new(Exit::Refused, message).advise("This token lacks the scope for it: ask for one that has it.")
            }
            RequestError::Malformed { .. } => {
                Self::failed(message).advise("Check that --url is the address of a Ragstone gateway.")
            }
            RequestError::Refused { .. } => Self::failed(message),
        }
    }
}

fn chain(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

impl Client {
    /// A client for the server that `connection` names.
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        Self::build(connection.base()?, connection.token.as_deref(), READ_TIMEOUT)
    }

    /// The same for calls of administrators, which may take minutes.
    pub(crate) fn for_administration(connection: &Connection) -> Result<Self, Failure> {
        Self::build(connection.base()?, connection.token.as_deref(), ADMIN_READ_TIMEOUT)
    }

    /// A client for the server at `base`.
    pub(crate) fn with_base(base: Url, token: Option<&str>) -> Result<Self, Failure> {
        Self::build(base, token, READ_TIMEOUT)
    }

    fn build(base: Url, token: Option<&str>, read_timeout: Duration) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                Failure::new(Exit::Configuration, "the token holds characters that cannot be sent in a header")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let loopback = match base.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("ragstone/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(read_timeout);
            if loopback { builder.no_proxy() } else { builder }
        };
        let mut http = builder().build();
        if http.is_err() && base.scheme() == "http" {
            // A machine without any CA certificates can still speak plain HTTP.
            http = builder().tls_certs_only([]).build();
        }
        let http = http.map_err(|e| Failure::new(Exit::Configuration, format!("no HTTP client: {}", chain(&e))))?;
        Ok(Self { http, base })
    }

    /// The address of `segments` below `/v1`; each is percent-encoded as one path segment.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    /// A request for the address of `segments`.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url(segments))
    }

    /// Sends a request. An answer that is no success becomes an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, RequestError> {
        let (http, request) = request.build_split();
        let request = request.map_err(|source| RequestError::Unreachable { url: self.base.clone(), source })?;
        let url = request.url().clone();
        let response = http.execute(request).await.map_err(|source| RequestError::Unreachable { url, source })?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Sends a request and reads its JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, RequestError> {
        let response = self.send(request).await?;
        let url = response.url().clone();
        let body = response.bytes().await.map_err(|source| RequestError::Unreachable { url: url.clone(), source })?;
        serde_json::from_slice(&body).map_err(|e| RequestError::Malformed { url, what: e.to_string() })
    }

    /// Fetches `segments` as JSON, asking a busy server again.
    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, RequestError> {
        retrying(|| self.json(self.request(Method::GET, segments))).await
    }

    /// Posts `body` to `segments` as JSON and reads the JSON answer, asking a busy server again.
    pub(crate) async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &Value) -> Result<T, RequestError> {
        retrying(|| self.json(self.request(Method::POST, segments).json(body))).await
    }

    /// Reads `/readyz` of an admin port, which answers 503 while it is not ready.
    pub(crate) async fn readiness(&self) -> Result<Readiness, RequestError> {
        let mut url = self.base.clone();
        url.set_path("/readyz");
        let unreachable = |source| RequestError::Unreachable { url: url.clone(), source };
        let response = self.http.get(url.clone()).send().await.map_err(unreachable)?;
        let body = response.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(|e| RequestError::Malformed { url: url.clone(), what: e.to_string() })
    }

    /// Deletes the document `id`.
    pub(crate) async fn delete(&self, id: &DocumentId) -> Result<Value, RequestError> {
        retrying(|| self.json(self.request(Method::DELETE, &["documents", id.as_str()]))).await
    }

    /// Fetches up to `limit` items of the list at `segments`, page by page.
    pub(crate) async fn list(
        &self,
        segments: &[&str],
        status: Option<&str>,
        limit: usize,
    ) -> Result<Page, RequestError> {
        const PAGE: usize = 100;
        let mut page = Page { items: Vec::new(), next_cursor: None };
        loop {
            let wanted = PAGE.min(limit - page.items.len());
            let next: Page = retrying(|| {
                let request = self.request(Method::GET, segments).query(&[("limit", wanted)]);
                let cursor = page.next_cursor.as_ref().map(|cursor| ("cursor", cursor));
                self.json(request.query(&status.map(|status| ("status", status)).as_slice()).query(&cursor.as_slice()))
            })
            .await?;
            let empty = next.items.is_empty();
            page.items.extend(next.items);
            page.next_cursor = next.next_cursor;
            if page.next_cursor.is_none() || empty || page.items.len() >= limit {
                return Ok(page);
            }
        }
    }
}

/// A list, and where it goes on.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Page {
    /// The items, as the server gave them.
    pub(crate) items: Vec<Value>,
    /// Set when there are more.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    /// Shows the page: as JSON, or as a table with a word about what was left out.
    ///
    /// # Errors
    /// When an item is not as it should be, or standard output fails.
    pub(crate) fn show<T: DeserializeOwned>(
        self,
        headings: &[&str],
        row: impl Fn(T) -> Vec<String>,
        limit: u32,
        json: bool,
        session: &mut Session,
    ) -> Result<(), Failure> {
        if json {
            return session.out.json(&self);
        }
        let items: Vec<T> = self.items.into_iter().map(wire::read).collect::<Result<_, _>>()?;
        let rows: Vec<_> = items.into_iter().map(row).collect();
        session.out.table(headings, &rows)?;
        if self.next_cursor.is_some() {
            output::note(&format!("there are more than {limit}: see --limit"));
        }
        Ok(())
    }
}

/// Makes a call until it succeeds, fails for good, or the server has been busy too often.
pub(crate) async fn retrying<T, F>(call: impl FnMut() -> F) -> Result<T, RequestError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(200));
    call.retry(backoff.with_max_delay(Duration::from_secs(10)).with_max_times(RETRIES))
        .when(RequestError::is_busy)
        .adjust(|error, wait| wait.map(|wait| error.retry_after().unwrap_or(wait).min(MAX_RETRY_AFTER)))
        .await
}

async fn refusal(response: Response) -> RequestError {
    /// Enough for any problem object; a proxy's error page is cut.
    const MAX_DETAIL: usize = 200;
    let (status, url) = (response.status(), response.url().clone());
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/problem+json"));
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(source) => return RequestError::Unreachable { url, source },
    };
    let problem = is_problem.then(|| serde_json::from_slice::<Problem>(&body).ok()).flatten().unwrap_or_else(|| {
        let text = output::one_line(&String::from_utf8_lossy(&body), MAX_DETAIL);
        Problem { detail: format!("{url} answered {status}: {text}").into(), ..Problem::default() }
    });
    RequestError::Refused { status, problem: Box::new(problem), retry_after: retry_after.map(Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn client(base: &str) -> Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        Client::with_base(Url::parse(base).unwrap(), Some("t")).unwrap()
    }

    #[test]
    fn a_document_id_is_one_path_segment() {
        let url = client("http://h:1").url(&["documents", "docs/Größe & 50%?#.md"]);
        assert_eq!(url.as_str(), "http://h:1/v1/documents/docs%2FGr%C3%B6%C3%9Fe%20&%2050%25%3F%23.md");
        assert_eq!(client("https://h/rag/").url(&["jobs"]).as_str(), "https://h/rag/v1/jobs");
        assert_eq!(client("https://h/rag").url(&["jobs"]).as_str(), "https://h/rag/v1/jobs");
    }

    #[test]
    fn an_address_must_be_http() {
        assert!(parse_url("localhost:8080").is_err());
        assert!(parse_url("ftp://h").is_err());
        assert!(parse_url("http://h:1/x").is_ok());
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_bad_configuration() {
        let failure = Client::with_base(Url::parse("http://h").unwrap(), Some("a\nb")).err().unwrap();
        assert_eq!(failure.exit, Exit::Configuration);
    }
}
