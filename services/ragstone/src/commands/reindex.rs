//! `ragstone reindex`: another embedding model for everything, without a pause.

use std::time::Duration;

use clap::Subcommand;
use ragstone_core::{IndexSpec, Topology};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Client, Connection, retrying};
use crate::failure::Failure;
use crate::{Session, output, progress};

/// How often progress is asked for; the server counts jobs each time, and documents when none is left.
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
            client.send(client.request(Method::DELETE, &["admin", "indexes", &index])).await?;
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
        let name = [("index", index.spec.name.as_str())];
        let asked = || client.json(client.request(Method::GET, &["admin", "indexes"]).query(&name));
        let Items { items } = retrying(asked).await?;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use axum::extract::RawQuery;
    use axum::routing::{get, post};
    use axum::{Json, Router};

    use super::*;
    use crate::failure::Exit;
    use crate::fake::{exit, ragstone, serve};

    fn index(state: &str, waiting: u64) -> Json<Index> {
        let (spec, topology) = (IndexSpec::of("n", "1", 2), Topology::default());
        let (state, documents) = (state.to_owned(), 3 - waiting);
        Json(Index { spec, state, created_at: None, waiting, stuck: 0, documents, expected: 3, topology })
    }

    #[tokio::test]
    async fn progress_is_asked_of_the_one_index_until_nothing_waits() {
        let queries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&queries);
        let list = async move |RawQuery(query): RawQuery| {
            let mut seen = seen.lock().unwrap();
            seen.push(query.unwrap_or_default());
            let (Json(other), Json(this)) = (index("serving", 0), index("building", 2 - seen.len() as u64));
            let other = Index { spec: IndexSpec::of("m", "1", 2), ..other };
            Json(json!({ "items": [other, this] }))
        };
        let router = Router::new()
            .route("/v1/admin/indexes", get(list).post(async || index("building", 2)))
            .route("/v1/admin/indexes/{id}/serve", post(async || index("serving", 0)));
        let (written, end) = ragstone(serve(router).await, &["reindex", "--model", "n"]).await;
        let name = IndexSpec::of("n", "1", 2).name;
        assert_eq!((exit(&end), written), (Exit::Done, format!("index {name} is serving: 3 documents\n")));
        assert_eq!(*queries.lock().unwrap(), [format!("index={name}"), format!("index={name}")]);
    }
}
