//! What extraction may cost: the `ExtractLimits` configuration section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of text extraction. A document that exceeds one fails with a reason that names the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractLimits {
    /// The largest document, in bytes.
    pub max_bytes: usize,
    /// The longest extracted text, in bytes of UTF-8.
    pub max_text_bytes: usize,
    /// How many times larger than the file the unpacked content of a DOCX may be.
    pub max_expansion: u64,
    /// The most pages of a PDF.
    pub max_pages: usize,
    /// The most memory that parsing one document may use, in bytes.
    pub memory_bytes: u64,
    /// The longest time that parsing one document may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for ExtractLimits {
    fn default() -> Self {
        Self {
            max_bytes: 50 << 20,
            max_text_bytes: 20 << 20,
            max_expansion: 100,
            max_pages: 2000,
            memory_bytes: 1 << 30,
            timeout_ms: 30_000,
        }
    }
}
