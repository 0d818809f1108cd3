//! The answerer of last resort and of the embedded default: it quotes the sentences of the passages that best answer the
//! question, word for word, each with its citation. No language model, no invention.

mod blocks;
mod hints;
#[cfg(test)]
mod measure;
mod rank;
mod select;
mod sentences;
mod words;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Error, FinishReason, Passage, Result, Usage};

use rank::Weights;
use select::Limits;

/// The name under which answers and metrics carry it.
const NAME: &str = "extractive";

/// The answer when no passage answers; it cites nothing.
pub const UNANSWERED: &str = "The documents do not answer this question.";

/// A rough number of bytes in a token, for estimates.
const TOKEN_BYTES: usize = 4;

/// Answers with one to three sentences of the passages.
///
/// Sentences are scored by the question's words in them, weighted by how rare the words are among the passages
/// (inverse document frequency as in BM25), by their surroundings and by the kind of thing that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractiveAnswerer;

#[async_trait]
impl ChatModel for ExtractiveAnswerer {
    fn name(&self) -> &str {
        NAME
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream> {
        let read = request.question.len() + request.passages.iter().map(|passage| passage.content.len()).sum::<usize>();
        let pieces = tokio::task::spawn_blocking(move || {
            answer(&request.question, &request.passages, request.max_tokens as usize * TOKEN_BYTES)
        })
        .await
        .map_err(|error| Error::internal("the extractive answerer failed").with_source(error))?;
        let written = pieces.iter().map(String::len).sum();
        let done = ChatEvent::Done {
            model: NAME.to_owned(),
            usage: Usage { prompt_tokens: tokens(read), completion_tokens: tokens(written) },
            finish: FinishReason::Stop,
            degraded: Vec::new(),
        };
        let events = pieces.into_iter().map(ChatEvent::Delta).chain([done]).map(Ok);
        Ok(stream::iter(events.collect::<Vec<_>>()).boxed())
    }
}

fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX)
}

/// The answer in pieces: a quoted sentence with its marker each.
fn answer(question: &str, passages: &[Passage], bytes: usize) -> Vec<String> {
    let texts: Vec<&str> = passages.iter().map(|passage| passage.content.as_str()).collect();
    let mut limits = Limits::default();
    limits.bytes = limits.bytes.min(bytes);
    let chosen = select::select(rank::rank(question, &texts, &Weights::default()), &limits);
    if chosen.is_empty() {
        return vec![UNANSWERED.to_owned()];
    }
    let mut pieces: Vec<String> = Vec::with_capacity(chosen.len());
    for quoted in chosen {
        let quote = without_markers(&texts[quoted.passage][quoted.span]);
        let lines = quote.contains('\n');
        let gap = match pieces.last() {
            None => "",
            Some(before) if lines || before.contains('\n') => "\n\n",
            Some(_) => " ",
        };
        // A marker on the line of a closing fence would keep the code block open.
        let after = if quote.ends_with("```") || quote.ends_with("~~~") { "\n" } else { " " };
        pieces.push(format!("{gap}{quote}{after}[{}]", quoted.passage + 1));
    }
    pieces
}

/// The words of a text that carry its subject, in order: not articles, pronouns, question words and the like.
pub fn content_words(text: &str) -> impl Iterator<Item = &str> {
    words::words(text).filter(|word| word.content).map(|word| word.text)
}

