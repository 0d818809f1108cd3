//! The command line, and `ragstone up`: all five services in one process.

mod cli;
mod client;
mod commands;
mod failure;
#[cfg(test)]
mod fake;
mod files;
mod filter;
mod follow;
mod output;
mod progress;
mod reference;
mod sse;
mod stack;
mod up;
mod upload;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use cli::{Cli, Command, Task};
use failure::{Exit, Failure};
use output::Output;

pub use reference::configuration_reference;

/// What every task is given: where it writes, and when it must stop.
pub(crate) struct Session {
    /// Standard output.
    pub(crate) out: Output,
    /// Cancelled by the first Ctrl-C.
    pub(crate) interrupt: CancellationToken,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Before any client is made: reqwest and tonic take the process's default. An error means it is set already.
    drop(rustls::crypto::ring::default_provider().install_default());
    match Cli::parse().command {
        Command::Up(args) => up::run(args),
        Command::Task(task) => run(task).into(),
    }
}

fn run(task: Task) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start the runtime: {error}")).report(),
    };
    let interrupt = CancellationToken::new();
    let mut session = Session { out: Output::stdout(), interrupt: interrupt.clone() };
    let exit = runtime.block_on(async move {
        tokio::spawn(watch_for_ctrl_c(interrupt));
        match commands::run(task, &mut session).await {
            Ok(()) => Exit::Done,
            Err(failure) => failure.report(),
        }
    });
    // A thread may still sit in a read of standard input: it is not waited for.
    runtime.shutdown_background();
    exit
}

/// The first Ctrl-C asks the command to stop; the second ends the process.
async fn watch_for_ctrl_c(interrupt: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        interrupt.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(Exit::Interrupted.code().into());
        }
    }
}
