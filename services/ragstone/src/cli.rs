//! The command line's grammar.

use clap::{Parser, Subcommand};

use crate::commands::{
    ask, audit, backup, completions, doctor, documents, eval, ingest, jobs, keys, models, reindex, reshard, search,
    token,
};
use crate::up;

/// Retrieval-augmented generation: documents in, grounded and cited answers out
#[derive(Debug, Parser)]
#[command(
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  ragstone models pull                 fetch the embedding model, once
  ragstone up                          start everything in this process
  ragstone ingest docs --wait          make a folder's documents searchable
  ragstone ask \"How do I back it up?\"  a cited answer

Exit codes: 0 done, 1 failed, 2 usage, 69 server unreachable, 77 refused (credential), 78 bad configuration, \
130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all five services in this process
    Up(up::Args),
    #[command(flatten)]
    Task(Task),
}

/// The commands that do one thing and end.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Send files, folders or standard input to the server
    Ingest(ingest::Args),
    /// Ask a question and get a cited answer
    Ask(ask::Args),
    /// Find passages
    Search(search::Args),
    /// List, show and delete documents
    Documents(documents::Args),
    /// List, show and retry jobs
    Jobs(jobs::Args),
    /// List, fetch and check models
    Models(models::Args),
    /// Copy documents, their versions and jobs into a directory
    Backup(backup::BackupArgs),
    /// Bring a backup back into empty stores
    Restore(backup::RestoreArgs),
    /// Move everything to another embedding model while the present one serves
    Reindex(reindex::Args),
    /// Add or remove shards while they serve
    Reshard(reshard::Args),
    /// Measure retrieval and answers on a SQuAD-format data set
    Eval(eval::Args),
    /// Check configuration, disk, models and server
    Doctor(doctor::Args),
    /// Make, list and revoke API keys
    Keys(keys::Args),
    /// Read and verify the audit log
    Audit(audit::Args),
    /// Make a development token, or an API key for the configuration
    Token(token::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound_and_every_command_has_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "up") {
            let help = sub.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}:\n{help}", sub.get_name());
        }
    }
}
