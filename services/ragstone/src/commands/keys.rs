//! `ragstone keys`: create, list, revoke the API keys of a tenant.

use std::collections::BTreeSet;

use clap::Subcommand;
use ragstone_core::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use super::token;
use crate::client::{Client, Connection, retrying};
use crate::failure::Failure;
use crate::wire::{self, Key};
use crate::{Session, output};

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token given with --token or RAGSTONE_TOKEN needs the scope admin; keys are made for its tenant.
A key is shown once, when it is made: the server keeps only a hash of it.

Examples:
  ragstone keys create --subject build-server --scope ingest --expires-in-days 90
  export RAGSTONE_TOKEN=$(ragstone keys create --subject ada --scope query --group staff --group board)
  ragstone keys list
  ragstone keys revoke 5f2c9a1e7b3d"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, this once
    Create(Create),
    /// List the keys there are and were
    List {
        /// The most keys to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// End keys; they stop working within seconds
    Revoke {
        /// Their ids: what stands between the underscores of a key
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The user or program that it is for
    #[arg(long)]
    subject: String,
    /// What it allows: query, ingest, admin
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true, value_parser = token::scope)]
    scope: Vec<Scope>,
    /// A group whose documents may be read; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// The documents of all groups may be read
    #[arg(long, conflicts_with = "group")]
    all_groups: bool,
    /// For how many days it holds [default: until it is revoked]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::new(&args.connection)?;
    match args.action {
        Action::Create(wanted) => create(&client, wanted, args.json, session).await,
        Action::List { limit } => list(&client, limit, args.json, session).await,
        Action::Revoke { ids } => revoke(&client, &ids, args.json, session).await,
    }
}

async fn create(client: &Client, wanted: Create, json: bool, session: &mut Session) -> Result<(), Failure> {
    let body = json!({
        "subject": wanted.subject,
        "scopes": BTreeSet::from_iter(wanted.scope),
        "groups": wanted.group,
        "all_groups": wanted.all_groups,
        "expires_in_days": wanted.expires_in_days,
    });
    // Once only: a second try might leave a key behind that nobody has seen.
    let answer: Value = client.json(client.request(Method::POST, &["admin", "keys"]).json(&body)).await?;
    if json {
        return session.out.json(&answer);
    }
    let key: Key = wire::read(answer)?;
    // The key stands alone on standard output, for `$(…)`.
    session.out.line(key.key.as_deref().unwrap_or_default())?;
    let until = key.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
    output::note(&format!("key {} for {} holds {until}; it is not shown again", key.id, key.subject));
    Ok(())
}

async fn list(client: &Client, limit: u32, json: bool, session: &mut Session) -> Result<(), Failure> {
    let page = client.list(&["admin", "keys"], None, limit as usize).await?;
    let headings = ["key", "subject", "scopes", "groups", "created", "by", "expires", "revoked"];
    page.show(&headings, row, limit, json, session)
}

fn row(key: Key) -> Vec<String> {
    vec![
        key.id,
        key.subject,
        key.scopes.join(","),
        if key.all_groups { "(all)".to_owned() } else { key.groups.join(",") },
        key.created_at.unwrap_or_default(),
        key.created_by,
        key.expires_at.unwrap_or_else(|| "never".to_owned()),
        key.revoked_at.unwrap_or_default(),
    ]
}

