//! `ragstone ingest`: files, folders or standard input to the server.

mod report;
mod send;
mod watch;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use ragstone_core::{DocumentId, Metadata, validate_metadata};
use serde_json::Value;

use crate::Session;
use crate::client::{Client, Connection};
use crate::commands::documents::parse_id;
use crate::failure::{Exit, Failure};
use crate::files::{Listing, Root, UNKNOWN_TYPE, sniff};
use crate::upload::{Content, parse_metadata};
use report::Report;
use send::Sender;

/// The most that is read from standard input; the server's own limit is far lower.
const MAX_STDIN_BYTES: u64 = 256 * 1024 * 1024;

/// What to ingest.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A folder's documents are named after it: docs/a.md for the file a.md in docs, x/docs or /y/docs.
A single file is named by its file name, unless --id says otherwise. Hidden files and other formats than
text, Markdown, HTML, PDF, DOCX and JSON {text, title, metadata} are left out. What the server has already
is recognised by its content: after an interruption, run the same command again.

Examples:
  ragstone ingest docs --wait
  ragstone ingest handbook.pdf --id handbook --metadata lang=de --metadata year=2024
  ragstone ingest notes --group staff --watch
  pandoc report.odt -t markdown | ragstone ingest - --id report --content-type text/markdown"
)]
pub(crate) struct Args {
    /// Files and folders; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The document's id, for one file or standard input (which else is named by its content's hash)
    #[arg(long, value_parser = parse_id)]
    id: Option<DocumentId>,
    /// A field to store with every document; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_metadata)]
    metadata: Vec<(String, Value)>,
    /// A group that may read the documents; repeatable; without it the whole tenant may
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The content type, for one file or standard input, where the extension does not tell
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Wait until the documents are searchable; fail when one of them cannot be used
    #[arg(long)]
    wait: bool,
    /// Keep running: send what changes and delete what is removed
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print a summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Ingests and prints a summary.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let metadata = Metadata::from_iter(args.metadata.clone());
    validate_metadata(&metadata).map_err(|e| Failure::usage(e.message))?;
    let client = Client::new(&args.connection)?;
    let sender = Sender { client, metadata, groups: args.groups.clone() };
    if args.paths.iter().any(|path| path == Path::new("-")) {
        return stdin(&args, &sender, session).await;
    }
    let roots = roots(&args)?;
    let watcher = if args.watch { Some(watch::Watcher::start(&roots)?) } else { None };
    let listing = list(roots.clone()).await?;
    let known: BTreeMap<_, _> = listing.sources.iter().map(|s| (s.path.clone(), s.id.clone())).collect();

    let mut report = Report::new(listing.skipped, listing.failed);
    let mut end = sender.send_all(listing.sources, &mut report, &session.interrupt).await;
    if args.wait && end.is_ok() {
        end = sender.wait(&mut report, &session.interrupt).await;
    }
    report.print(args.json, args.wait, session)?;
    end?;
    match watcher {
        Some(watcher) => watch::run(watcher, &sender, &roots, known, session).await,
        None => report.verdict(),
    }
}

/// The roots that were named, checked against the options that only fit some of them.
fn roots(args: &Args) -> Result<Vec<Root>, Failure> {
    let mut roots: Vec<Root> = Vec::new();
    for path in &args.paths {
        let mut root = Root::new(path, args.id.as_ref())?;
        if (args.id.is_some() || args.content_type.is_some()) && (root.folder || args.paths.len() > 1) {
            return Err(Failure::usage("--id and --content-type go with one file or standard input"));
        }
        root.media_type.clone_from(&args.content_type);
        roots.push(root);
    }
    Ok(roots)
}

/// Lists all roots; two files that would become the same document are refused.
async fn list(roots: Vec<Root>) -> Result<Listing, Failure> {
    let walk = move || {
        let mut listing = Listing::default();
        roots.iter().for_each(|root| root.list(&root.path, &mut listing));
        listing
    };
    let mut listing =
        tokio::task::spawn_blocking(walk).await.map_err(|e| Failure::failed(format!("cannot list the files: {e}")))?;
    let mut seen: BTreeMap<DocumentId, PathBuf> = BTreeMap::new();
    let mut clash = None;
    listing.sources.retain(|source| match seen.insert(source.id.clone(), source.path.clone()) {
        None => true,
        Some(before) => {
            if before != source.path {
                clash = Some(format!("{} and {} are both '{}'", before.display(), source.path.display(), source.id));
            }
            false
        }
    });
    clash.map_or(Ok(listing), |clash| {
        Err(Failure::usage(clash).advise("Ingest them in two commands from folders with different names."))
    })
}

async fn stdin(args: &Args, sender: &Sender, session: &mut Session) -> Result<(), Failure> {
    if args.paths.len() > 1 || args.watch {
        return Err(Failure::usage("- (standard input) goes with neither other paths nor --watch"));
    }
    let content = tokio::select! {
        content = tokio::task::spawn_blocking(read_stdin) => content,
        () = session.interrupt.cancelled() => return Err(Failure::interrupted()),
    };
    let content = content.map_err(std::io::Error::other).and_then(|read| read);
    let content = content.map_err(|e| Failure::failed(format!("cannot read standard input: {e}")))?;
    let sniffed = || sniff(&content).map(str::to_owned);
    let media_type = args.content_type.clone().or_else(sniffed);
    let media_type = media_type.ok_or_else(|| Failure::failed(format!("standard input: {UNKNOWN_TYPE}")))?;
    let mut report = Report::default();
    let accepted = tokio::select! {
        accepted = sender.send(args.id.as_ref(), Content::Bytes(content.into()), &media_type) => accepted?,
        () = session.interrupt.cancelled() => return Err(Failure::interrupted()),
    };
    report.accept(accepted);
    let end = if args.wait { sender.wait(&mut report, &session.interrupt).await } else { Ok(()) };
    report.print(args.json, args.wait, session)?;
    end.and_then(|()| report.verdict())
}

fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::io::stdin().lock().take(MAX_STDIN_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_STDIN_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_STDIN_BYTES} bytes")));
    }
    Ok(content)
}

/// How an interrupted ingest ends.
fn interrupted(report: &Report, total: usize) -> Failure {
    let done = report.finished();
    Failure::new(Exit::Interrupted, format!("interrupted after {done} of {total} documents"))
        .advise("Nothing is lost: run the same command again to go on.")
}
