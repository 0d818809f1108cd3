//! What can go wrong between a text and its vector.

use ragstone_core::Error;

/// A failure of tokenisation or inference. It may concern several callers, so each gets its own [`Error`] made from it.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("text {index} is empty")]
    Empty { index: usize },
    #[error("text {index} has {tokens} tokens; the model reads at most {limit}")]
    TooLong { index: usize, tokens: usize, limit: usize },
    #[error("the model's {part} cannot be loaded: {reason}")]
    Load { part: &'static str, reason: String },
    #[error("the text cannot be tokenised: {0}")]
    Tokenise(String),
    #[error("inference failed: {0}")]
    Inference(String),
    #[error("the model answered with shape {found:?} instead of {wanted:?}")]
    Shape { found: Vec<usize>, wanted: [usize; 3] },
    #[error("the vector is not finite or has no length")]
    Invalid,
    #[error("a panic was contained: {0}")]
    Panic(String),
}

impl EncodeError {
    /// What a caller gets to see; faults of the model keep their reason for the log.
    pub(super) fn reply(&self) -> Error {
        match self {
            Self::Empty { .. } | Self::TooLong { .. } => Error::invalid(self.to_string()),
            _ => Error::internal("the embedding model failed").with_source(self.to_string()),
        }
    }
}
