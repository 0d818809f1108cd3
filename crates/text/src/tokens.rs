//! Counting a text's tokens the way a model does.

use std::sync::Arc;

use ragstone_core::{Error, Result};
use tokenizers::{Encoding, Tokenizer};

/// Counts tokens with a model's own tokenizer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TokenCounter {
    tokenizer: Arc<Tokenizer>,
}

impl TokenCounter {
    /// A counter from the bytes of a `tokenizer.json` (the format of the `tokenizers` library). Truncation and padding
    /// that the file may ask for are switched off, so that every token counts and nothing else does.
    ///
    /// # Errors
    /// `InvalidArgument` when the file cannot be read, or when the tokenizer has no answer for unknown characters.
    pub fn from_tokenizer_json(json: &[u8]) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| Error::invalid(format!("cannot read the tokenizer: {error}")))?;
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::invalid(format!("cannot switch off truncation in the tokenizer: {error}")))?;
        tokenizer.with_padding(None);
        tokenizer
            .encode_fast("\u{2603} \u{10FFFD}zq", false)
            .map_err(|error| Error::invalid(format!("the tokenizer refuses unknown characters: {error}")))?;
        Ok(Self { tokenizer: Arc::new(tokenizer) })
    }

    /// A counter for a model whose tokenizer is not known: one token for every `bytes` bytes begun of each word or run of
    /// other characters. With few enough bytes that never counts less than the model itself does.
    ///
    /// # Errors
    /// `InvalidArgument` when `bytes` is 0.
    pub fn by_bytes(bytes: u32) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::invalid("a token has at least one byte"));
        }
        let pieces = serde_json::json!({
            "type": "Sequence",
            "pretokenizers": [
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
                {"type": "Split", "pattern": {"Regex": format!(".{{1,{bytes}}}")}, "behavior": "Isolated", "invert": false},
            ],
        });
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": pieces, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
        });
        Self::from_tokenizer_json(tokenizer.to_string().as_bytes())
    }

    /// How many tokens `text` has, special tokens not counted. A text the tokenizer refuses (checked against when it
    /// was loaded) counts as one token a byte, which no tokenizer exceeds.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.tokenizer.encode_fast(text, false).map_or(text.len(), |encoding| encoding.len())
    }

    /// The tokens of `text` with their places in it, in bytes.
    pub(crate) fn encode(&self, text: &str) -> Result<Encoding> {
        self.tokenizer
            .encode(text, false)
            .map_err(|error| Error::unprocessable(format!("the text cannot be turned into tokens: {error}")))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// A small WordPiece tokenizer as BERT has it, which also asks for truncation and padding.
    pub(crate) fn counter() -> TokenCounter {
        let mut words = vec!["[PAD]".to_owned(), "[UNK]".to_owned(), "[CLS]".to_owned(), "[SEP]".to_owned()];
        let letters = ('a'..='z').chain('0'..='9');
        words.extend(letters.flat_map(|letter| [letter.to_string(), format!("##{letter}")]));
        words.extend("#.,!?-*`:;()[]{}<>=_\"'/|中文".chars().map(String::from));
        words.extend(["the", "and", "word", "chunk", "##ing", "##ed", "head", "text"].map(str::to_owned));
        let vocabulary: serde_json::Map<_, _> =
            words.into_iter().enumerate().map(|(id, word)| (word, json!(id))).collect();
        let tokenizer = json!({
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": [{"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary},
        });
        TokenCounter::from_tokenizer_json(tokenizer.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn counts_every_token_and_no_special_one() {
        let counter = counter();
        assert_eq!(counter.count(""), 0);
        assert_eq!(counter.count("the chunking"), 3);
        assert_eq!(counter.count(&"word ".repeat(100)), 100);
        assert_eq!(counter.count("\u{2603} \u{2604}"), 2);
        assert_eq!(counter.count("中文"), 2);
    }

    #[test]
    fn refuses_what_is_no_tokenizer() {
        assert!(TokenCounter::from_tokenizer_json(b"{}").is_err());
        assert!(TokenCounter::from_tokenizer_json(b"not json").is_err());
    }

    #[test]
    fn bytes_are_counted_where_the_tokenizer_is_not_known() {
        let counter = TokenCounter::by_bytes(3).unwrap();
        for text in ["", "a", "abc", "abcd", "two words", "Größe", "日本語のテキスト", "x\n\n  y", "🙂🙂"]
        {
            let tokens = counter.count(text);
            assert!(tokens >= text.len().div_ceil(3), "{text}: {tokens}");
            assert!(tokens <= text.len(), "{text}: {tokens}");
        }
        assert!(TokenCounter::by_bytes(0).is_err());
        let config = crate::ChunkConfig { tokens: 32, overlap: 4 };
        let chunker = crate::Chunker::new(counter, &config, 512).unwrap();
        let text = "Wörter und Sätze, 日本語 too. ".repeat(40);
        let format = crate::TextFormat::Plain;
        let chunks = chunker.chunk(&crate::Extracted { title: None, text, format, skipped_pages: 0 }).unwrap();
        assert!(chunks.len() > 10 && chunks.iter().all(|chunk| chunk.content.len() <= 96));
    }
}
