//! `POST /v1/vector_stores/{id}/search`: the search, for clients of OpenAI's retrieval API. The caller's documents are
//! one store, named `ragstone`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use ragstone_core::{Condition, Error, Filter, Hit, Predicate, Result, Scalar, Scope};
use serde::Deserialize;
use serde_json::{Value, json};

use super::view::MODEL;
use crate::app::App;
use crate::extract::{self, IdPath};
use crate::openapi::errors::{Absent, Guarded, JsonBody, Limited, Unusable};
use crate::openapi::theirs::{AttributeFilter, VectorStorePage};
use crate::problem::Problem;
use crate::query::SearchInput;
use crate::search::search;

/// What OpenAI finds without being told how many.
const DEFAULT_RESULTS: u32 = 10;
const MAX_RESULTS: u32 = 50;

/// A request.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = VectorStoreRequest, example = json!({
    "query": "bell",
    "filters": { "type": "gte", "key": "year", "value": 1600 },
}))]
pub(crate) struct Request {
    query: Query,
    #[serde(default)]
    #[schema(value_type = Option<AttributeFilter>)]
    filters: Option<Compared>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 50)]
    max_num_results: Option<u32>,
    #[serde(default)]
    ranking_options: Option<Ranking>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = VectorStoreQuery)]
enum Query {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = VectorStoreRanking)]
struct Ranking {
    #[serde(default)]
    score_threshold: Option<f32>,
}

/// OpenAI's filters: a comparison, or several joined.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Compared {
    Joined {
        #[serde(rename = "type")]
        how: Join,
        filters: Vec<Compared>,
    },
    One {
        #[serde(rename = "type")]
        how: Comparison,
        key: String,
        value: Value,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Join {
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Nin,
}

impl Compared {
    /// As our own filter, which is one level deep.
    ///
    /// # Errors
    /// `InvalidArgument` for one that is deeper.
    fn filter(self) -> Result<Filter> {
        let mut filter = Filter::default();
        match self {
            Self::Joined { filters, .. } if filters.is_empty() => {
                return Err(Error::invalid("filters: an 'and' or 'or' of nothing says nothing"));
            }
            Self::Joined { how: Join::And, filters } => {
                for one in filters {
                    let mut inner = one.filter()?;
                    if !inner.should.is_empty() && !filter.should.is_empty() {
                        return Err(too_deep());
                    }
                    filter.must.append(&mut inner.must);
                    filter.must_not.append(&mut inner.must_not);
                    filter.should.append(&mut inner.should);
                }
            }
            Self::Joined { how: Join::Or, filters } => {
                for one in filters {
                    let inner = one.filter()?;
                    match (<[Condition; 1]>::try_from(inner.must), inner.must_not.len() + inner.should.len()) {
                        (Ok([condition]), 0) => filter.should.push(condition),
                        _ => return Err(too_deep()),
                    }
                }
            }
            Self::One { how, key, value } => {
                let condition = Condition { key: format!("metadata.{key}"), predicate: predicate(how, &key, value)? };
                let negative = matches!(how, Comparison::Ne | Comparison::Nin);
                if negative { filter.must_not.push(condition) } else { filter.must.push(condition) }
            }
        }
        Ok(filter)
    }
}

fn too_deep() -> Error {
    Error::invalid("filters can be one comparison, an 'and' of comparisons, or an 'or' of positive ones; no deeper")
}

fn predicate(how: Comparison, key: &str, value: Value) -> Result<Predicate> {
    let unusable = || Error::invalid(format!("filters: the value of '{key}' does not fit its comparison"));
    let scalar = |value: Value| match value {
        Value::Bool(truth) => Ok(Scalar::Bool(truth)),
        Value::String(text) => Ok(Scalar::Text(text)),
        Value::Number(number) => number.as_i64().map(Scalar::Integer).ok_or_else(unusable),
        _ => Err(unusable()),
    };
    let range = |gte, gt, lte, lt| Ok(Predicate::Range { gte, gt, lte, lt });
    let number = value.as_f64();
    match how {
        Comparison::Eq | Comparison::Ne => {
            // A number with a fraction is equal where it is neither less nor greater.
            match number.filter(|number| number.fract() != 0.0) {
                Some(number) => range(Some(number), None, Some(number), None),
                None => Ok(Predicate::AnyOf(vec![scalar(value)?])),
            }
        }
        Comparison::In | Comparison::Nin => match value {
            Value::Array(values) if !values.is_empty() => {
                Ok(Predicate::AnyOf(values.into_iter().map(scalar).collect::<Result<_>>()?))
            }
            _ => Err(unusable()),
        },
        Comparison::Gt => range(None, Some(number.ok_or_else(unusable)?), None, None),
        Comparison::Gte => range(Some(number.ok_or_else(unusable)?), None, None, None),
        Comparison::Lt => range(None, None, None, Some(number.ok_or_else(unusable)?)),
        Comparison::Lte => range(None, None, Some(number.ok_or_else(unusable)?), None),
    }
}

/// `POST /v1/vector_stores/{id}/search`
#[utoipa::path(
    post, path = "/v1/vector_stores/{id}/search", operation_id = "search_vector_store", tag = "openai",
    summary = "The passages that fit best, as OpenAI's retrieval has it",
    params(("id" = String, Path, description = "`ragstone`: the caller's documents", example = "ragstone")),
    request_body = Request,
    responses(
        (status = 200, description = "Best first", body = VectorStorePage),
        Guarded, JsonBody, Absent, Unusable, Limited,
    ),
)]
pub(crate) async fn rest(
    State(app): State<Arc<App>>,
    IdPath(store): IdPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let work = async {
        if store != MODEL {
            return Err(Error::not_found(format!("there is no vector store '{store}'; yours is '{MODEL}'")));
        }
        let Request { query, filters, max_num_results, ranking_options } = extract::json(&headers, body).await?;
        let query = match query {
            Query::One(query) => query,
            Query::Many(queries) => queries.join("\n"),
        };
        let k = max_num_results.unwrap_or(DEFAULT_RESULTS);
        if !(1..=MAX_RESULTS).contains(&k) {
            return Err(Error::invalid(format!("max_num_results is {k}; it must lie within 1 and {MAX_RESULTS}")));
        }
        let filter = filters.map(Compared::filter).transpose()?;
        let asked = query.clone();
        let input = SearchInput { query, k: Some(k), filter, ..SearchInput::default() };
        let found = search(&app, &caller, input, deadline).await?;
        let least = ranking_options.and_then(|options| options.score_threshold).unwrap_or(f32::MIN);
        let hits = found.result.hits.into_iter().filter(|hit| hit.score >= least);
        Ok(json!({
            "object": "vector_store.search_results.page", "search_query": [asked], "data": hits.map(view).collect::<Vec<_>>(),
            "has_more": false, "next_page": null, "ragstone": { "degraded": found.trail.degraded },
        }))
    };
    Ok(Json(deadline.run(work).await?))
}

