//! `ragstone eval`: how good retrieval and answers are on a SQuAD-format data set.

mod metrics;
mod run;
mod server;
mod squad;

use std::path::PathBuf;

use crate::Session;
use crate::client::Connection;
use crate::commands::search::Mode;
use crate::failure::Failure;
use run::{Evaluation, Run};
use server::Server;
use squad::DataSet;

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The paragraphs become documents eval/<file name>/<n>; every question is searched for and asked. With neither
--url nor RAGSTONE_URL everything runs in this process, in a temporary directory.

Examples:
  ragstone eval xquad.en.json
  ragstone eval piaf.json --modes hybrid,dense,keyword --json
  ragstone eval xquad.de.json --url http://127.0.0.1:8080 --keep"
)]
pub(crate) struct Args {
    /// A file in SQuAD's format (SQuAD, XQuAD, PIAF, …)
    dataset: PathBuf,
    /// How many passages a search may return
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    k: u16,
    /// The search modes to measure, joined by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Hybrid])]
    modes: Vec<Mode>,
    /// Configuration file (TOML) of the evaluation's own services; without effect on another server
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Leave the documents on the server
    #[arg(long)]
    keep: bool,
    /// Print the measures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Measures and prints.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let path = args.dataset.clone();
    let set = tokio::task::spawn_blocking(move || DataSet::read(&path)).await;
    let set = set.map_err(|e| Failure::failed(format!("cannot read the data set: {e}")))??;
    let server = Server::new(&args.connection, args.config.as_deref()).await?;
    let run = Run { client: &server.client, set: &set, k: args.k.into(), modes: &args.modes };
    let measured = run.measure().await;
    let cleaned = if args.keep || server.is_temporary() { Ok(()) } else { run.clean_up().await };
    let stopped = server.stop().await;
    let evaluation = measured?;
    cleaned.and(stopped)?;
    if args.json { session.out.json(&evaluation) } else { print(&evaluation, session) }
}

fn print(evaluation: &Evaluation, session: &mut Session) -> Result<(), Failure> {
    let Evaluation { dataset, documents, questions, k, retrieval, answers } = evaluation;
    session.out.line(&format!("{dataset}: {documents} documents, {questions} questions\n"))?;
    let rows: Vec<Vec<String>> = retrieval
        .iter()
        .map(|(mode, r)| {
            let measures = [r.ndcg_at_k, r.recall_at_1, r.recall_at_5, r.mrr].map(|value| format!("{value:.4}"));
            std::iter::once((*mode).to_owned()).chain(measures).collect()
        })
        .collect();
    let ndcg = format!("nDCG@{k}");
    session.out.table(&["mode", &ndcg, "recall@1", "recall@5", "MRR"], &rows)?;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut rows = vec![
        vec!["hold a right answer".to_owned(), percent(answers.contains_gold)],
        vec!["cite a source".to_owned(), percent(answers.cited)],
        vec!["citations that are right".to_owned(), percent(answers.citation_precision)],
    ];
    rows.extend(answers.degraded.iter().map(|(code, count)| vec![format!("degraded: {code}"), count.to_string()]));
    session.out.line("")?;
    session.out.table(&["answers", ""], &rows)
}
