//! `ragstone completions`: a completion script for a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::Session;
use crate::cli::Cli;
use crate::failure::Failure;

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ragstone completions bash > /etc/bash_completion.d/ragstone
  ragstone completions zsh > ~/.zfunc/_ragstone
  ragstone completions fish > ~/.config/fish/completions/ragstone.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args, session: &mut Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "ragstone", &mut script);
    session.out.bytes(&script)
}
