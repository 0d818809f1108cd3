//! `ragstone reshard`: more shards or fewer, without a pause.

use std::time::Duration;

use clap::Subcommand;
use ragstone_core::Topology;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::{Client, Connection, retrying};
use crate::failure::Failure;
use crate::{Session, output, progress};

/// How often progress is asked for.
const POLL: Duration = Duration::from_millis(500);
/// The most shards that a number may stand for.
const MAX_SHARDS: usize = 1024;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Documents move in the background; searches find every one of them all the time. A command that was
interrupted goes on when it is repeated.

Examples:
  ragstone reshard --shards 5              five shards: s0 to s4
  ragstone reshard --shards s0,s1,s2,big   these shards
  ragstone reshard status"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many shards, or their names with commas between them
    #[arg(long, value_name = "NUMBER|NAMES", value_parser = parse_shards)]
    shards: Option<Shards>,
    /// Do not wait for the documents to move
    #[arg(long)]
    no_wait: bool,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the shards, and how far a move is
    Status,
}

/// Names of shards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shards(Vec<String>);

fn parse_shards(text: &str) -> Result<Shards, String> {
    if let Ok(number) = text.parse::<usize>() {
        if !(1..=MAX_SHARDS).contains(&number) {
            return Err(format!("the number must lie between 1 and {MAX_SHARDS}"));
        }
        return Ok(Shards((0..number).map(|n| format!("s{n}")).collect()));
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err("a name must not be empty".to_owned());
    }
    Ok(Shards(names))
}

/// The shards as the server tells them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Progress {
    #[serde(flatten)]
    topology: Topology,
    waiting: u64,
    stuck: u64,
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::for_administration(&args.connection)?;
    let progress = match (args.action, args.shards) {
        (Some(Action::Status), _) => client.get(&["admin", "shards"]).await?,
        (None, Some(Shards(shards))) => {
            let begun: Progress = retrying(|| {
                client.json(client.request(Method::PUT, &["admin", "shards"]).json(&json!({ "shards": shards })))
            })
            .await?;
            if args.no_wait { begun } else { wait(&client, begun).await? }
        }
        (None, None) => return Err(Failure::usage("say which shards with --shards, or a command: see --help")),
    };
    if args.json {
        return session.out.json(&progress);
    }
    session.out.line(&format!("shards: {}", progress.topology.shards.join(" ")))?;
    if let Some(to) = &progress.topology.moving_to {
        session.out.line(&format!("moving to: {} ({} documents wait)", to.join(" "), progress.waiting))?;
    }
    Ok(())
}

async fn wait(client: &Client, mut progress: Progress) -> Result<Progress, Failure> {
    let bar = progress::bar(progress.waiting, "documents");
    let mut most = progress.waiting;
    while progress.topology.moving_to.is_some() {
        if progress.stuck > 0 && progress.waiting == 0 {
            let message = format!("{} documents could not be moved", progress.stuck);
            return Err(Failure::failed(message).advise("See `ragstone jobs dead`; the same command tries them again."));
        }
        most = most.max(progress.waiting);
        bar.set_length(most);
        bar.set_position(most - progress.waiting);
        tokio::time::sleep(POLL).await;
        progress = client.get(&["admin", "shards"]).await?;
    }
    bar.finish_and_clear();
    output::note("every document is where it belongs");
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_a_number_or_names() {
        let names = |names: &[&str]| Ok(Shards(names.iter().map(ToString::to_string).collect()));
        assert_eq!(parse_shards("2"), names(&["s0", "s1"]));
        assert_eq!(parse_shards("s0, big"), names(&["s0", "big"]));
        assert!(parse_shards("0").is_err() && parse_shards("a,,b").is_err() && parse_shards("9999").is_err());
    }
}
