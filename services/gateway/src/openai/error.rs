//! Errors of the OpenAI routes in OpenAI's own form: `{"error": {"message", "type", "param", "code"}}`.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::problem::Problem;

/// Paths whose clients expect this form.
const PATHS: [&str; 5] = ["/v1/chat/", "/v1/responses", "/v1/embeddings", "/v1/models", "/v1/vector_stores/"];

/// Whether OpenAI has this path too.
pub(crate) fn is_theirs(path: &str) -> bool {
    PATHS.iter().any(|theirs| path.starts_with(theirs))
}

/// Middleware around everything: what failed on one of those paths is told in OpenAI's form, wherever it failed.
pub(crate) async fn translate(request: Request, next: Next) -> Response {
    let ours = is_theirs(request.uri().path());
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if ours => {
            let body = axum::Json(object(problem));
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.remove(header::CONTENT_TYPE);
            let mut translated = body.into_response();
            *translated.status_mut() = parts.status;
            translated.headers_mut().extend(parts.headers);
            translated
        }
        _ => response,
    }
}

/// The error object of a problem.
pub(crate) fn object(problem: &Problem) -> Value {
    let kind = match problem.status() {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    // What SDKs look for.
    let code = match problem.code() {
        "rate_limited" => "rate_limit_exceeded",
        "unauthenticated" => "invalid_api_key",
        code => code,
    };
    json!({ "error": { "message": problem.detail(), "type": kind, "param": null, "code": code } })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::post;
    use ragstone_core::{Error, ErrorCode};
    use tower::ServiceExt as _;

    async fn answer(path: &str) -> (StatusCode, http::HeaderMap, Value) {
        let fail = || async {
            let error = Error::new(ErrorCode::RateLimited, "too many questions");
            Problem::from(error.with_retry_after(std::time::Duration::from_secs(7)))
        };
        let router = Router::new()
            .route("/v1/chat/completions", post(fail))
            .route("/v1/query", post(fail))
            .layer(axum::middleware::from_fn(translate));
        let response = router.oneshot(http::Request::post(path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn only_their_paths_get_their_form() {
        let (status, headers, body) = answer("/v1/chat/completions").await;
        assert_eq!(
            (status.as_u16(), &headers["retry-after"], &headers["content-type"]),
            (429, &"7".parse().unwrap(), &"application/json".parse().unwrap())
        );
        assert_eq!(
            body["error"],
            json!({"message": "too many questions", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"})
        );
        let (_, headers, body) = answer("/v1/query").await;
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(body["code"], "rate_limited");
    }
}
