//! `ragstone backup` and `ragstone restore`: what owns the truth, into a directory and back.

use std::path::PathBuf;

use ragstone_config::Sources;
use ragstone_ingestion::Manifest;

use crate::failure::{Exit, Failure};
use crate::stack::{Config, stored_in};
use crate::{Session, output};

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads catalog and bodies where the configuration says they are; the server may go on working.
The vector index is not part of it: it is filled again from the catalog after a restore.

Examples:
  ragstone backup --to /backups/2026-11-25
  ragstone backup --config /etc/ragstone.toml --to /backups/2026-11-25 --json")]
pub(crate) struct BackupArgs {
    /// A directory that is empty or not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    stores: Stores,
}

/// What to restore, and where from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Stop the server first. The stores the configuration names must be empty, the vector index too: remove
its directory, or Qdrant's collections. When the server starts again it
fills the vector index from the catalog; `ragstone reindex list` shows how far it is.

Examples:
  ragstone restore --from /backups/2026-11-25
  ragstone restore --config /etc/ragstone.toml --from /backups/2026-11-25"
)]
pub(crate) struct RestoreArgs {
    /// The directory of a backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
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

/// Backs up.
pub(crate) async fn backup(args: BackupArgs, session: &mut Session) -> Result<(), Failure> {
    let manifest = ragstone_ingestion::backup(&args.stores.config()?.ingestion, &args.to).await?;
    tell("backed up", &manifest, args.stores.json, session)
}

/// Restores.
pub(crate) async fn restore(args: RestoreArgs, session: &mut Session) -> Result<(), Failure> {
    let config = args.stores.config()?;
    // It may hold versions that the restored catalog does not know, and would keep them for newer ones.
    let indexes = ragstone_retrieval::stored_indexes(&config.retrieval).await?;
    if !indexes.is_empty() {
        let message = format!("the vector store is not empty: it holds {}", indexes.join(", "));
        return Err(
            Failure::failed(message).advise("Remove the directory retrieval.edge.path, or Qdrant's collections.")
        );
    }
    let manifest = ragstone_ingestion::restore(&config.ingestion, &args.from).await?;
    tell("restored", &manifest, args.stores.json, session)?;
    output::note("start the server: it fills the vector index from the catalog");
    Ok(())
}

fn tell(done: &str, manifest: &Manifest, json: bool, session: &mut Session) -> Result<(), Failure> {
    if json {
        return session.out.json(manifest);
    }
    session.out.line(&format!("{done} {} rows and {} bodies", manifest.rows, manifest.bodies))
}
