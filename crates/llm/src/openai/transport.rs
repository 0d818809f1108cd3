//! The streamed exchange with a provider, in place of async-openai's own, which retries by itself.

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::{TryStreamExt, future};
use ragstone_core::Error;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response};
use secrecy::SecretString;

use crate::ProviderConfig;
use crate::http::{bearer, failed, refusal};

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
        bearer(&self.api_key).map(|bearer| (AUTHORIZATION, bearer)).into_iter().collect()
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
    if !response.status().is_success() {
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
        OpenAIError::Reqwest(cause) => failed(cause),
        // Its text quotes what was received.
        OpenAIError::JSONDeserialize(cause, _) => {
            Error::unavailable("the model's server sent something unreadable").with_source(cause)
        }
        other => Error::unavailable("the model's stream broke off").with_source(other),
    }
}
