//! The API's reference: the OpenAPI document at `/openapi.json`, and a page at `/docs` that shows it. Its files are part
//! of the program and load nothing from elsewhere.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};
use ragstone_core::Error;
use utoipa_swagger_ui::Config;

use crate::openapi::openapi_document;
use crate::problem::Problem;

/// What the page may do: run its own scripts and call its own server. Swagger UI has its icons in `data:` URLs; nothing
/// within the page runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI is large and changes with a release only.
const A_DAY: &str = "public, max-age=86400";
const PAGE: &str = include_str!("reference/index.html");
const START: &str = include_str!("reference/start.js");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The document, the page and its files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/openapi.json", get(document))
        .route("/docs", get(|| async { serve(HTML, PAGE) }))
        .route("/docs/{name}", get(|Path(name): Path<String>| async move { file(&name) }))
}

/// Written once: it is large, and everybody may ask for it.
static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| openapi_document().map_err(|e| e.to_string()));

async fn document() -> Response {
    match &*DOCUMENT {
        Ok(document) => serve("application/json", document.as_str()),
        Err(error) => {
            let error = Error::internal(format!("the OpenAPI document cannot be written: {error}"));
            Problem::from(error).into_response()
        }
    }
}

fn file(name: &str) -> Response {
    match name {
        "start.js" => serve(SCRIPT, START),
        "swagger-ui.css" => library(name, "text/css; charset=utf-8"),
        "swagger-ui-bundle.js" => library(name, SCRIPT),
        _ => absent(),
    }
}

/// A file of Swagger UI.
fn library(name: &str, media_type: &'static str) -> Response {
    match utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))) {
        Ok(Some(file)) => {
            let mut response = serve(media_type, file.bytes);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(A_DAY));
            response
        }
        _ => absent(),
    }
}

fn absent() -> Response {
    Problem::from(Error::not_found("there is no such file")).into_response()
}

/// A browser asks each time whether there is a new version.
fn serve(media_type: &'static str, body: impl axum::response::IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use tower::ServiceExt as _;

    async fn fetch(path: &str) -> (StatusCode, http::HeaderMap, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = router::<()>().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 10_000_000).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn the_page_and_its_files_are_served_under_a_strict_policy() {
        for (path, media_type, holds) in [
            ("/docs", HTML, "<div id=\"reference\">"),
            ("/docs/start.js", SCRIPT, "SwaggerUIBundle"),
            ("/docs/swagger-ui-bundle.js", SCRIPT, "SwaggerUIBundle"),
            ("/docs/swagger-ui.css", "text/css; charset=utf-8", ".swagger-ui"),
            ("/openapi.json", "application/json", "\"openapi\": \"3.1.0\""),
        ] {
            let (status, headers, body) = fetch(path).await;
            assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &media_type.parse().unwrap()), "{path}");
            assert_eq!(headers["content-security-policy"], POLICY);
            assert!(body.contains(holds), "{path}");
        }
        assert_eq!(fetch("/docs/index.html").await.0, StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_page_runs_nothing_inline_and_names_no_other_server() {
        assert!(!PAGE.contains("<script>") && !PAGE.contains(" on") && !PAGE.contains("://") && !START.contains("://"));
    }
}
