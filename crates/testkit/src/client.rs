//! A thin REST client for tests: JSON in, status and JSON out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// How long a job may take on a busy machine.
const JOB_TIMEOUT: Duration = Duration::from_secs(120);

/// A client of one gateway.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// An answer: status and body as JSON (`null` when it is empty).
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// The body, when the status is `expected`.
    ///
    /// # Errors
    /// Shows status and body when it is not.
    pub fn expect_status(self, expected: u16) -> Result<Value> {
        anyhow::ensure!(self.status.as_u16() == expected, "expected {expected}, got {}: {}", self.status, self.body);
        Ok(self.body)
    }
}

impl Client {
    /// A client of the gateway at `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self { http: reqwest::Client::new(), base: base.to_owned() }
    }

    /// A client of the same gateway that shows `token`, a JWT or an API key, with every request.
    ///
    /// # Errors
    /// When it cannot be part of a header.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let mut credential = HeaderValue::try_from(format!("Bearer {token}")).context("token")?;
        credential.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, credential)]);
        Ok(Self { http: reqwest::Client::builder().default_headers(headers).build()?, base: self.base.clone() })
    }

    /// The URL of a path; document ids within it must be percent-encoded already.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The HTTP client, for requests with special headers or bodies.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends `request` and reads the answer.
    ///
    /// # Errors
    /// When the gateway cannot be reached or the answer is neither empty nor JSON.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).context("body")? };
        Ok(Answer { status, body })
    }

    /// A request without a body.
    ///
    /// # Errors
    /// As `send`.
    pub async fn call(&self, method: Method, path: &str) -> Result<Answer> {
        self.send(self.http.request(method, self.url(path))).await
    }

    /// GET.
    ///
    /// # Errors
    /// As `send`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path).await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As `send`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// Puts a document and returns the 202's body. The id must be percent-encoded.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn put_document(&self, id: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Result<Value> {
        let request = self.http.put(self.url(&format!("/v1/documents/{id}")));
        self.send(request.header("content-type", content_type).body(body)).await?.expect_status(202)
    }

    /// Follows a job to its end and returns its last state.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn finished_job(&self, job_id: &str) -> Result<Value> {
        let until = Instant::now() + JOB_TIMEOUT;
        loop {
            let job = self.get(&format!("/v1/jobs/{job_id}")).await?.expect_status(200)?;
            if matches!(job["status"].as_str(), Some("done" | "failed" | "dead")) {
                return Ok(job);
            }
            if Instant::now() > until {
                bail!("job is still not finished: {job}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Puts a document and waits until it is searchable.
    ///
    /// # Errors
    /// When it is refused or its job does not end with `done`.
    pub async fn ingest(&self, id: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Result<Value> {
        let accepted = self.put_document(id, content_type, body).await?;
        let job = self.finished_job(accepted["job_id"].as_str().context("job_id")?).await?;
        anyhow::ensure!(job["status"] == "done", "{job}");
        Ok(job)
    }
}
