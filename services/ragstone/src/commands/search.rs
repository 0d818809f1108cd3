//! `ragstone search`: the passages that fit a question best.

use clap::ValueEnum;
use ragstone_core::{Filter, SearchMode};
use serde_json::{Map, Value, json};

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::wire::SearchAnswer;
use crate::{Session, filter, output, wire};

/// How wide a passage is shown.
const SNIPPET_COLUMNS: usize = 100;

/// Which signals rank the passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Meaning and words together
    Hybrid,
    /// Meaning only (vectors)
    Dense,
    /// Words only (BM25)
    Keyword,
}

impl Mode {
    /// The name the server knows it by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => SearchMode::Hybrid,
            Self::Dense => SearchMode::Dense,
            Self::Keyword => SearchMode::Keyword,
        }
        .as_str()
    }
}

/// How filters are explained.
pub(crate) const FILTER_HELP: &str = "Only documents for which this holds: conditions joined by commas \
    (key=value, key!=value, key>=n, key>n, key<=n, key<n; a bare key is one of the metadata), or the filter's JSON";

/// What to search.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ragstone search \"backup schedule\"
  ragstone search \"Sicherung\" --k 10 --mode keyword --filter 'lang=de,year>=2020'
  ragstone search \"restore\" --json | jq -r '.hits[].document_id'")]
pub(crate) struct Args {
    /// The words or the question
    query: String,
    /// How many passages
    #[arg(long, default_value_t = 5)]
    k: u32,
    /// Which signals rank them
    #[arg(long, value_enum, default_value_t = Mode::Hybrid)]
    mode: Mode,
    #[arg(long, value_name = "EXPR", value_parser = filter::parse, help = FILTER_HELP)]
    filter: Option<Filter>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Searches and prints the hits.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::new(&args.connection)?;
    let mut body = Map::from_iter([
        ("query".to_owned(), json!(args.query)),
        ("k".to_owned(), json!(args.k)),
        ("mode".to_owned(), json!(args.mode.as_str())),
    ]);
    if let Some(filter) = &args.filter {
        body.insert("filter".to_owned(), json!(filter));
    }
    let answer: Value = client.post(&["search"], &Value::Object(body)).await?;
    if args.json {
        return session.out.json(&answer);
    }
    let answer: SearchAnswer = wire::read(answer)?;
    print(&answer, session)
}

fn print(answer: &SearchAnswer, session: &mut Session) -> Result<(), Failure> {
    warn(&answer.degraded);
    if answer.shards.answered < answer.shards.asked {
        output::note(&format!("warning: only {} of {} shards answered", answer.shards.answered, answer.shards.asked));
    }
    if answer.hits.is_empty() {
        output::note("nothing found");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer
        .hits
        .iter()
        .map(|hit| {
            let snippet = output::one_line(&hit.content, SNIPPET_COLUMNS);
            vec![format!("{:.4}", hit.score), hit.document_id.clone(), hit.chunk_index.to_string(), snippet]
        })
        .collect();
    session.out.table(&["score", "document", "chunk", "text"], &rows)
}

/// Says on standard error in what ways an answer is less than it could be.
pub(crate) fn warn(degraded: &[String]) {
    for code in degraded {
        output::note(&format!("warning: {code}: {}", meaning(code)));
    }
}

fn meaning(code: &str) -> &'static str {
    use ragstone_core::Degraded;
    match Degraded::parse(code) {
        Some(Degraded::RatelimitLocal) => "the shared rate limits cannot be asked, each gateway lets in its share",
        Some(Degraded::QueryRewriteSkipped) => "no model put the question into the context of the conversation",
        Some(Degraded::GuardUnsupported) => "a citation was taken away: its passage does not say what it was cited for",
        Some(Degraded::GuardCanary) => "a model wrote out its instructions and was taken back",
        Some(Degraded::EmbedLexicalOnly) => "the question could not be embedded, so only its words were searched",
        Some(Degraded::RetrievalPartial) => "a shard did not answer, so documents may be missing",
        Some(Degraded::RetrievalKeywordFallback) => "found by their words in the catalog: the index cannot be searched",
        Some(Degraded::RerankSkipped) => "not reranked",
        Some(Degraded::LlmThrottled) => "the preferred language model is at its limit",
        Some(Degraded::LlmFallback) => "the preferred model failed, another one answered",
        Some(Degraded::LlmStreamRestarted) => "a model broke off midway and another one started over",
        Some(Degraded::LlmStreamLimit) => "the model was cut off at a limit",
        Some(Degraded::GenerationExtractive) => "no configured model answered; sentences of the passages stand in",
        None => "the answer is less than whole",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_degradation_has_a_meaning_of_its_own() {
        let unknown = meaning("x.y");
        for code in ragstone_core::Degraded::ALL {
            assert_ne!(meaning(code.as_str()), unknown, "{code}");
        }
    }
}
