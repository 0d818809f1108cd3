//! Errors as RFC 9457 problem documents: the one place where an `ErrorCode` becomes an HTTP status.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ragstone_core::{Error, ErrorCode};
use serde::Serialize;

/// What a client is told to wait when nobody knows better.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// An error as a client sees it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// A URI that names the kind.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "status_number")]
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: StatusCode,
    /// What happened, in a sentence.
    detail: String,
    /// The stable code.
    code: &'static str,
    /// The trace it belongs to.
    trace_id: Option<String>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// The HTTP status of a code. A deadline that passed and a call that was cancelled from inside look the same from
/// outside as a dependency that does not answer: 503, try again.
pub(crate) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::DeadlineExceeded | ErrorCode::Cancelled | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Logs and counts an error that is about to be shown, and takes away what a client must not see.
pub(crate) fn disclose(error: Error) -> Error {
    metrics::counter!("rag_errors_total", "type" => error.code.as_str()).increment(1);
    if status_of(error.code).is_server_error() {
        tracing::warn!(code = error.code.as_str(), error = error.chain(), "request failed");
    } else {
        tracing::debug!(code = error.code.as_str(), error = error.chain(), "request refused");
    }
    if error.code == ErrorCode::Internal { Error::internal("an internal error; the trace id names it") } else { error }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        Self {
            kind: format!("urn:ragstone:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail,
            code,
            trace_id: ragstone_telemetry::trace_id(),
            retry_after: None,
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What happened, in a sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// 405: the path exists, but not with this method.
    pub(crate) fn method_not_allowed(method: &http::Method) -> Self {
        let detail = format!("this path does not take {method}; the Allow header says what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let error = disclose(error);
        let status = status_of(error.code);
        let waits = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let retry_after = error.retry_after.or(waits.then_some(DEFAULT_WAIT));
        Self { retry_after, ..Self::new(status, error.code.as_str(), error.message) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For whoever has to tell it in another form.
        response.extensions_mut().insert(self);
        response
    }
}

/// Rounded up, and never 0, which clients take for "at once".
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_code_has_the_status_of_the_contract() {
        let expected = [400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 503, 503, 507, 500];
        for (code, status) in ErrorCode::ALL.into_iter().zip(expected) {
            assert_eq!(status_of(code).as_u16(), status, "{code:?}");
        }
    }

    #[tokio::test]
    async fn a_problem_has_the_documented_fields() {
        let response = Problem::from(Error::not_found("there is no job '7'")).into_response();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(!response.headers().contains_key("retry-after"));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let mut keys: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "detail", "status", "title", "trace_id", "type"]);
        assert_eq!(problem["status"], 404);
        assert_eq!(problem["code"], "not_found");
        assert_eq!(problem["detail"], "there is no job '7'");
    }

    #[test]
    fn what_may_work_later_says_when() {
        for (error, wait) in [
            (Error::unavailable("x"), Some("1")),
            (Error::deadline(), Some("1")),
            (Error::new(ErrorCode::RateLimited, "x").with_retry_after(Duration::from_millis(2001)), Some("3")),
            (Error::unavailable("x").with_retry_after(Duration::ZERO), Some("1")),
            (Error::conflict("x"), None),
            (Error::new(ErrorCode::StorageFull, "x"), None),
        ] {
            let response = Problem::from(error).into_response();
            let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!(header, wait);
        }
    }

    #[test]
    fn inner_details_stay_inside() {
        let problem = Problem::from(Error::internal("password is hunter2").with_source(Error::internal("table users")));
        assert!(!serde_json::to_string(&problem).unwrap().contains("hunter2"));
    }
}