async fn revoke(client: &Client, ids: &[String], json: bool, session: &mut Session) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for id in ids {
        let request = || client.json::<Value>(client.request(Method::DELETE, &["admin", "keys", id]));
        let answer = retrying(request).await?;
        if !json {
            let key: Key = wire::read(answer.clone())?;
            session.out.line(&format!("revoked {} of {}", key.id, key.subject))?;
        }
        answers.push(answer);
    }
    if json { session.out.json(&json!({ "items": answers })) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use axum::extract::{Path, Query};
    use axum::routing::{delete, get};
    use axum::{Json, Router};

    use super::*;
    use crate::failure::Exit;
    use crate::fake::{exit, problem, ragstone, serve};

    fn key(id: &str) -> Value {
        json!({
            "id": id, "subject": "ada", "scopes": ["query", "ingest"], "groups": ["board", "staff"], "all_groups": false,
            "created_at": "2026-01-02T03:04:05Z", "created_by": "root", "expires_at": null, "revoked_at": null,
        })
    }

    #[tokio::test]
    async fn a_new_key_stands_alone_on_standard_output() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let create = move |Json(body): Json<Value>| async move {
            seen.lock().unwrap().push(body);
            let mut made = key("5f2c");
            made["key"] = json!("rsk_5f2c_secret");
            (axum::http::StatusCode::CREATED, Json(made))
        };
        let server = serve(Router::new().route("/v1/admin/keys", get(async || "").post(create))).await;
        let line = "keys create --subject ada --scope ingest,query --group staff --group board --expires-in-days 90";
        let line: Vec<_> = line.split(' ').collect();
        let (written, end) = ragstone(server, &line).await;
        assert_eq!((exit(&end), written.as_str()), (Exit::Done, "rsk_5f2c_secret\n"));
        let (written, _) =
            ragstone(server, &["keys", "create", "--subject", "b", "--scope", "admin", "--all-groups", "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["key"], "rsk_5f2c_secret");
        assert_eq!(
            *asked.lock().unwrap(),
            [
                json!({"subject": "ada", "scopes": ["query", "ingest"], "groups": ["staff", "board"],
                    "all_groups": false, "expires_in_days": 90}),
                json!({"subject": "b", "scopes": ["admin"], "groups": [], "all_groups": true, "expires_in_days": null}),
            ]
        );
    }

    #[tokio::test]
    async fn making_a_key_is_tried_once() {
        let asked = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&asked);
        let busy = move || async move {
            *seen.lock().unwrap() += 1;
            problem(503, "unavailable", "later")
        };
        let server = serve(Router::new().route("/v1/admin/keys", axum::routing::post(busy))).await;
        let (_, end) = ragstone(server, &["keys", "create", "--subject", "a", "--scope", "query"]).await;
        assert_eq!((exit(&end), *asked.lock().unwrap()), (Exit::Failed, 1));
    }

    #[tokio::test]
    async fn keys_are_listed_page_by_page_and_revoked_by_id() {
        let list = |Query(query): Query<std::collections::BTreeMap<String, String>>| async move {
            let second = query.get("cursor").is_some_and(|cursor| cursor == "5f2c");
            let mut last = key("77aa");
            last["all_groups"] = json!(true);
            last["revoked_at"] = json!("2026-02-03T04:05:06Z");
            Json(if second {
                json!({"items": [last], "next_cursor": null})
            } else {
                json!({"items": [key("5f2c")], "next_cursor": "5f2c"})
            })
        };
        let revoke = |Path(id): Path<String>| async move {
            if id == "none" { Err(problem(404, "not_found", "no such key")) } else { Ok(Json(key(&id))) }
        };
        let router = Router::new().route("/v1/admin/keys", get(list)).route("/v1/admin/keys/{id}", delete(revoke));
        let server = serve(router).await;
        let (written, end) = ragstone(server, &["keys", "list"]).await;
        assert_eq!(exit(&end), Exit::Done);
        let columns: Vec<Vec<&str>> = written.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(columns[0], ["key", "subject", "scopes", "groups", "created", "by", "expires", "revoked"]);
        assert_eq!(columns[1], ["5f2c", "ada", "query,ingest", "board,staff", "2026-01-02T03:04:05Z", "root", "never"]);
        assert_eq!((columns[2][0], columns[2][3], columns[2][7]), ("77aa", "(all)", "2026-02-03T04:05:06Z"));
        let (written, _) = ragstone(server, &["keys", "list", "--limit", "1", "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["next_cursor"], "5f2c");

        let (written, end) = ragstone(server, &["keys", "revoke", "5f2c", "77aa"]).await;
        assert_eq!((exit(&end), written.as_str()), (Exit::Done, "revoked 5f2c of ada\nrevoked 77aa of ada\n"));
        let (written, end) = ragstone(server, &["keys", "revoke", "none"]).await;
        assert_eq!((exit(&end), written.as_str()), (Exit::Failed, ""));
        let (written, _) = ragstone(server, &["keys", "revoke", "5f2c", "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["items"][0]["id"], "5f2c");
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        use clap::Parser;
        for line in [
            "keys create --scope query",
            "keys create --subject a",
            "keys create --subject a --scope root",
            "keys create --subject a --scope query --group g --all-groups",
            "keys create --subject a --scope query --expires-in-days 0",
            "keys create --subject a --scope query --expires-in-days 36501",
            "keys list --limit 0",
            "keys revoke",
        ] {
            assert!(
                crate::cli::Cli::try_parse_from(["ragstone"].into_iter().chain(line.split(' '))).is_err(),
                "{line}"
            );
        }
    }
}
