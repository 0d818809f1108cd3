//! `ragstone ask`: a cited answer, shown as it is written.

use std::io::Read;

use futures::{StreamExt, pin_mut};
use ragstone_core::Filter;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::client::{Client, Connection, retrying};
use crate::commands::search::{self, FILTER_HELP, Mode};
use crate::failure::{Exit, Failure};
use crate::wire::{Citation, Delta, Problem, QueryAnswer};
use crate::{Session, filter, output, sse, wire};

/// How much of a quoted passage is shown.
const QUOTE_COLUMNS: usize = 160;
/// More than any question: the server refuses far shorter ones.
const MAX_STDIN_BYTES: u64 = 1024 * 1024;

/// What to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ragstone ask \"How are backups restored?\"
  ragstone ask \"Was kostet es?\" --filter 'lang=de' --k 8
  echo \"What changed in 2.0?\" | ragstone ask - --json | jq -r .answer")]
pub(crate) struct Args {
    /// The question; - reads it from standard input
    question: String,
    /// How many passages the answer may rest on
    #[arg(long, default_value_t = 5)]
    k: u32,
    /// Which signals rank the passages
    #[arg(long, value_enum, default_value_t = Mode::Hybrid)]
    mode: Mode,
    #[arg(long, value_name = "EXPR", value_parser = filter::parse, help = FILTER_HELP)]
    filter: Option<Filter>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    /// Wait for the whole answer instead of showing it as it is written
    #[arg(long)]
    no_stream: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Asks and prints the answer and its sources.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::new(&args.connection)?;
    let body = body(&args, question(&args.question).await?);
    if args.json {
        let answer: Value = client.post(&["query"], &body).await?;
        return session.out.json(&answer);
    }
    let answer = if args.no_stream {
        let answer: QueryAnswer = wire::read(client.post(&["query"], &body).await?)?;
        session.out.line(&answer.answer)?;
        answer
    } else {
        stream(&client, body, session).await?
    };
    search::warn(&answer.degraded);
    if !answer.sources_complete {
        output::note("warning: not every shard was searched, so sources may be missing");
    }
    print_sources(&answer.citations, session)
}

async fn question(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().lock().take(MAX_STDIN_BYTES).read_to_string(&mut text).map(|_| text)
    });
    let text = read.await.map_err(std::io::Error::other).and_then(|read| read);
    let text = text.map_err(|e| Failure::failed(format!("cannot read standard input: {e}")))?;
    Ok(text.trim().to_owned())
}

fn body(args: &Args, question: String) -> Value {
    let mut body = Map::from_iter([
        ("query".to_owned(), Value::String(question)),
        ("k".to_owned(), json!(args.k)),
        ("mode".to_owned(), json!(args.mode.as_str())),
    ]);
    if let Some(filter) = &args.filter {
        body.insert("filter".to_owned(), json!(filter));
    }
    Value::Object(body)
}

/// Shows the answer as it comes and returns it whole.
async fn stream(client: &Client, mut body: Value, session: &mut Session) -> Result<QueryAnswer, Failure> {
    body["stream"] = json!(true);
    let response = retrying(|| client.send(client.request(Method::POST, &["query"]).json(&body))).await?;
    let url = response.url().clone();
    let events = sse::events(response);
    pin_mut!(events);
    let mut shown = String::new();
    while let Some(event) = events.next().await {
        let event = event.inspect_err(|_| drop(session.out.line("")))?;
        match event.event.as_str() {
            "delta" => {
                let Delta { text } = sse::data(&event, &url)?;
                session.out.text(&text)?;
                shown.push_str(&text);
            }
            "restart" => {
                session.out.line("")?;
                output::note("warning: the model broke off; another one starts over");
                shown.clear();
            }
            "done" => {
                let answer: QueryAnswer = sse::data(&event, &url)?;
                session.out.line("")?;
                if answer.answer.trim() != shown.trim() {
                    // The server checks citations at the end and may take out what nothing supports.
                    session.out.line(&format!("\nChecked answer:\n{}", answer.answer))?;
                }
                return Ok(answer);
            }
            "error" => {
                session.out.line("")?;
                let problem: Problem = sse::data(&event, &url)?;
                return Err(Failure::failed(problem.to_string()));
            }
            _ => {}
        }
    }
    session.out.line("")?;
    Err(Failure::new(Exit::Unreachable, "the answer broke off before its end").advise("Ask again."))
}

fn print_sources(citations: &[Citation], session: &mut Session) -> Result<(), Failure> {
    if citations.is_empty() {
        return Ok(());
    }
    session.out.line("\nSources:")?;
    for citation in citations {
        let Citation { marker, document_id, chunk_index, quote } = citation;
        let quote = output::one_line(quote, QUOTE_COLUMNS);
        session.out.line(&format!("[{marker}] {document_id} (chunk {chunk_index}): \"{quote}\""))?;
    }
    Ok(())
}
