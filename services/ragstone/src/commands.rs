//! The commands, one file each.

pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod documents;
pub(crate) mod eval;
pub(crate) mod ingest;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod models;
pub(crate) mod reindex;
pub(crate) mod reshard;
pub(crate) mod search;
pub(crate) mod token;

use crate::Session;
use crate::cli::Task;
use crate::failure::Failure;

/// Runs `task`; Ctrl-C ends it, except an ingest, which then says how far it came.
pub(crate) async fn run(task: Task, session: &mut Session) -> Result<(), Failure> {
    let interrupt = session.interrupt.clone();
    let work = match task {
        Task::Ingest(args) => return ingest::run(args, session).await,
        other => dispatch(other, session),
    };
    tokio::select! {
        result = work => result,
        () = interrupt.cancelled() => Err(Failure::interrupted()),
    }
}

async fn dispatch(task: Task, session: &mut Session) -> Result<(), Failure> {
    match task {
        Task::Ingest(args) => ingest::run(args, session).await,
        Task::Ask(args) => ask::run(args, session).await,
        Task::Search(args) => search::run(args, session).await,
        Task::Documents(args) => documents::run(args, session).await,
        Task::Jobs(args) => jobs::run(args, session).await,
        Task::Models(args) => models::run(args, session).await,
        Task::Backup(args) => backup::backup(args, session).await,
        Task::Restore(args) => backup::restore(args, session).await,
        Task::Reindex(args) => reindex::run(args, session).await,
        Task::Reshard(args) => reshard::run(args, session).await,
        Task::Eval(args) => eval::run(args, session).await,
        Task::Doctor(args) => doctor::run(args, session).await,
        Task::Keys(args) => keys::run(args, session).await,
        Task::Audit(args) => audit::run(args, session).await,
        Task::Token(args) => token::run(args, session),
        Task::Completions(args) => completions::run(&args, session),
    }
}

#[cfg(test)]
mod tests;
