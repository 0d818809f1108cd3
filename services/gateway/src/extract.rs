//! Reading paths, query strings and JSON bodies strictly, with every refusal a problem document.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use http::{HeaderMap, header};
use ragstone_core::{DocumentId, Error, ErrorCode, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body;
use crate::problem::Problem;

/// The largest JSON body of a search or a query; the text in it has its own, far smaller limit.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// The document id in the path: one percent-encoded segment.
pub(crate) struct DocumentPath(pub DocumentId);

impl<S: Send + Sync> FromRequestParts<S> for DocumentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let IdPath(id) = IdPath::from_request_parts(parts, state).await?;
        Ok(Self(DocumentId::new(id)?))
    }
}

/// Any id in the path.
pub(crate) struct IdPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}

/// The query string, unknown parameters refused (by `T`).
pub(crate) struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}

/// The JSON body of a search or query.
///
/// # Errors
/// `UnsupportedMediaType`, `TooLarge`, or `InvalidArgument` with the position of the fault.
pub(crate) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T> {
    let bytes = body::read(headers, body, MAX_JSON_BYTES).await?;
    let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(Error::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"));
    }
    parse_json(&bytes)
}

/// `bytes` as `T`.
///
/// # Errors
/// `InvalidArgument` with line and column of the fault.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("the JSON is not as it should be: {e}")))
}

/// The page of a list: `?limit=&cursor=&status=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) limit: Option<u32>,
    #[serde(default)]
    pub(crate) cursor: String,
    pub(crate) status: Option<String>,
}

/// A page size of 1 to 1,000; 0 (the service's default) when absent.
///
/// # Errors
/// `InvalidArgument` outside these bounds.
pub(crate) fn page_limit(limit: Option<u32>) -> Result<u32> {
    match limit {
        None => Ok(0),
        Some(limit @ 1..=1000) => Ok(limit),
        Some(limit) => Err(Error::invalid(format!("limit is {limit}; it must lie within 1 and 1000"))),
    }
}
