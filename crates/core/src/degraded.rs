//! The closed list of ways in which an answer may be less than whole; each is said in the answer, metrics and trace.

use std::fmt;

/// One way an answer was degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Degraded {
    /// The shared rate limiter did not answer: this gateway let in its share of the limits.
    RatelimitLocal,
    /// A follow-up question was put together from words of the conversation, as no language model rewrote it in time.
    QueryRewriteSkipped,
    /// The question could not be embedded: keyword (BM25) search only.
    EmbedLexicalOnly,
    /// A shard did not answer in time; the others did.
    RetrievalPartial,
    /// The vector store is gone: the passages were found by their words in the catalog.
    RetrievalKeywordFallback,
    /// The passages could not be reranked: the search's own order stands.
    RerankSkipped,
    /// A model is at its limit of requests or tokens, and another one of the configured chain answered.
    LlmThrottled,
    /// A model failed and another one of the configured chain answered.
    LlmFallback,
    /// A model broke off midway and the next one started over.
    LlmStreamRestarted,
    /// A model wrote out its secret instructions: what it said was taken back.
    GuardCanary,
    /// A citation was taken away: its passage does not say what it was cited for.
    GuardUnsupported,
    /// A model's stream was cut at a limit of length or time.
    LlmStreamLimit,
    /// No configured model answered: the best passages' own sentences stand in.
    GenerationExtractive,
}

impl Degraded {
    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::RatelimitLocal,
        Self::QueryRewriteSkipped,
        Self::EmbedLexicalOnly,
        Self::RetrievalPartial,
        Self::RetrievalKeywordFallback,
        Self::RerankSkipped,
        Self::LlmThrottled,
        Self::LlmFallback,
        Self::LlmStreamRestarted,
        Self::GuardCanary,
        Self::GuardUnsupported,
        Self::LlmStreamLimit,
        Self::GenerationExtractive,
    ];

    /// The stable code that clients, metrics and traces carry, for example `embed.lexical_only`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RatelimitLocal => "ratelimit.local",
            Self::QueryRewriteSkipped => "query.rewrite_skipped",
            Self::EmbedLexicalOnly => "embed.lexical_only",
            Self::RetrievalPartial => "retrieval.partial",
            Self::RetrievalKeywordFallback => "retrieval.keyword_fallback",
            Self::RerankSkipped => "rerank.skipped",
            Self::LlmThrottled => "llm.throttled",
            Self::LlmFallback => "llm.fallback",
            Self::LlmStreamRestarted => "llm.stream_restarted",
            Self::GuardCanary => "guard.canary",
            Self::GuardUnsupported => "guard.unsupported",
            Self::LlmStreamLimit => "llm.stream_limit",
            Self::GenerationExtractive => "generation.extractive",
        }
    }

    /// The degradation with this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|degraded| degraded.as_str() == code)
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
