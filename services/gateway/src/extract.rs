//! Reading paths, query strings and JSON bodies strictly, with every refusal a problem document.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use http::{HeaderMap, header};
use ragstone_core::{DocumentId, Error, ErrorCode, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::body;
use crate::problem::Problem;

/// The largest JSON body of a search or a query; the text in it has its own, far smaller limit.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// The document id in the path: one percent-encoded segment.
#[derive(utoipa::IntoParams)]
#[into_params(names("id"), parameter_in = Path)]
pub(crate) struct DocumentPath(
    #[param(value_type = String, min_length = 1, max_length = 512, example = "handbook")] pub DocumentId,
);

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
    // A derived type would also take a list of its fields.
    let (space, value) = bytes.split_at(bytes.len() - bytes.trim_ascii_start().len());
    if value.starts_with(b"[") {
        let lines = space.iter().filter(|byte| **byte == b'\n').count();
        let column = space.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let place = format!("line {} column {column}", lines + 1);
        return Err(Error::invalid(format!("the JSON is not as it should be: a list instead of an object at {place}")));
    }
    parse_json(&bytes)
}

/// A field that is an object or nothing; a derived type would also take a list of its fields.
///
/// # Errors
/// For anything else.
pub(crate) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(fields) = Option::<serde_json::Map<String, Value>>::deserialize(deserializer)? else { return Ok(None) };
    T::deserialize(Value::Object(fields)).map(Some).map_err(serde::de::Error::custom)
}

/// `bytes` as `T`.
///
/// # Errors
/// `InvalidArgument` with line and column of the fault.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("the JSON is not as it should be: {e}")))
}

/// The page of a list: `?limit=&cursor=&status=`
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The most items, 1 to 1,000.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
    /// Where the page before has ended: its `next_cursor`.
    #[serde(default)]
    #[param(required = false)]
    pub(crate) cursor: String,
    /// Only those in this state.
    #[param(ignore)]
    pub(crate) status: Option<String>,
}

/// Some items, which are all there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Items<T> {
    /// Each of them.
    pub(crate) items: Vec<T>,
}

/// A page of items.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Listed<T> {
    /// Those of this page.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub(crate) next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// What a service has listed, as items; it says with an empty text that there is no more.
    pub(crate) fn new<I: Into<T>>(items: Vec<I>, next_cursor: String) -> Self {
        let next_cursor = Some(next_cursor).filter(|cursor| !cursor.is_empty());
        Self { items: items.into_iter().map(Into::into).collect(), next_cursor }
    }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Inner {
        #[serde(default)]
        a: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(default, deserialize_with = "object")]
        inner: Option<Inner>,
    }

    async fn read(body: &'static str) -> Result<Outer> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        json(&headers, Body::from(body)).await
    }

    #[tokio::test]
    async fn objects_are_objects_and_no_lists_of_their_fields() {
        assert_eq!(read(r#" {"inner": {"a": 1}}"#).await.unwrap().inner, Some(Inner { a: 1 }));
        assert_eq!(read(r#"{"inner": null}"#).await.unwrap().inner, None);
        assert_eq!(read("{}").await.unwrap().inner, None);
        for list in [r#"[{"a": 1}]"#, r#"{"inner": [1]}"#, r#"{"inner": []}"#, "[]", "null", "7", ""] {
            assert_eq!(read(list).await.unwrap_err().code, ErrorCode::InvalidArgument, "{list}");
        }
        assert!(read("\n\n  []").await.unwrap_err().message.ends_with("at line 3 column 3"));
    }
}
