//! One HTTP exchange with a model's server: no hidden retries, bounded bodies, refusals with their time to wait.

use std::time::Duration;

use futures::StreamExt;
use ragstone_core::{Error, ErrorCode, Result};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use ragstone_config::Secret;

/// The most bytes read of the body of a refusal.
const REFUSAL_BYTES: usize = 8 * 1024;
/// Where the key in `OPENAI_API_KEY` belongs.
const OPENAI_HOST: &str = "api.openai.com";

/// Whether this is OpenAI's own API: a key must not go to any other place than the one it was made for.
#[must_use]
pub fn is_openai(base_url: &str) -> bool {
    Url::parse(base_url).is_ok_and(|url| url.host_str() == Some(OPENAI_HOST))
}

/// Checks where a server is and how it knows us; `owner` is whose settings these are.
///
/// # Errors
/// One sentence that names the key.
pub(crate) fn check_server(owner: &str, base_url: &str, key: &Secret) -> Result<(), String> {
    let url = Url::parse(base_url).map_err(|_| format!("base_url '{base_url}' of {owner} is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("base_url of {owner} must not carry a user or password: use api_key"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
        return Err(format!("base_url '{base_url}' of {owner} must be http or https, without a query"));
    }
    if HeaderValue::from_str(key.secret().expose_secret()).is_err() {
        return Err(format!("api_key of {owner} has characters that no header can carry"));
    }
    Ok(())
}

/// A client that follows no redirect: it would send documents and key to another place than the configured one.
///
/// # Errors
/// `Internal`, for example as the process has not installed a TLS provider.
pub(crate) fn client(connect_timeout: Duration) -> Result<Client> {
    Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))
}

/// The header with the key, where there is one.
pub(crate) fn bearer(key: &SecretString) -> Option<HeaderValue> {
    let key = key.expose_secret();
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok().filter(|_| !key.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// A server that answers JSON with JSON.
pub(crate) struct Api {
    http: Client,
    base_url: String,
    key: SecretString,
}

impl Api {
    pub(crate) fn new(base_url: &str, key: &Secret, connect_timeout: Duration) -> Result<Self> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { http: client(connect_timeout)?, base_url, key: key.secret().clone() })
    }

    /// Posts `body` once; the answer's bytes, `limit` of them at most.
    ///
    /// # Errors
    /// `RateLimited` and `Unavailable`: another try may help; `TooLarge`: the server takes less at once; `Internal`: it
    /// refuses what is configured.
    pub(crate) async fn post(&self, path: &str, body: &Value, limit: usize) -> Result<Vec<u8>> {
        let mut request = self.http.post(format!("{}{path}", self.base_url)).json(body);
        if let Some(bearer) = bearer(&self.key) {
            request = request.header(AUTHORIZATION, bearer);
        }
        let response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let mut bytes = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part.map_err(failed)?);
            if bytes.len() > limit {
                return Err(Error::unavailable("the model's server sends more than an answer can have"));
            }
        }
        Ok(bytes)
    }
}

/// The error that the lack of an answer amounts to.
pub(crate) fn failed(cause: reqwest::Error) -> Error {
    if cause.is_builder() {
        return Error::internal("the request to the model could not be built").with_source(cause.without_url());
    }
    Error::unavailable("the model's server does not answer").with_source(cause.without_url())
}

/// The error a refused request amounts to.
pub(crate) async fn refusal(response: Response) -> Error {
    let status = response.status();
    let wait = retry_after(response.headers());
    let kind = kind(&beginning(response).await);
    let told = format!("the model's server answered {status} ({kind})");
    match status {
        StatusCode::TOO_MANY_REQUESTS if kind != "insufficient_quota" => {
            Error { retry_after: wait, ..Error::new(ErrorCode::RateLimited, told) }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => Error::unavailable(told),
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(ErrorCode::TooLarge, told),
        _ if kind == "context_length_exceeded" => Error::new(ErrorCode::TooLarge, told),
        status if status.is_server_error() => Error { retry_after: wait, ..Error::unavailable(told) },
        // A wrong key, model, or parameter: another try cannot help, the operator must act.
        _ => Error::internal(told),
    }
}

/// The error's type or code as the server names it. Its sentence may quote the prompt or the key: it is not taken over.
fn kind(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let names = [&error["code"], &error["type"], &body["error_type"], &body["type"]];
    let name = names.into_iter().find_map(Value::as_str).unwrap_or("no details");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ')).take(64).collect()
}

async fn beginning(response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(Ok(part)) = body.next().await {
        bytes.extend_from_slice(&part);
        if bytes.len() >= REFUSAL_BYTES {
            break;
        }
    }
    bytes
}

/// `Retry-After` in seconds; the form with a date is not used by such servers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_about_a_server_are_named() {
        let check = |url: &str| check_server("model 'm'", url, &Secret::default());
        assert_eq!(check("http://127.0.0.1:8000/v1"), Ok(()));
        for wrong in ["localhost", "file:///etc", "http://u:p@h/v1", "http://h/v1?x=1"] {
            assert!(check(wrong).is_err_and(|problem| problem.contains("base_url of") || problem.contains(wrong)));
        }
        let key = Secret::from("a\nb".to_owned());
        assert!(check_server("m", "http://h", &key).is_err_and(|problem| problem.contains("api_key")));
    }

    #[test]
    fn the_kind_of_a_refusal_is_found_and_nothing_else_told() {
        for (body, expected) in [
            (r#"{"error": {"message": "your key sk-1", "code": "bad_key", "type": "auth"}}"#, "bad_key"),
            (r#"{"error": {"message": "x", "code": null, "type": "auth"}}"#, "auth"),
            (r#"{"error": "text too long: hush", "error_type": "Validation"}"#, "Validation"),
            (r#"{"object": "error", "message": "hush", "type": "BadRequestError", "code": 400}"#, "BadRequestError"),
            ("<html>", "no details"),
        ] {
            assert_eq!(kind(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn openai_is_known_by_its_host() {
        assert!(is_openai("https://api.openai.com/v1"));
        assert!(!is_openai("https://api.openai.com.example/v1") && !is_openai("http://h/?api.openai.com"));
    }
}
