//! Step 3 of a query: what a question may be, checked once for REST and gRPC.

use ragstone_core::{Error, Filter, Result, SearchMode};
use ragstone_text::clean;
use serde::Deserialize;

use super::history::{Turn, newest};
use crate::extract::object;
use crate::openapi::shapes::{FilterShape, ModeShape};

/// How many passages are retrieved when the caller does not say.
const DEFAULT_K: u32 = 5;
const MAX_K: u32 = 100;
const MAX_TOKENS: u32 = 4096;
const MAX_TEMPERATURE: f32 = 2.0;
/// A query may have so many times as many characters before invisible ones are removed.
const MAX_INVISIBLE: usize = 4;
const MAX_STOPS: usize = 4;
const MAX_STOP_CHARS: usize = 64;

/// The body of `POST /v1/search`.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "query": "bell", "k": 3, "filter": { "must": [{ "key": "metadata.year", "gte": 1600 }] } }))]
pub(crate) struct SearchInput {
    /// The words.
    #[schema(min_length = 1)]
    pub query: String,
    /// How many hits; absent: 5.
    #[schema(minimum = 1, maximum = 100)]
    pub k: Option<u32>,
    /// Which signals to use; absent: hybrid.
    #[schema(value_type = Option<ModeShape>)]
    pub mode: Option<SearchMode>,
    /// Further conditions.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<FilterShape>)]
    pub filter: Option<Filter>,
    /// Whether hits are ranked again by a reranker.
    pub rerank: Option<bool>,
}

/// The body of `POST /v1/query`.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "query": "Who cast the bell?", "k": 3 }))]
pub(crate) struct QueryInput {
    /// The question.
    #[schema(min_length = 1)]
    pub query: String,
    /// How many passages to retrieve; absent: 5.
    #[schema(minimum = 1, maximum = 100)]
    pub k: Option<u32>,
    /// Further conditions.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<FilterShape>)]
    pub filter: Option<Filter>,
    /// Which signals to use; absent: hybrid.
    #[schema(value_type = Option<ModeShape>)]
    pub mode: Option<SearchMode>,
    /// Whether passages are ranked again by a reranker.
    pub rerank: Option<bool>,
    /// The most tokens to write.
    #[schema(minimum = 1, maximum = 4096)]
    pub max_tokens: Option<u32>,
    /// Sampling temperature.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f32>,
    /// Whether the answer comes as Server-Sent Events.
    #[serde(default)]
    pub stream: bool,
    /// What was said before, oldest first; only chats have it.
    #[serde(skip)]
    pub history: Vec<Turn>,
    /// The answer ends before the first of these; only chats have them.
    #[serde(skip)]
    pub stop: Vec<String>,
    /// The same seed may give the same answer; only chats have one.
    #[serde(skip)]
    pub seed: Option<i64>,
    /// Whether a cached answer will do. Without a cache every answer is a miss, which is always allowed.
    #[expect(dead_code, reason = "part of the contract; nothing is cached yet, so both values mean the same")]
    pub cache: Option<bool>,
}

/// A search that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    /// The words, without invisible characters.
    pub text: String,
    /// How many hits, 1 to 100.
    pub k: u32,
    /// Which signals to use.
    pub mode: SearchMode,
    /// Further conditions.
    pub filter: Filter,
    /// Whether hits are ranked again by a reranker.
    pub rerank: bool,
}

/// A question that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// What is searched for it.
    pub search: Search,
    /// What was said before, oldest first.
    pub history: Vec<Turn>,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// The same seed may give the same answer.
    pub seed: Option<i64>,
    /// The most tokens to write; 0: the generation service's default.
    pub max_tokens: u32,
    /// Sampling temperature; `None`: the generation service's default.
    pub temperature: Option<f32>,
}

impl QueryInput {
    /// Checks everything about a question.
    ///
    /// # Errors
    /// `InvalidArgument` naming the field.
    pub(crate) fn check(self, max_chars: usize) -> Result<Question> {
        let Self { query, k, filter, mode, rerank, max_tokens, temperature, history, stop, seed, .. } = self;
        let search = SearchInput { query, k, mode, filter, rerank }.check(max_chars)?;
        if let Some(tokens) = max_tokens
            && !(1..=MAX_TOKENS).contains(&tokens)
        {
            return Err(Error::invalid(format!("max_tokens is {tokens}; it must lie within 1 and {MAX_TOKENS}")));
        }
        if let Some(heat) = temperature
            && !(0.0..=MAX_TEMPERATURE).contains(&heat)
        {
            return Err(Error::invalid(format!("temperature is {heat}; it must lie within 0 and {MAX_TEMPERATURE}")));
        }
        if stop.len() > MAX_STOPS || stop.iter().any(|text| !(1..=MAX_STOP_CHARS).contains(&text.chars().count())) {
            return Err(Error::invalid(format!("stop takes {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} characters")));
        }
        Ok(Question {
            search,
            history: newest(history),
            stop,
            seed,
            max_tokens: max_tokens.unwrap_or_default(),
            temperature,
        })
    }
}

