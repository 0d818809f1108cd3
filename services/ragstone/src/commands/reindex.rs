//! `ragstone reindex`: another embedding model for everything, without a pause.

use std::time::Duration;

use clap::Subcommand;
use ragstone_core::{IndexSpec, Topology};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::{Session, output, progress};

/// How often progress is asked for; the server counts documents each time.
const POLL: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "The embedding service must know both models meanwhile: name the new one in embedding.models.
The index that served before is kept and goes on receiving documents until it is dropped.

Examples:
  ragstone reindex --model multilingual-e5-small
  ragstone reindex --model multilingual-e5-small --no-switch
  ragstone reindex list
  ragstone reindex rollback
  ragstone reindex drop all-minilm-l6-v2-53aa51172d14"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// The embedding model to move to
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Build the index, but let the present one go on serving
    #[arg(long)]
    no_switch: bool,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the indexes with their progress
    List,
    /// Let a complete index serve
    Switch {
        /// Its name
        index: String,
    },
    /// Let the index serve that served before
    Rollback,
    /// Remove an index that does not serve
    Drop {
        /// Its name
        index: String,
    },
}

/// An index as the server tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Index {
    #[serde(flatten)]
    spec: IndexSpec,
    state: String,
    created_at: Option<String>,
    waiting: u64,
    stuck: u64,
    documents: u64,
    expected: u64,
    topology: Topology,
}

#[derive(Debug, Deserialize)]
struct Items {
    items: Vec<Index>,
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::for_administration(&args.connection)?;
    match (args.action, args.model) {
        (Some(Action::List), _) => list(&client, args.json, session).await,
        (Some(Action::Switch { index }), _) => {
            let serving = client.post(&["admin", "indexes", &index, "serve"], &json!({})).await?;
            tell(&serving, args.json, session)
        }
        (Some(Action::Rollback), _) => {
            let serving = client.post(&["admin", "rollback"], &json!({})).await?;
            tell(&serving, args.json, session)
        }
        (Some(Action::Drop { index }), _) => {
            client.send(client.request(reqwest::Method::DELETE, &["admin", "indexes", &index])).await?;
            if args.json {
                session.out.json(&json!({ "dropped": index }))
            } else {
                session.out.line(&format!("dropped {index}"))
            }
        }
        (None, Some(model)) => reindex(&client, &model, !args.no_switch, args.json, session).await,
        (None, None) => Err(Failure::usage("name the model to move to with --model, or a command: see --help")),
    }
}

/// Builds the index and waits for it; a command that is interrupted goes on with the same index when it is repeated.
async fn reindex(client: &Client, model: &str, switch: bool, json: bool, session: &mut Session) -> Result<(), Failure> {
    let begun: Index = client.post(&["admin", "indexes"], &json!({ "model": model })).await?;
    let name = begun.spec.name.to_string();
    if !json {
        output::note(&format!("building index {name} while the present one serves"));
    }
    let built = wait(client, begun).await?;
    if !switch {
        return tell(&serde_json::to_value(&built).map_err(unreadable)?, json, session);
    }
    let serving = client.post(&["admin", "indexes", &name, "serve"], &json!({})).await?;
    tell(&serving, json, session)
}

async fn wait(client: &Client, mut index: Index) -> Result<Index, Failure> {
    let bar = progress::bar(index.expected, "documents");
    while index.waiting > 0 {
        bar.set_length(index.expected);
        bar.set_position(index.expected.saturating_sub(index.waiting + index.stuck));
        tokio::time::sleep(POLL).await;
        let Items { items } = client.get(&["admin", "indexes"]).await?;
        let same = items.into_iter().find(|other| other.spec.name == index.spec.name);
        index = same.ok_or_else(|| Failure::failed(format!("index {} was dropped meanwhile", index.spec.name)))?;
    }
    bar.finish_and_clear();
    if index.stuck > 0 {
        let message = format!("{} documents could not be brought into index {}", index.stuck, index.spec.name);
        return Err(Failure::failed(message).advise("See `ragstone jobs dead`; the same command tries them again."));
    }
    Ok(index)
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::failed(format!("cannot write JSON: {error}"))
}

fn tell(index: &Value, json: bool, session: &mut Session) -> Result<(), Failure> {
    if json {
        return session.out.json(index);
    }
    let index: Index = serde_json::from_value(index.clone()).map_err(|e| Failure::failed(e.to_string()))?;
    session.out.line(&format!("index {} is {}: {} documents", index.spec.name, index.state, index.documents))
}

async fn list(client: &Client, json: bool, session: &mut Session) -> Result<(), Failure> {
    let Items { items } = client.get(&["admin", "indexes"]).await?;
    if json {
        return session.out.json(&json!({ "items": items }));
    }
    let row = |index: Index| {
        vec![
            index.spec.name.to_string(),
            index.spec.model,
            index.spec.dimension.to_string(),
            index.state,
            format!("{}/{}", index.documents, index.expected),
            index.waiting.to_string(),
            index.stuck.to_string(),
            index.topology.all().join(" "),
        ]
    };
    let rows: Vec<_> = items.into_iter().map(row).collect();
    session.out.table(&["index", "model", "dimension", "state", "documents", "waiting", "stuck", "shards"], &rows)
}
