//! Text: extraction from document formats, chunking by structure, token counting and language detection.
//!
//! A document's way through this crate:
//!
//! 1. [`Extractor::extract`] turns bytes and a media type into [`Extracted`] text. Plain text and Markdown are read
//!    in process; HTML, PDF and DOCX are parsed by a child process with limits on memory, time and output, so the
//!    worst a hostile file can do is to fail its own job. The child is the running program itself, which therefore
//!    calls [`sandbox::run_if_requested`] before anything else in `main`.
//! 2. [`detect_language`] names the text's language when it is sure.
//! 3. [`Chunker::chunk`] cuts the text into `ragstone_core::Chunk`s, counted in the embedding model's own tokens by a
//!    [`TokenCounter`].
//!
//! Extraction in the child and everything in [`Chunker`] and [`TokenCounter`] burn CPU without awaiting: call the
//! latter two from a blocking thread.

mod chunk;
mod clean;
mod extract;
pub mod injection;
mod language;
mod limits;
mod markdown;
mod media;
mod refit;
pub mod sandbox;
mod sections;
mod splitter;
mod token_index;
mod tokens;
mod worker;

pub use chunk::{ChunkConfig, Chunker};
pub use clean::clean;
pub use extract::{Extracted, TextFormat};
pub use language::detect as detect_language;
pub use limits::ExtractLimits;
pub use media::{media_type_for_path, supported};
pub use sandbox::Extractor;
pub use tokens::TokenCounter;
