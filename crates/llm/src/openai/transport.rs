//! One HTTP exchange with a provider: no hidden retries, bounded bodies, refusals with their time to wait.

use std::time::Duration;

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::{StreamExt, TryStreamExt, future};
use ragstone_core::{Error, ErrorCode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::ProviderConfig;

/// The most bytes read of the body of a refusal.
const REFUSAL_BYTES: usize = 8 * 1024;

/// A streamed token comes wrapped in an event of a few hundred bytes: this many bytes on the wire for one of text.
const WIRE_BYTES_PER_BYTE: usize = 128;

/// Where a provider is and how it knows us; unlike async-openai's own type it reads no environment.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base_url: String,
    api_key: SecretString,
}

impl Endpoint {
    pub(super) fn new(config: &ProviderConfig) -> Self {
        let base_url = config.base_url.trim_end_matches('/').to_owned();
        Self { base_url, api_key: config.api_key.secret().clone() }
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        let key = self.api_key.expose_secret();
        let bearer = (!key.is_empty()).then(|| HeaderValue::from_str(&format!("Bearer {key}")).ok()).flatten();
        bearer
            .map(|mut value| {
                value.set_sensitive(true);
                (AUTHORIZATION, value)
            })
            .into_iter()
            .collect()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.api_key
    }
}

/// Sends a request once. What is no stream of events becomes an error.
pub(super) async fn exchange(
    client: Client,
    request: HttpRequestFactory,
    max_answer_bytes: usize,
) -> Result<Response, OpenAIError> {
    let response = client.execute(request.build().await?).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(boxed(refusal(response).await));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        return Err(boxed(Error::unavailable("the model's server does not stream")));
    }
    Ok(bounded(response, max_answer_bytes.saturating_mul(WIRE_BYTES_PER_BYTE)))
}

/// The same response, cut off after `limit` bytes: async-openai reads ahead without a bound of its own.
fn bounded(response: Response, limit: usize) -> Response {
    let mut left = limit;
    let body = response.bytes_stream().try_take_while(move |bytes| {
        let fits = bytes.len() <= left;
        left = left.saturating_sub(bytes.len());
        future::ready(Ok(fits))
    });
    http::Response::new(reqwest::Body::wrap_stream(body)).into()
}

/// The error a refused request amounts to.
async fn refusal(response: Response) -> Error {
    let status = response.status();
    let wait = retry_after(response.headers());
    let kind = kind(&beginning(response).await);
    let told = format!("the model's server answered {status} ({kind})");
    match status {
        StatusCode::TOO_MANY_REQUESTS if kind != "insufficient_quota" => {
            Error { retry_after: wait, ..Error::new(ErrorCode::RateLimited, told) }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => Error::unavailable(told),
        status if status.is_server_error() => Error { retry_after: wait, ..Error::unavailable(told) },
        // A wrong key, model, or parameter: another try cannot help, the operator must act.
        _ => Error::internal(told),
    }
}

/// The error's type or code as the server names it. Its sentence may quote the prompt or the key: it is not taken over.
fn kind(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let name = [&error["code"], &error["type"]].into_iter().find_map(Value::as_str).unwrap_or("no details");
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

fn boxed(error: Error) -> OpenAIError {
    OpenAIError::Boxed(Box::new(error))
}

/// Our own error for one of async-openai's.
pub(super) fn error(error: OpenAIError) -> Error {
    match error {
        OpenAIError::Boxed(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::unavailable("the model's server failed").with_source(other),
        },
        OpenAIError::Reqwest(cause) if cause.is_builder() => {
            Error::internal("the request to the model could not be built").with_source(cause.without_url())
        }
        OpenAIError::Reqwest(cause) => {
            Error::unavailable("the model's server does not answer").with_source(cause.without_url())
        }
        // Its text quotes what was received.
        OpenAIError::JSONDeserialize(cause, _) => {
            Error::unavailable("the model's server sent something unreadable").with_source(cause)
        }
        other => Error::unavailable("the model's stream broke off").with_source(other),
    }
}
