//! `ragstone doctor`: is everything there that Ragstone needs, and what to do where it is not.

mod checks;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use url::Url;

use crate::Session;
use crate::client::{Client, Connection, parse_url};
use crate::failure::{Exit, Failure};

/// What to check.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Before the server runs, that it cannot be reached is a warning only. Exits with 0 when nothing failed.

Examples:
  ragstone doctor
  ragstone doctor --config /etc/ragstone.toml --data-dir /var/lib/ragstone
  ragstone doctor --json | jq '.checks[] | select(.state != \"ok\")'"
)]
pub(crate) struct Args {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where data is kept [default: the configured directory, ./.ragstone]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's admin port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", value_parser = parse_url)]
    admin_url: Url,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), advice: None }
    }

    fn warn(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::warn(name, found, advice) }
    }
}

/// Checks everything and prints what was found.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (configuration, config) = checks::configuration(args.config);
    let bad_configuration = configuration.state == State::Fail;
    let config = config.unwrap_or_default();
    let mut all = vec![configuration];
    let data_dir = args.data_dir.unwrap_or(config.ingestion.data_dir);
    let disk = tokio::task::spawn_blocking(move || checks::data_dir(&data_dir)).await;
    all.extend(disk.map_err(|e| Failure::failed(format!("cannot check the disk: {e}")))?);
    let elsewhere =
        |model: &str| config.embedding.models.iter().any(|other| other.id == model && !other.base_url.is_empty());
    // A model behind an API has nothing on this disk; readiness tells whether it answers.
    if !elsewhere(&config.embedding.model) {
        all.extend(checks::model(&config.embedding.model, config.embedding.models_dir.clone()).await);
    }
    all.push(checks::gateway(&Client::new(&args.connection)?).await);
    all.extend(checks::readiness(&Client::with_base(args.admin_url, None)?).await);

    if args.json {
        session.out.json(&json!({ "checks": all }))?;
    } else {
        print(&all, session)?;
    }
    match all.iter().filter(|check| check.state == State::Fail).count() {
        0 => Ok(()),
        failed => {
            let exit = if bad_configuration { Exit::Configuration } else { Exit::Failed };
            Err(Failure::new(exit, format!("{failed} of {} checks failed", all.len())))
        }
    }
}

fn print(all: &[Check], session: &mut Session) -> Result<(), Failure> {
    let row = |check: &Check| {
        let state = match check.state {
            State::Ok => "OK",
            State::Warn => "WARN",
            State::Fail => "FAIL",
        };
        let mut found = check.found.clone();
        if let Some(advice) = &check.advice {
            found.push_str(". ");
            found.push_str(advice);
        }
        vec![state.to_owned(), check.name.clone(), found]
    };
    session.out.table(&["state", "check", "found"], &all.iter().map(row).collect::<Vec<_>>())
}
