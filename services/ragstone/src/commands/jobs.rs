//! `ragstone jobs`: list, get, retry, dead.

use clap::Subcommand;
use ragstone_core::{JobId, JobStatus};
use serde_json::{Value, json};

use crate::Session;
use crate::client::{Client, Connection};
use crate::commands::documents::fields;
use crate::failure::Failure;
use crate::output::one_line;
use crate::wire::Job;

const ERROR_COLUMNS: usize = 80;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ragstone jobs list --status running
  ragstone jobs dead
  ragstone jobs retry 0199f3c2-5a7e-7c11-9d5e-2f1c3b7a9e10")]
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
    /// List jobs
    List {
        /// Only those in this state: queued, running, done, failed, dead
        #[arg(long, value_parser = parse_status)]
        status: Option<JobStatus>,
        /// The most jobs to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show one job
    Get {
        /// Its id
        #[arg(value_parser = parse_id)]
        id: JobId,
    },
    /// Try dead or failed jobs again
    Retry {
        /// Their ids
        #[arg(required = true, value_parser = parse_id)]
        ids: Vec<JobId>,
    },
    /// List the jobs that every try failed for, with the reason
    Dead {
        /// The most jobs to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
}

fn parse_status(name: &str) -> Result<JobStatus, String> {
    JobStatus::parse(name).ok_or_else(|| "it is none of queued, running, done, failed, dead".to_owned())
}

fn parse_id(id: &str) -> Result<JobId, String> {
    JobId::parse(id).map_err(|e| e.message)
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::new(&args.connection)?;
    match args.action {
        Action::List { status, limit } => list(&client, status, limit, args.json, session).await,
        Action::Dead { limit } => list(&client, Some(JobStatus::Dead), limit, args.json, session).await,
        Action::Get { id } => {
            let job: Value = client.get(&["jobs", &id.to_string()]).await?;
            if args.json { session.out.json(&job) } else { fields(&job, session) }
        }
        Action::Retry { ids } => retry(&client, &ids, args.json, session).await,
    }
}

async fn list(
    client: &Client,
    status: Option<JobStatus>,
    limit: u32,
    json: bool,
    session: &mut Session,
) -> Result<(), Failure> {
    let page = client.list(&["jobs"], status.map(JobStatus::as_str), limit as usize).await?;
    let headings = ["job", "document", "version", "status", "stage", "tries", "done", "error"];
    page.show(&headings, row, limit, json, session)
}

fn row(job: Job) -> Vec<String> {
    vec![
        job.job_id,
        job.document_id,
        job.version.to_string(),
        job.status.as_str().to_owned(),
        job.stage.unwrap_or_default(),
        job.attempts.to_string(),
        format!("{:.0} %", job.progress * 100.0),
        one_line(&job.error.unwrap_or_default(), ERROR_COLUMNS),
    ]
}

async fn retry(client: &Client, ids: &[JobId], json: bool, session: &mut Session) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for id in ids {
        let answer: Value = client.post(&["jobs", &id.to_string(), "retry"], &json!({})).await?;
        if !json {
            session.out.line(&format!("retrying {id}"))?;
        }
        answers.push(answer);
    }
    if json { session.out.json(&json!({ "items": answers })) } else { Ok(()) }
}
