//! The playground: one page over the public API. Its files are part of the program and load nothing from elsewhere.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ragstone_core::Error;

use crate::problem::Problem;

/// What the page may do: load its own files and call its own server. Nothing within the page runs, nothing frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static str,
}

const PAGE: Asset = Asset { name: "", media_type: HTML, body: include_str!("playground/index.html") };
const ASSETS: [Asset; 9] = [
    Asset { name: "style.css", media_type: "text/css; charset=utf-8", body: include_str!("playground/style.css") },
    Asset { name: "icon.svg", media_type: "image/svg+xml", body: include_str!("playground/icon.svg") },
    Asset { name: "main.js", media_type: SCRIPT, body: include_str!("playground/main.js") },
    Asset { name: "api.js", media_type: SCRIPT, body: include_str!("playground/api.js") },
    Asset { name: "ask.js", media_type: SCRIPT, body: include_str!("playground/ask.js") },
    Asset { name: "documents.js", media_type: SCRIPT, body: include_str!("playground/documents.js") },
    Asset { name: "dom.js", media_type: SCRIPT, body: include_str!("playground/dom.js") },
    Asset { name: "passage.js", media_type: SCRIPT, body: include_str!("playground/passage.js") },
    Asset { name: "status.js", media_type: SCRIPT, body: include_str!("playground/status.js") },
];

/// The page at `/` and its files at `/assets/`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(|headers: HeaderMap| async move { serve(&PAGE, &headers) })).route(
        "/assets/{name}",
        get(|Path(name): Path<String>, headers: HeaderMap| async move {
            match ASSETS.iter().find(|asset| asset.name == name) {
                Some(asset) => serve(asset, &headers),
                None => Problem::from(Error::not_found("there is no such file")).into_response(),
            }
        }),
    )
}

/// A browser keeps the file, and asks each time whether it is still the same: a new version shows at once.
fn serve(asset: &Asset, request: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(asset.body.as_bytes()).to_hex()[..16]);
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    async fn get_with(path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        router::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn everything_the_page_names_is_served_under_the_strict_policy() {
        let mut named: Vec<String> =
            PAGE.body.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned).collect();
        for asset in ASSETS.iter().filter(|asset| asset.media_type == SCRIPT) {
            let imports = asset.body.lines().filter(|line| line.starts_with("import "));
            let files = imports.filter_map(|line| line.split("\"./").nth(1)?.split('"').next());
            named.extend(files.map(|file| format!("/assets/{file}")));
        }
        assert!(named.len() > 10, "{named:?}");
        named.push("/".to_owned());
        for path in named {
            let response = get_with(&path, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()["content-security-policy"], POLICY);
            let again = get_with(&path, response.headers().get(header::ETAG)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        }
        assert_eq!(get_with("/assets/other.js", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_page_runs_nothing_inline_and_parses_no_html() {
        assert!(!PAGE.body.contains("<style") && !PAGE.body.contains(" style=") && !PAGE.body.contains(" on"));
        for asset in &ASSETS {
            for way in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"]
            {
                let namespace = asset.name == "icon.svg" && way == "http://";
                assert!(namespace || !asset.body.contains(way), "{}: {way}", asset.name);
            }
        }
    }
}