/// A source's own `[3]`, a footnote say, would read as a citation: it becomes `(3)`, but in code, where it is an index.
fn without_markers(quote: &str) -> String {
    let mut out = String::with_capacity(quote.len());
    let (mut rest, mut code) = (quote, false);
    while let Some(at) = rest.find(['[', '`']) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let digits = from[1..].bytes().take_while(u8::is_ascii_digit).count();
        let marker = from.starts_with('[') && digits > 0 && from[1 + digits..].starts_with(']');
        let taken = if marker && !code { digits + 2 } else { 1 };
        if taken > 1 {
            out.push_str(&format!("({})", &from[1..=digits]));
        } else {
            code ^= from.starts_with('`');
            out.push_str(&from[..1]);
        }
        rest = &from[taken..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use futures::TryStreamExt;
    use proptest::prelude::*;
    use ragstone_core::DocumentId;

    use super::*;

    fn passages(texts: &[&str]) -> Vec<Passage> {
        let passage = |(place, text): (usize, &&str)| Passage {
            document_id: DocumentId::new(format!("d{place}")).unwrap(),
            chunk_index: 0,
            title: String::new(),
            content: (*text).to_owned(),
            score: 1.0,
        };
        texts.iter().enumerate().map(passage).collect()
    }

    fn say(question: &str, texts: &[&str]) -> String {
        answer(question, &passages(texts), 2_000).concat()
    }

    #[test]
    fn the_sentence_that_answers_is_quoted_with_its_passage() {
        let tower = "The Eiffel Tower stands in Paris. It was finished in 1889. Gustave Eiffel's company built it.";
        let bridge = "The bridge of Remagen crossed the Rhine. It fell in 1945.";
        let said = say("When was the Eiffel Tower finished?", &[bridge, tower]);
        assert!(said.contains("It was finished in 1889. [2]"), "{said}");
        assert!(!said.contains("[1]"), "{said}");
    }

    #[test]
    fn nothing_in_common_is_said_plainly() {
        assert_eq!(say("What is the capital of France?", &["Ragstone keeps its queue in SQLite."]), UNANSWERED);
        assert_eq!(say("What is the capital of France?", &[]), UNANSWERED);
        assert_eq!(say("What is it?", &["It is what it is."]), UNANSWERED);
        assert_eq!(say("", &["Something."]), UNANSWERED);
    }

    #[test]
    fn the_same_sentence_is_not_quoted_twice() {
        let text = "Jobs are leased for thirty seconds by a worker.";
        assert_eq!(say("How long are jobs leased?", &[text, text]), format!("{text} [1]"));
    }

    #[test]
    fn commands_come_with_the_sentence_that_announces_them() {
        let text = "# Start\n\nTo start the demo, run:\n\n```sh\nmake demo\n```\n\nIt takes a while.";
        let said = say("How do I start the demo?", &[text]);
        assert!(said.contains("run:\n\n```sh\nmake demo\n```\n[1]"), "{said}");
    }

    #[test]
    fn a_sources_own_footnote_is_no_citation() {
        let said = say("When was the tower finished?", &["The tower was finished in 1889.[2]", "Another text."]);
        assert!(said.starts_with("The tower was finished in 1889.") && said.ends_with("[1]"), "{said}");
        assert!(!said.contains("[2]"), "{said}");
        for (quote, expected) in [("a [12] b[3]", "a (12) b(3)"), ("`x[1]` [2]", "`x[1]` (2)"), ("[a] [1", "[a] [1")] {
            assert_eq!(without_markers(quote), expected);
        }
    }

    #[test]
    fn other_languages_work() {
        let german = "Die Zugspitze ist 2962 Meter hoch. Sie liegt in Bayern.";
        assert!(say("Wie hoch ist die Zugspitze?", &[german]).starts_with("Die Zugspitze ist 2962 Meter hoch. [1]"));
        let french = "L'église fut bâtie au XIIe siècle. Le village compte 300 habitants.";
        assert!(
            say("Combien d'habitants compte le village ?", &[french]).contains("Le village compte 300 habitants. [1]")
        );
    }

    #[tokio::test]
    async fn the_stream_ends_with_done_and_says_what_it_cost() {
        let request = ChatRequest {
            question: "How long are jobs leased?".into(),
            passages: passages(&["Jobs are leased for thirty seconds."]),
            max_tokens: 100,
            ..ChatRequest::default()
        };
        let events: Vec<ChatEvent> = ExtractiveAnswerer.stream(request).await.unwrap().try_collect().await.unwrap();
        assert_eq!(events[0], ChatEvent::Delta("Jobs are leased for thirty seconds. [1]".into()));
        let ChatEvent::Done { model, usage, finish, degraded } = &events[1] else { unreachable!("{events:?}") };
        assert_eq!((model.as_str(), *finish, degraded.len()), ("extractive", FinishReason::Stop, 0));
        assert_eq!(*usage, Usage { prompt_tokens: 15, completion_tokens: 10 });
    }

    proptest! {
        /// Whatever the text, every quote stands in its passage word for word.
        #[test]
        fn quotes_are_verbatim(question in "\\PC{0,60}", texts in proptest::collection::vec("[\\PC\n#|`.?-]{0,300}", 0..4)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let limits = Limits { coverage: 0.0, ..Limits::default() };
            let chosen = select::select(rank::rank(&question, &texts, &Weights::default()), &limits);
            prop_assert!(chosen.len() <= limits.sentences);
            for quoted in &chosen {
                let quote = &texts[quoted.passage][quoted.span.clone()];
                prop_assert!(!quote.is_empty() && quote.trim() == quote);
            }
        }
    }
}
