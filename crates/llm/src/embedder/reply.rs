//! A server's answer read into vectors that can be used: as many as asked for, in order, of the right length, not zero.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ragstone_core::{Error, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Item {
    /// Its text's place; servers that leave it out answer in order.
    index: Option<usize>,
    embedding: Embedding,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Embedding {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
}

/// Unit-length vectors in the order of the texts, and how many tokens the server counted, if it says.
///
/// # Errors
/// `Unavailable` for an answer that is not whole; `Internal` for vectors that no search can use.
pub(super) fn vectors(body: &[u8], count: usize, dimension: usize) -> Result<(Vec<Vec<f32>>, Option<u32>)> {
    let reply: Reply = serde_json::from_slice(body).map_err(|e| {
        Error::unavailable("the model's server sent something that is no list of vectors").with_source(e)
    })?;
    let found = reply.data.len();
    if found != count {
        return Err(invalid(Error::unavailable(format!("the model's server sent {found} vectors for {count} texts"))));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, item) in reply.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(place);
        match vectors.get_mut(index) {
            Some(free @ None) => *free = Some(unit(item.embedding, dimension)?),
            _ => return Err(invalid(Error::unavailable(format!("the model's server sent vector {index} twice")))),
        }
    }
    let tokens = reply.usage.map(|usage| usage.prompt_tokens).filter(|tokens| *tokens > 0);
    Ok((vectors.into_iter().flatten().collect(), tokens))
}

fn unit(embedding: Embedding, dimension: usize) -> Result<Vec<f32>> {
    let mut values = match embedding {
        Embedding::Numbers(values) => values,
        Embedding::Base64(text) => decode(&text)?,
    };
    let found = values.len();
    if found != dimension {
        let told = format!("the model's vectors have {found} numbers, but the key dimension says {dimension}");
        return Err(invalid(Error::internal(told)));
    }
    let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
        return Err(invalid(Error::internal("a vector of the model is not finite or has no length")));
    }
    for value in &mut values {
        *value = (f64::from(*value) / length) as f32;
    }
    Ok(values)
}

fn decode(text: &str) -> Result<Vec<f32>> {
    let broken = || Error::unavailable("the model's server sent a vector that is no base64 of 32-bit numbers");
    let bytes = STANDARD.decode(text).map_err(|e| broken().with_source(e))?;
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(broken());
    }
    Ok(values.iter().copied().map(f32::from_le_bytes).collect())
}

fn invalid(error: Error) -> Error {
    metrics::counter!("rag_errors_total", "type" => "embedding_invalid").increment(1);
    error
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use ragstone_core::ErrorCode;
    use serde_json::{Value, json};

    use super::*;

    fn read(reply: &Value) -> Result<(Vec<Vec<f32>>, Option<u32>)> {
        vectors(reply.to_string().as_bytes(), 2, 2)
    }

    #[test]
    fn vectors_come_in_the_texts_order_and_of_unit_length() {
        let base64 = STANDARD.encode([0.0_f32, -2.0].map(f32::to_le_bytes).concat());
        let reply = json!({"data": [
            {"object": "embedding", "index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": base64},
        ], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
        assert_eq!(read(&reply).unwrap(), (vec![vec![0.0, -1.0], vec![0.6, 0.8]], Some(7)));
        let bare = json!({"data": [{"embedding": [1, 0]}, {"embedding": [0, 1e-20]}]});
        assert_eq!(read(&bare).unwrap(), (vec![vec![1.0, 0.0], vec![0.0, 1.0]], None));
        // Large ones do not overflow on the way.
        let large = json!({"data": [{"embedding": [3e38, 0]}, {"embedding": [3e38, 3e38]}]});
        assert!((read(&large).unwrap().0[1][0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_no_search_can_use_is_refused() {
        let good = json!({"index": 0, "embedding": [1.0, 0.0]});
        let with = |other: Value| json!({"data": [good, other]});
        for (reply, code) in [
            (with(json!({"index": 1, "embedding": [1.0]})), ErrorCode::Internal),
            (with(json!({"index": 1, "embedding": [1.0, 0.0, 0.0]})), ErrorCode::Internal),
            (with(json!({"index": 1, "embedding": [0.0, 0.0]})), ErrorCode::Internal),
            (with(json!({"index": 1, "embedding": [1e39, 0.0]})), ErrorCode::Internal),
            (
                with(json!({"index": 1, "embedding": STANDARD.encode([f32::NAN, 1.0].map(f32::to_le_bytes).concat())})),
                ErrorCode::Internal,
            ),
            (with(json!({"index": 1, "embedding": [null, 1.0]})), ErrorCode::Unavailable),
            (with(json!({"index": 1, "embedding": [[1.0, 0.0]]})), ErrorCode::Unavailable),
            (with(json!({"index": 1, "embedding": "???"})), ErrorCode::Unavailable),
            (with(json!({"index": 1, "embedding": "AAAA"})), ErrorCode::Unavailable),
            (with(json!({"index": 0, "embedding": [1.0, 0.0]})), ErrorCode::Unavailable),
            (with(json!({"index": 2, "embedding": [1.0, 0.0]})), ErrorCode::Unavailable),
            (json!({"data": [good]}), ErrorCode::Unavailable),
            (json!({"data": [good, good, good]}), ErrorCode::Unavailable),
            (json!({"object": "list"}), ErrorCode::Unavailable),
        ] {
            assert_eq!(read(&reply).unwrap_err().code, code, "{reply}");
        }
        assert_eq!(vectors(b"{\"data\": [{\"embedding\": [NaN]", 1, 1).unwrap_err().code, ErrorCode::Unavailable);
    }
}
