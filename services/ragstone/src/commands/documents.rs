//! `ragstone documents`: list, get, delete, history.

use clap::Subcommand;
use ragstone_core::{DocumentId, DocumentStatus};
use serde_json::{Value, json};

use crate::Session;
use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::output::one_line;
use crate::wire::{self, Accepted, Document, Version};

const ERROR_COLUMNS: usize = 80;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ragstone documents list --status failed
  ragstone documents get docs/guide.md
  ragstone documents history docs/guide.md
  ragstone documents delete docs/old.md docs/older.md")]
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
    /// List documents
    List {
        /// Only those in this state: processing, ready, failed, deleted
        #[arg(long, value_parser = parse_status)]
        status: Option<DocumentStatus>,
        /// The most documents to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show one document
    Get {
        /// Its id
        #[arg(value_parser = parse_id)]
        id: DocumentId,
    },
    /// Delete documents; they are gone from searches a moment later
    Delete {
        /// Their ids
        #[arg(required = true, value_parser = parse_id)]
        ids: Vec<DocumentId>,
    },
    /// Show the versions of one document
    History {
        /// Its id
        #[arg(value_parser = parse_id)]
        id: DocumentId,
    },
}

fn parse_status(name: &str) -> Result<DocumentStatus, String> {
    DocumentStatus::parse(name).ok_or_else(|| "it is none of processing, ready, failed, deleted".to_owned())
}

/// Checks a document id as it was typed. `.` and `..` cannot be told in an address.
pub(crate) fn parse_id(id: &str) -> Result<DocumentId, String> {
    match id {
        "." | ".." => Err("a document id cannot be . or ..".to_owned()),
        id => DocumentId::new(id).map_err(|e| e.message),
    }
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let client = Client::new(&args.connection)?;
    match args.action {
        Action::List { status, limit } => {
            let page = client.list(&["documents"], status.map(DocumentStatus::as_str), limit as usize).await?;
            let headings = ["document", "version", "status", "chunks", "bytes", "updated", "error"];
            page.show(&headings, row, limit, args.json, session)
        }
        Action::Get { id } => {
            let document: Value = client.get(&["documents", id.as_str()]).await?;
            if args.json { session.out.json(&document) } else { fields(&document, session) }
        }
        Action::Delete { ids } => delete(&client, &ids, args.json, session).await,
        Action::History { id } => {
            let answer: Value = client.get(&["documents", id.as_str(), "history"]).await?;
            if args.json {
                return session.out.json(&answer);
            }
            let versions: Vec<Version> = wire::read(answer["items"].clone())?;
            let rows: Vec<_> = versions.into_iter().map(version_row).collect();
            session.out.table(&["version", "status", "chunks", "bytes", "accepted", "error"], &rows)
        }
    }
}

fn row(document: Document) -> Vec<String> {
    vec![
        document.document_id,
        document.version.to_string(),
        document.status,
        document.chunks.to_string(),
        document.bytes.to_string(),
        document.updated_at,
        one_line(&document.error.unwrap_or_default(), ERROR_COLUMNS),
    ]
}

fn version_row(version: Version) -> Vec<String> {
    vec![
        version.version.to_string(),
        version.status,
        version.chunks.to_string(),
        version.bytes.to_string(),
        version.created_at,
        one_line(&version.error.unwrap_or_default(), ERROR_COLUMNS),
    ]
}

async fn delete(client: &Client, ids: &[DocumentId], json: bool, session: &mut Session) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for id in ids {
        let answer = client.delete(id).await?;
        if !json {
            let accepted: Accepted = wire::read(answer.clone())?;
            session.out.line(&format!("deleting {} (job {})", id, accepted.job_id.as_deref().unwrap_or("none")))?;
        }
        answers.push(answer);
    }
    if json { session.out.json(&json!({ "items": answers })) } else { Ok(()) }
}

/// Prints an object, one field a line.
pub(crate) fn fields(object: &Value, session: &mut Session) -> Result<(), Failure> {
    let fields = object.as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = fields
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| vec![name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)])
        .collect();
    session.out.table(&["field", "value"], &rows)
}
