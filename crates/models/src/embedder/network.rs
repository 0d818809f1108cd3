//! The model itself: tokenizer, network, mean pooling, unit length; as sentence-transformers computes it.

use std::sync::Arc;

use ragstone_core::Result;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use tokenizers::Tokenizer;

use super::error::EncodeError;
use crate::manifest::ModelSpec;

/// Turns one text into token ids, and several token sequences into vectors.
pub(super) trait Encoder: Send + Sync {
    /// The text's tokens with the special ones; `index` is only for the error.
    fn tokenise(&self, index: usize, text: &str) -> Result<Vec<u32>, EncodeError>;

    /// One vector for each sequence, computed on `pool`.
    fn encode(&self, batch: &[&[u32]], pool: &Arc<ThreadPool>) -> Result<Vec<Vec<f32>>, EncodeError>;
}

/// The network of all-MiniLM-L6-v2 without weights; `graphs/make_graph.py` writes it.
const GRAPH: &[u8] = include_bytes!("../../graphs/all-MiniLM-L6-v2.onnx");

/// Under this name the graph refers to the weights file.
const WEIGHTS: &str = "weights.data";

/// A BERT-like encoder, run by rten.
pub(super) struct Network {
    tokenizer: Tokenizer,
    model: Model,
    /// Token ids, and which of them are not padding.
    inputs: [NodeId; 2],
    output: NodeId,
    dimension: usize,
    max_tokens: usize,
    special_tokens: usize,
}

impl Network {
    /// Parses both files and runs the model once, which shows that it works and warms it up.
    pub(super) fn load(spec: &ModelSpec, weights: Vec<u8>, tokenizer_json: &[u8]) -> Result<Self> {
        let network = Self::parse(spec, weights, tokenizer_json).map_err(|error| error.reply())?;
        let warm_up = network
            .tokenise(0, "warm")
            .and_then(|ids| network.encode(&[&ids], &Arc::new(ThreadPool::with_num_threads(1))));
        warm_up.map_err(|error| error.reply())?;
        Ok(network)
    }

    fn parse(spec: &ModelSpec, weights: Vec<u8>, tokenizer_json: &[u8]) -> Result<Self, EncodeError> {
        let unloadable = |part, error: &dyn std::fmt::Display| EncodeError::Load { part, reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(|error| unloadable("tokenizer", &error))?;
        // The file cuts at 128 tokens and pads to it; texts that are too long must be refused, not cut.
        tokenizer.with_padding(None).with_truncation(None).map_err(|error| unloadable("tokenizer", &error))?;
        // Packing the weights once makes a short question several times faster: they would be packed on every run.
        let mut options = ModelOptions::with_all_ops();
        let model = options.prepack_weights(true).external_data(WEIGHTS, weights).load_static_slice(GRAPH);
        let model = model.map_err(|error| unloadable("weights", &error))?;
        let node = |name| model.node_id(name).map_err(|error| unloadable("weights", &error));
        let inputs = [node("input_ids")?, node("attention_mask")?];
        let output = node("last_hidden_state")?;
        let (dimension, max_tokens, special_tokens) = (spec.dimension, spec.max_tokens, spec.special_tokens);
        Ok(Self { tokenizer, model, inputs, output, dimension, max_tokens, special_tokens })
    }
}

impl Encoder for Network {
    fn tokenise(&self, index: usize, text: &str) -> Result<Vec<u32>, EncodeError> {
        let encoding =
            self.tokenizer.encode_fast(text, true).map_err(|error| EncodeError::Tokenise(error.to_string()))?;
        let tokens = encoding.len().saturating_sub(self.special_tokens);
        let limit = self.max_tokens - self.special_tokens;
        match tokens {
            0 => Err(EncodeError::Empty { index }),
            _ if tokens > limit => Err(EncodeError::TooLong { index, tokens, limit }),
            _ => Ok(encoding.get_ids().to_vec()),
        }
    }

    fn encode(&self, batch: &[&[u32]], pool: &Arc<ThreadPool>) -> Result<Vec<Vec<f32>>, EncodeError> {
        let width = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = [batch.len(), width];
        let mut ids = vec![0; batch.len() * width];
        let mut mask = vec![0; batch.len() * width];
        for (row, tokens) in batch.iter().enumerate() {
            for (column, &token) in tokens.iter().enumerate() {
                // Token ids are indices into a vocabulary that fits 31 bits.
                ids[row * width + column] = token.cast_signed();
                mask[row * width + column] = 1;
            }
        }
        let failed = |error: &dyn std::fmt::Display| EncodeError::Inference(error.to_string());
        let mut inputs = Vec::with_capacity(2);
        for (node, data) in self.inputs.into_iter().zip([ids, mask]) {
            inputs.push((node, Value::from_shape(shape, data).map_err(|error| failed(&error))?.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
        let [hidden] = self.model.run_n(inputs, [self.output], Some(options)).map_err(|error| failed(&error))?;
        let (found, hidden) = hidden.into_shape_vec::<f32, 3>().map_err(|error| failed(&error))?;
        let wanted = [batch.len(), width, self.dimension];
        if found != wanted {
            return Err(EncodeError::Shape { found: found.to_vec(), wanted });
        }
        let rows = hidden.chunks_exact(width * self.dimension);
        Ok(rows.zip(batch).map(|(row, ids)| pool_mean(row, ids.len(), self.dimension)).collect())
    }
}

/// The mean over the first `tokens` positions, scaled to unit length.
fn pool_mean(hidden: &[f32], tokens: usize, dimension: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimension];
    for position in hidden.chunks_exact(dimension).take(tokens) {
        for (total, value) in sum.iter_mut().zip(position) {
            *total += value;
        }
    }
    // Dividing by the number of tokens would change the length only, which is set to one anyway.
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut sum {
        *value /= length;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_leaves_padding_out_and_gives_unit_length() {
        let pooled = pool_mean(&[1.0, 2.0, 2.0, 2.0, 100.0, 100.0], 2, 2);
        assert!((pooled[0] - 0.6).abs() < 1e-6 && (pooled[1] - 0.8).abs() < 1e-6, "{pooled:?}");
    }
}