impl SearchInput {
    /// Checks everything about a search.
    ///
    /// # Errors
    /// As [`QueryInput::check`].
    pub(crate) fn check(self, max_chars: usize) -> Result<Search> {
        // What is mostly invisible is not worth the work of cleaning and judging it.
        let raw = self.query.chars().count();
        if raw > max_chars.saturating_mul(MAX_INVISIBLE) {
            return Err(Error::invalid(format!("the query is {raw} characters long; the limit is {max_chars}")));
        }
        let text = clean(&self.query);
        let chars = text.chars().count();
        if chars > max_chars {
            return Err(Error::invalid(format!("the query is {chars} characters long; the limit is {max_chars}")));
        }
        if text.trim().is_empty() {
            return Err(Error::invalid("the query is empty"));
        }
        let k = self.k.unwrap_or(DEFAULT_K);
        if !(1..=MAX_K).contains(&k) {
            return Err(Error::invalid(format!("k is {k}; it must lie within 1 and {MAX_K}")));
        }
        let filter = self.filter.unwrap_or_default();
        filter.validate()?;
        Ok(Search { text, k, mode: self.mode.unwrap_or_default(), filter, rerank: self.rerank.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn search(query: &str) -> Result<Search> {
        SearchInput { query: query.to_owned(), ..SearchInput::default() }.check(10)
    }

    #[test]
    fn defaults_are_filled_in() {
        let question = QueryInput { query: "why?".to_owned(), ..QueryInput::default() }.check(10).unwrap();
        let (text, mode, filter) = ("why?".to_owned(), SearchMode::Hybrid, Filter::default());
        let search = Search { text, k: 5, mode, filter, rerank: false };
        assert_eq!(
            question,
            Question { search, history: Vec::new(), stop: Vec::new(), seed: None, max_tokens: 0, temperature: None }
        );
    }

    #[test]
    fn length_is_counted_in_characters_and_never_cut() {
        assert_eq!(search("ßéあ🦀567890").unwrap().text, "ßéあ🦀567890");
        assert!(search("12345678901").unwrap_err().message.contains("11 characters"));
    }

    #[test]
    fn blank_is_refused_also_when_only_invisible_characters_are_left() {
        for blank in ["", "  \n", "\u{200b}\u{feff}", "\u{e0041}\u{e0042}"] {
            assert!(search(blank).is_err(), "{blank:?}");
        }
    }

    #[test]
    fn only_invisible_characters_go() {
        let kept =
            |query: &str| SearchInput { query: query.to_owned(), ..SearchInput::default() }.check(40).unwrap().text;
        for same in ["C++ 3.14", "Grüße élève", "می\u{200c}خواهم", "👩\u{200d}💻", "a\tb\nc", "<x> & \"y\""]
        {
            assert_eq!(kept(same), same);
        }
        assert_eq!(kept("a\u{200b}b\u{202e}c\u{e0061}d\u{2066}e\u{0}f\u{feff}"), "abcdef");
    }

    #[test]
    fn every_bound_holds() {
        let base = QueryInput { query: "q".to_owned(), ..QueryInput::default() };
        let bad = [
            (QueryInput { k: Some(0), ..base.clone() }, "k is 0"),
            (QueryInput { k: Some(101), ..base.clone() }, "k is 101"),
            (QueryInput { max_tokens: Some(0), ..base.clone() }, "max_tokens is 0"),
            (QueryInput { max_tokens: Some(4097), ..base.clone() }, "max_tokens is 4097"),
            (QueryInput { temperature: Some(-0.1), ..base.clone() }, "temperature"),
            (QueryInput { temperature: Some(2.1), ..base.clone() }, "temperature"),
            (QueryInput { temperature: Some(f32::NAN), ..base.clone() }, "temperature"),
        ];
        for (input, says) in bad {
            assert!(input.check(10).unwrap_err().message.contains(says), "{says}");
        }
        for good in [
            QueryInput { k: Some(1), max_tokens: Some(1), temperature: Some(0.0), ..base.clone() },
            QueryInput { k: Some(100), max_tokens: Some(4096), temperature: Some(2.0), ..base.clone() },
        ] {
            assert!(good.check(10).is_ok());
        }
    }

    #[test]
    fn foreign_filter_keys_are_refused() {
        let filter = serde_json::from_str(r#"{"must":[{"key":"tenant","match":"other"}]}"#).unwrap();
        let input = SearchInput { query: "q".to_owned(), filter: Some(filter), ..SearchInput::default() };
        assert!(input.check(10).unwrap_err().message.contains("'tenant'"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_within_the_limit_and_stays_accepted(query in ".{0,20}") {
            if let Ok(found) = search(&query) {
                prop_assert!(found.text.chars().count() <= 10);
                prop_assert_eq!(search(&found.text).unwrap().text, found.text);
            }
        }
    }
}
