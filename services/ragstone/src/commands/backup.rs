//! `ragstone backup` and `ragstone restore`: what owns the truth, into a directory and back.

use std::path::PathBuf;

use ragstone_config::Sources;
use ragstone_core::{Error, ErrorCode};
use ragstone_ingestion::Manifest;
use ragstone_retrieval::{RestoredIndex, SavedIndexes};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::stack::{Config, stored_in};
use crate::{Session, output};

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads catalog and bodies where the configuration says they are; the server may go on working.
The vector index is filled again from the catalog after a restore. Where Qdrant keeps it, --with-index
saves it too: documents need not be embedded again then.

Examples:
  ragstone backup --to /backups/2026-11-25
  ragstone backup --to /backups/2026-11-25 --with-index
  ragstone backup --config /etc/ragstone.toml --to /backups/2026-11-25 --json")]
pub(crate) struct BackupArgs {
    /// A directory that is empty or not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Also save the vector indexes, as snapshots of Qdrant's shards
    #[arg(long)]
    with_index: bool,
    #[command(flatten)]
    stores: Stores,
}

/// What to restore, and where from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Stop the server first. The stores the configuration names must be empty, the vector index too: remove
its directory, or Qdrant's collections. A vector index that is in the backup is brought into Qdrant, and
compared with the catalog. What is missing in it, or all where it is not there, the server fills from the
catalog when it starts again; `ragstone reindex list` shows how far it is.

Examples:
  ragstone restore --from /backups/2026-11-25
  ragstone restore --config /etc/ragstone.toml --from /backups/2026-11-25"
)]
pub(crate) struct RestoreArgs {
    /// The directory of a backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Leave the vector indexes of the backup aside: they are filled from the catalog
    #[arg(long)]
    without_index: bool,
    #[command(flatten)]
    stores: Stores,
}

/// Which stores.
#[derive(Debug, clap::Args)]
struct Stores {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where data is kept [default: the configured directory, ./.ragstone]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl Stores {
    fn config(&self) -> Result<Config, Failure> {
        let overrides = self.data_dir.as_deref().map(stored_in).unwrap_or_default();
        let sources = Sources { file: self.config.clone(), env: ragstone_config::environment(), overrides };
        let config = Config::load(sources, &|key| std::env::var(key).ok());
        config.map_err(|e| Failure::new(Exit::Configuration, e.to_string()))
    }
}

/// What a restore has done.
#[derive(Debug, Serialize)]
struct Restored {
    #[serde(flatten)]
    manifest: Manifest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restored_indexes: Vec<RestoredIndex>,
}

/// Backs up.
pub(crate) async fn backup(args: BackupArgs, session: &mut Session) -> Result<(), Failure> {
    let config = args.stores.config()?;
    let save_indexes = async || {
        if !args.with_index {
            return Ok(Vec::new());
        }
        ragstone_retrieval::save_indexes(&config.retrieval, &args.to).await
    };
    let manifest = ragstone_ingestion::backup(&config.ingestion, &args.to, save_indexes).await.map_err(failure)?;
    if args.stores.json {
        return session.out.json(&manifest);
    }
    session.out.line(&said("backed up", &manifest))?;
    manifest.indexes.iter().try_for_each(|name| session.out.line(&format!("and the index {name}")))
}

/// Restores.
pub(crate) async fn restore(args: RestoreArgs, session: &mut Session) -> Result<(), Failure> {
    let config = args.stores.config()?;
    // It may hold versions that the restored catalog does not know, and would keep them for newer ones.
    let indexes = ragstone_retrieval::stored_indexes(&config.retrieval).await.map_err(failure)?;
    if !indexes.is_empty() {
        let message = format!("the vector store is not empty: it holds {}", indexes.join("; "));
        return Err(
            Failure::failed(message).advise("Remove the directory retrieval.edge.path, or Qdrant's collections.")
        );
    }
    // Looked at first: nothing is restored where they are damaged.
    let names = if args.without_index { Vec::new() } else { Manifest::read(&args.from).await?.indexes };
    let saved = SavedIndexes::open(&config.retrieval, &args.from, &names).await.map_err(failure)?;
    let restore_indexes = async |catalog: &dyn ragstone_core::ports::Catalog| match saved {
        Some(saved) => saved.restore(catalog).await,
        None => Ok(Vec::new()),
    };
    let outcome = ragstone_ingestion::restore(&config.ingestion, &args.from, restore_indexes).await;
    let (manifest, restored_indexes) = outcome.map_err(failure)?;
    advise(&manifest, &restored_indexes);
    if args.stores.json {
        return session.out.json(&Restored { manifest, restored_indexes });
    }
    session.out.line(&said("restored", &manifest))?;
    let whole = restored_indexes.iter().filter(|index| index.left_out.is_none());
    whole.map(tell_index).try_for_each(|line| session.out.line(&line))
}

/// What is still to come.
fn advise(manifest: &Manifest, restored: &[RestoredIndex]) {
    for index in restored {
        if let Some(why) = &index.left_out {
            output::note(&format!("the index {} was left out: {why}", index.name));
        }
    }
    if restored.is_empty() && !manifest.indexes.is_empty() {
        output::note(&format!("the vector indexes in the backup were left aside: {}", manifest.indexes.join(", ")));
    }
    let whole = |index: &RestoredIndex| index.left_out.is_none() && index.to_rebuild == 0;
    if restored.is_empty() || !restored.iter().all(whole) {
        output::note("start the server: it fills the vector index from the catalog");
    }
}

fn said(done: &str, manifest: &Manifest) -> String {
    format!("{done} {} rows and {} bodies", manifest.rows, manifest.bodies)
}

fn tell_index(index: &RestoredIndex) -> String {
    let RestoredIndex { name, documents, to_rebuild, removed, .. } = index;
    format!(
        "restored the index {name}: {documents} documents are as in the catalog, {to_rebuild} are still to be filled in; \
         {removed} versions that are not live were removed"
    )
}

/// A setting to correct is a fault of the configuration.
fn failure(error: Error) -> Failure {
    let setting = error.code == ErrorCode::InvalidArgument && error.message.contains("retrieval.qdrant.");
    let exit = if setting { Exit::Configuration } else { Exit::Failed };
    Failure::new(exit, error.chain())
}
