//! How long a text is for the model: counted by its tokenizer, or else by bytes so that no text seems shorter than it is.

use std::sync::Arc;

use ragstone_core::ports::EmbedKind;
use ragstone_core::{Error, Result};
use tokenizers::Tokenizer;

use super::HttpEmbedderConfig;

/// Special tokens put around a text by a model whose tokenizer is not known: two as a rule.
const SPECIAL_TOKENS: usize = 4;

/// Counts a model's tokens. Cheap to clone.
#[derive(Clone)]
pub(super) struct Counter {
    tokenizer: Option<Arc<Tokenizer>>,
    bytes_per_token: usize,
    /// The longest text with its prefix, special tokens not counted.
    limit: usize,
    /// The longer of the prefixes.
    prefix: usize,
}

impl Counter {
    /// The counter of a model, and its tokenizer's file, empty where there is none.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub(super) fn load(config: &HttpEmbedderConfig) -> Result<(Self, Vec<u8>)> {
        let (json, tokenizer) = match &config.tokenizer_file {
            None => (Vec::new(), None),
            Some(path) => {
                let wrong = |e: &dyn std::fmt::Display| {
                    Error::invalid(format!("tokenizer_file {} of model '{}': {e}", path.display(), config.id))
                };
                let json = std::fs::read(path).map_err(|e| wrong(&e))?;
                let tokenizer = plain(&json).map_err(|e| wrong(&e))?;
                (json, Some(Arc::new(tokenizer)))
            }
        };
        let mut counter = Self { tokenizer, bytes_per_token: config.bytes_per_token as usize, limit: 0, prefix: 0 };
        let special = match &counter.tokenizer {
            Some(tokenizer) => tokenizer.encode_fast("", true).map_or(SPECIAL_TOKENS, |encoding| encoding.len()),
            None => SPECIAL_TOKENS,
        };
        counter.limit = config.max_tokens.saturating_sub(special);
        counter.prefix = counter.count(&config.query_prefix).max(counter.count(&config.passage_prefix));
        if counter.longest_text() == 0 {
            return Err(Error::invalid(format!("max_tokens of model '{}' leaves no room for a text", config.id)));
        }
        Ok((counter, json))
    }

    /// The longest text without its prefix, special tokens not counted.
    pub(super) fn longest_text(&self) -> usize {
        // Prefix and text may share a word: then together they have a token more than each alone.
        self.limit.saturating_sub(self.prefix + usize::from(self.prefix > 0))
    }

    /// Refuses a text, which has its prefix, that is longer than the model reads. May take milliseconds.
    pub(super) fn check(&self, index: usize, text: &str) -> Result<()> {
        // No tokenizer makes more tokens than there are bytes, but for ligatures that some spell out.
        if text.len() <= self.limit {
            return Ok(());
        }
        let (tokens, limit) = (self.count(text), self.limit);
        if tokens <= limit {
            return Ok(());
        }
        Err(Error::invalid(format!("text {index} has {tokens} tokens; the model reads at most {limit}")))
    }

    fn count(&self, text: &str) -> usize {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode_fast(text, false).map_or(text.len(), |encoding| encoding.len()),
            None => text.len().div_ceil(self.bytes_per_token),
        }
    }
}

/// The tokenizer without the truncation and padding that its file may ask for.
fn plain(json: &[u8]) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(json)?;
    tokenizer.with_truncation(None)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// What is put before a text of this kind.
pub(super) fn prefix(config: &HttpEmbedderConfig, kind: EmbedKind) -> &str {
    match kind {
        EmbedKind::Query => &config.query_prefix,
        EmbedKind::Passage => &config.passage_prefix,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::Write as _;

    use super::*;

    fn config(max_tokens: usize) -> HttpEmbedderConfig {
        HttpEmbedderConfig { id: "m".into(), dimension: 2, max_tokens, ..HttpEmbedderConfig::default() }
    }

    #[test]
    fn without_a_tokenizer_every_byte_counts() {
        let (counter, json) = Counter::load(&config(20)).unwrap();
        assert!(json.is_empty());
        assert_eq!(counter.longest_text(), 16);
        assert!(counter.check(0, "sixteen bytes ok").is_ok());
        let error = counter.check(3, "日本語の文章").unwrap_err();
        assert!(error.message.contains("text 3 has 18 tokens"), "{error}");
        let told = HttpEmbedderConfig { bytes_per_token: 3, passage_prefix: "passage: ".into(), ..config(20) };
        let (counter, _) = Counter::load(&told).unwrap();
        assert_eq!(counter.longest_text(), 16 - 3 - 1);
        assert!(counter.check(0, "日本語の文章").is_ok());
        assert!(Counter::load(&config(4)).is_err_and(|error| error.message.contains("max_tokens")));
    }

    #[test]
    fn a_tokenizer_counts_as_the_model_does() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let json = serde_json::json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "decoder": null, "padding": null,
            "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
            "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "word": 1}, "unk_token": "[UNK]"},
        });
        file.write_all(json.to_string().as_bytes()).unwrap();
        let with_file = HttpEmbedderConfig { tokenizer_file: Some(file.path().into()), ..config(6) };
        let (counter, bytes) = Counter::load(&with_file).unwrap();
        assert!(!bytes.is_empty());
        assert!(counter.check(0, "word word word word word word").is_ok());
        assert!(counter.check(0, "word word word word word word word").is_err());
        for (content, says) in [("{}", "tokenizer_file"), ("no json", "tokenizer_file")] {
            std::fs::write(file.path(), content).unwrap();
            assert!(Counter::load(&with_file).is_err_and(|error| error.message.contains(says)));
        }
        let missing = HttpEmbedderConfig { tokenizer_file: Some("/nowhere.json".into()), ..config(6) };
        assert!(Counter::load(&missing).is_err_and(|error| error.message.contains("/nowhere.json")));
    }
}
