//! `POST /v1/embeddings`: the embedding model itself, for clients that index elsewhere or compare texts.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use base64::Engine as _;
use http::HeaderMap;
use ragstone_core::{Error, Principal, Result, Scope};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::backends::failed;
use crate::extract;
use crate::limits;
use crate::openapi::errors::{Absent, Guarded, JsonBody, Limited, Unusable};
use crate::openapi::theirs::{Embeddings, OneOrManyTexts};
use crate::problem::Problem;

/// As OpenAI has it.
const MAX_INPUTS: usize = 2048;
/// What the embedding service takes at a time.
const BATCH: usize = 100;
/// Bytes of a token, where tokens are only counted for the bill.
const BYTES_PER_TOKEN: usize = 4;

/// A request.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = EmbeddingRequest, example = json!({ "model": "all-MiniLM-L6-v2", "input": ["a bell", "a gate"] }))]
pub(crate) struct Request {
    model: String,
    #[schema(value_type = OneOrManyTexts)]
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    #[serde(default)]
    dimensions: Option<u32>,
    #[serde(default, deserialize_with = "extract::object")]
    ragstone: Option<Options>,
}

/// Beyond OpenAI's fields: what the texts are embedded for.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = EmbeddingOptions)]
struct Options {
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EmbeddingKind)]
enum Kind {
    Query,
    #[default]
    Passage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EmbeddingEncoding)]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
    Tokens(#[expect(dead_code, reason = "only told apart, to be refused")] Value),
}

/// The answer, written as it is: thousands of vectors are too much to be taken apart first.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Tokens,
}

#[derive(Debug, Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Encoded,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Encoded {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize)]
struct Tokens {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl Input {
    fn texts(self) -> Result<Vec<String>> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
            Self::Tokens(_) => return Err(Error::invalid("input must be a text or a list of texts, not tokens")),
        };
        if texts.is_empty() || texts.len() > MAX_INPUTS {
            return Err(Error::invalid(format!("input holds {} texts; 1 to {MAX_INPUTS} are taken", texts.len())));
        }
        match texts.iter().position(|text| text.trim().is_empty()) {
            Some(n) => Err(Error::invalid(format!("input {n} is empty"))),
            None => Ok(texts),
        }
    }
}

/// `POST /v1/embeddings`
#[utoipa::path(
    post, path = "/v1/embeddings", operation_id = "embed", tag = "openai",
    summary = "Vectors of texts, by the embedding model",
    request_body = Request,
    responses((status = 200, description = "One for each text", body = Embeddings), Guarded, JsonBody, Absent, Unusable, Limited),
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let caller = app.authenticate(&headers, Scope::Query).await?;
    let deadline = app.deadline();
    let work = async {
        let request: Request = extract::json(&headers, body).await?;
        answer(&app, &caller, request, deadline).await
    };
    Ok(Json(deadline.run(work).await?))
}

async fn answer(app: &App, caller: &Principal, wanted: Request, deadline: Deadline) -> Result<Answer> {
    let Request { model, input, encoding_format, dimensions, ragstone } = wanted;
    let texts = input.texts()?;
    let tokens: usize = texts.iter().map(|text| text.len().div_ceil(BYTES_PER_TOKEN)).sum();
    app.admit(caller, limits::Kind::Query { tokens: tokens as u64 }).await?;
    let kind = match ragstone.unwrap_or_default().kind {
        Kind::Query => v1::EmbedKind::Query,
        Kind::Passage => v1::EmbedKind::Passage,
    };
    let mut data = Vec::with_capacity(texts.len());
    for batch in texts.chunks(BATCH) {
        let message = v1::EmbedRequest { texts: batch.to_vec(), kind: kind.into(), model: model.clone() };
        let answer = app.backends.embedding.clone().embed(request(message, deadline)).await;
        for vector in answer.map_err(failed("embedding"))?.into_inner().vectors {
            if let Some(wanted) = dimensions
                && wanted as usize != vector.values.len()
            {
                let message = format!("dimensions is {wanted}; this model makes {}", vector.values.len());
                return Err(Error::invalid(message));
            }
            let embedding = encode(vector.values, encoding_format);
            data.push(Embedding { object: "embedding", index: data.len(), embedding });
        }
    }
    Ok(Answer { object: "list", data, model, usage: Tokens { prompt_tokens: tokens, total_tokens: tokens } })
}

/// As numbers, or as the base64 of little-endian 32-bit floats.
fn encode(values: Vec<f32>, encoding: Encoding) -> Encoded {
    match encoding {
        Encoding::Float => Encoded::Float(values),
        Encoding::Base64 => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Encoded::Base64(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn texts(input: Value) -> Result<Vec<String>> {
        serde_json::from_value::<Input>(input).unwrap().texts()
    }

    #[test]
    fn texts_are_taken_and_nothing_else() {
        assert_eq!(texts(json!("a")).unwrap(), ["a"]);
        assert_eq!(texts(json!(["a", "b"])).unwrap(), ["a", "b"]);
        for (input, says) in [
            (json!([]), "0 texts"),
            (json!(["a", " "]), "input 1 is empty"),
            (json!([1, 2]), "not tokens"),
            (json!([[1, 2]]), "not tokens"),
            (json!(vec!["a"; 2049]), "2049 texts"),
        ] {
            assert!(texts(input).unwrap_err().message.contains(says), "{says}");
        }
    }

    #[test]
    fn base64_is_little_endian_floats() {
        assert_eq!(encode(vec![1.0, -2.0], Encoding::Base64), Encoded::Base64("AACAPwAAAMA=".to_owned()));
        assert_eq!(encode(vec![1.0, -2.0], Encoding::Float), Encoded::Float(vec![1.0, -2.0]));
    }
}