fn view(hit: Hit) -> Value {
    let id = hit.document_id.to_string();
    let name = if hit.title.is_empty() { id.clone() } else { hit.title };
    json!({
        "file_id": id, "filename": name, "score": hit.score, "attributes": hit.metadata,
        "content": [{ "type": "text", "text": hit.content }],
        "ragstone": { "version": hit.version, "chunk_index": hit.chunk_index },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn filter(value: Value) -> Result<Value> {
        let filter = serde_json::from_value::<Compared>(value).unwrap().filter()?;
        Ok(serde_json::to_value(filter).unwrap())
    }

    #[test]
    fn their_filters_become_ours() {
        let eq = json!({"type": "eq", "key": "lang", "value": "de"});
        let condition = json!({"key": "metadata.lang", "match": "de"});
        assert_eq!(filter(eq.clone()).unwrap(), json!({"must": [condition.clone()]}));
        let ne = json!({"type": "ne", "key": "lang", "value": "de"});
        let since = json!({"type": "gte", "key": "year", "value": 2020});
        let and = filter(json!({"type": "and", "filters": [since, ne]})).unwrap();
        assert_eq!(and["must"][0]["gte"], 2020.0);
        assert_eq!(and["must_not"], json!([condition.clone()]));
        let or = filter(json!({"type": "or", "filters": [eq, {"type": "in", "key": "n", "value": [1, 2]}]})).unwrap();
        assert_eq!(or["should"].as_array().unwrap().len(), 2);
        assert_eq!(or["should"][0], condition);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let ne = json!({"type": "ne", "key": "a", "value": 1});
        let and = json!({"type": "and", "filters": [ne.clone(), ne.clone()]});
        for bad in [
            json!({"type": "or", "filters": [ne]}),
            json!({"type": "or", "filters": [and]}),
            json!({"type": "gt", "key": "a", "value": "x"}),
            json!({"type": "in", "key": "a", "value": []}),
            json!({"type": "eq", "key": "a", "value": {}}),
        ] {
            assert!(filter(bad.clone()).is_err(), "{bad}");
        }
    }
}
