//! `ragstone audit`: read and verify the audit log of a tenant.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::token;
use crate::client::{Client, Connection, retrying};
use crate::failure::{Exit, Failure};
use crate::output::one_line;
use crate::wire::{self, AuditEntry, Verification};
use crate::{Session, output};

/// Entries asked for at once.
const PAGE: usize = 100;
const DETAIL_COLUMNS: usize = 80;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token given with --token or RAGSTONE_TOKEN needs the scope admin; the log is that of its tenant.
Entries come oldest first. Verifying prints the hash of the last entry: noted elsewhere, it shows whether the log's end was cut
off later.

Examples:
  ragstone audit list --since 24h
  ragstone audit list --since 2026-11-01 --action document.write --subject ada
  ragstone audit list --after 1200 --limit 1000 --json
  ragstone audit verify"
)]
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
    /// List entries
    List(List),
    /// Compute the whole chain of hashes again; exit code 1 when an entry is missing or not as it was written
    Verify,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this action
    #[arg(long)]
    action: Option<String>,
    /// Only what this subject did
    #[arg(long)]
    subject: Option<String>,
    /// Only what happened since then: 90s, 15m, 24h, 7d ago, or a time (2026-11-25, 2026-11-25T08:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only entries after this number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// The most entries to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Seconds since 1970.
fn since(text: &str) -> Result<u64, String> {
    if let Ok(ago) = token::duration(text) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        return Ok(now.saturating_sub(ago).as_secs());
    }
    let time = text.parse::<prost_types::Timestamp>().ok().and_then(|time| u64::try_from(time.seconds).ok());
    time.ok_or_else(|| "it is a time like 2026-11-25T08:00:00Z, or how long ago: 90s, 15m, 24h, 7d".to_owned())
}

/// Does it.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    // Verifying reads every entry there is.
    let client = Client::for_administration(&args.connection)?;
    match args.action {
        Action::List(wanted) => list(&client, &wanted, args.json, session).await,
        Action::Verify => verify(&client, args.json, session).await,
    }
}

/// Entries, and the number to go on after when there are more.
#[derive(Debug, Serialize)]
struct Found {
    items: Vec<Value>,
    next_after: Option<u64>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
}

async fn list(client: &Client, wanted: &List, json: bool, session: &mut Session) -> Result<(), Failure> {
    let found = find(client, wanted).await?;
    if json {
        return session.out.json(&found);
    }
    let more = found.next_after;
    let entries: Vec<AuditEntry> = found.items.into_iter().map(wire::read).collect::<Result<_, _>>()?;
    let rows: Vec<_> = entries.into_iter().map(row).collect();
    session.out.table(&["entry", "when", "subject", "action", "object", "version", "detail"], &rows)?;
    if let Some(after) = more {
        output::note(&format!("there are more than {}: see --limit, or go on with --after {after}", wanted.limit));
    }
    Ok(())
}

/// Reads page by page, and one entry more than is wanted: to know whether there are more.
async fn find(client: &Client, wanted: &List) -> Result<Found, Failure> {
    let limit = wanted.limit as usize;
    let (mut items, mut after) = (Vec::new(), wanted.after);
    while items.len() <= limit {
        let size = PAGE.min(limit + 1 - items.len());
        let page: Page = retrying(|| client.json(request(client, wanted, after, size))).await?;
        let last = page.items.last().map(|item| wire::read::<AuditEntry>(item.clone())).transpose()?;
        let full = page.items.len() >= size;
        items.extend(page.items);
        match last {
            Some(last) if full && last.seq > after => after = last.seq,
            _ => break,
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more).and_then(|item| item["seq"].as_u64());
    Ok(Found { items, next_after: last })
}

fn request(client: &Client, wanted: &List, after: u64, size: usize) -> reqwest::RequestBuilder {
    let request = client.request(Method::GET, &["admin", "audit"]).query(&[("limit", size)]).query(&[("after", after)]);
    let texts = [("action", &wanted.action), ("subject", &wanted.subject)];
    let texts: Vec<_> = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))).collect();
    request.query(&texts).query(&wanted.since.map(|since| ("since", since)).as_slice())
}

fn row(entry: AuditEntry) -> Vec<String> {
    let read = entry.documents.iter().map(|read| format!("{} v{}", read.document_id, read.version));
    let detail: Vec<String> = entry.detail.into_iter().chain(read).collect();
    vec![
        entry.seq.to_string(),
        entry.at.unwrap_or_default(),
        entry.subject,
        entry.action,
        format!("{} {}", entry.object_kind, entry.object_id).trim().to_owned(),
        entry.version.map(|version| version.to_string()).unwrap_or_default(),
        one_line(&detail.join(", "), DETAIL_COLUMNS),
    ]
}

async fn verify(client: &Client, json: bool, session: &mut Session) -> Result<(), Failure> {
    let answer: Value = client.get(&["admin", "audit", "verification"]).await?;
    let found: Verification = wire::read(answer.clone())?;
    if json {
        session.out.json(&answer)?;
    } else if found.whole {
        session.out.line(&format!("whole: {} entries, the last with hash {}", found.entries, found.hash))?;
    }
    match found.first_broken {
        _ if found.whole => Ok(()),
        _ if json => Err(Failure::silent(Exit::Failed)),
        Some(entry) => Err(Failure::failed(format!(
            "the audit log is broken: entry {entry} is missing or was changed"
        ))
        .advise(
            "Compare the log with that of a backup: `ragstone restore` into empty stores, then `ragstone audit list`.",
        )),
        None => Err(Failure::failed("the audit log is broken")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use axum::extract::Query;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::json;

    use super::*;
    use crate::fake::{exit, ragstone, serve};

    /// The 250th entry is the last.
    async fn entries(Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
        let number = |name: &str| query[name].parse::<u64>().unwrap();
        assert!(number("limit") <= 100);
        let entry = |seq: u64| {
            json!({"seq": seq, "at": "2026-01-02T03:04:05Z", "subject": "ada", "action": query.get("action"),
                "object_kind": "query", "object_id": "q1", "version": null, "request_id": query.get("since"),
                "query_id": null, "documents": [{"document_id": "a.md", "version": 3}, {"document_id": "b", "version": 1}],
                "detail": null, "prev_hash": "0", "hash": "1"})
        };
        let (from, to) = (number("after") + 1, (number("after") + number("limit")).min(250));
        Json(json!({"items": (from..=to).map(entry).collect::<Vec<_>>()}))
    }

    #[tokio::test]
    async fn entries_are_read_page_by_page() {
        let server = serve(Router::new().route("/v1/admin/audit", get(entries))).await;
        for (limit, after, count, next) in [
            ("1000", "0", 250, Value::Null),
            ("250", "0", 250, Value::Null),
            ("249", "0", 249, json!(249)),
            ("7", "100", 7, json!(107)),
            ("100", "200", 50, Value::Null),
        ] {
            let line = ["audit", "list", "--action", "query", "--limit", limit, "--after", after, "--json"];
            let (written, end) = ragstone(server, &line).await;
            assert_eq!(exit(&end), Exit::Done);
            let answer: Value = serde_json::from_str(&written).unwrap();
            assert_eq!((answer["items"].as_array().unwrap().len(), &answer["next_after"]), (count, &next), "{limit}");
        }
        let line = ["audit", "list", "--action", "query", "--subject", "ada", "--since", "1970-01-02", "--limit", "1"];
        let (written, _) = ragstone(server, &line).await;
        assert_eq!(
            written,
            "entry  when                  subject  action  object    version  detail\n\
             1      2026-01-02T03:04:05Z  ada      query   query q1           a.md v3, b v1\n"
        );
        let (written, _) = ragstone(server, &[&line[..], &["--json"]].concat()).await;
        let answer: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(answer["items"][0]["request_id"], "86400", "since is sent in seconds");
    }

    #[tokio::test]
    async fn a_broken_log_ends_with_an_error() {
        let answer =
            |whole: bool, broken: Value| json!({"whole": whole, "entries": 9, "first_broken": broken, "hash": "ab"});
        for (answer, code, says) in [
            (answer(true, Value::Null), Exit::Done, "whole: 9 entries, the last with hash ab\n"),
            (answer(false, json!(7)), Exit::Failed, ""),
        ] {
            let body = answer.clone();
            let route = get(move || async move { Json(body) });
            let server = serve(Router::new().route("/v1/admin/audit/verification", route)).await;
            let (written, end) = ragstone(server, &["audit", "verify"]).await;
            assert_eq!((exit(&end), written.as_str()), (code, says));
            assert!(end.err().is_none_or(|failure| failure.message.contains("entry 7")));
            let (written, end) = ragstone(server, &["audit", "verify", "--json"]).await;
            assert_eq!((exit(&end), serde_json::from_str::<Value>(&written).unwrap()), (code, answer));
        }
    }

    #[test]
    fn times_are_absolute_or_ago() {
        assert_eq!(since("1970-01-01T01:00:00Z"), Ok(3_600));
        assert_eq!(since("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(since("2026-11-25"), Ok(1_795_564_800));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 86_402..=now - 86_400).contains(&since("24h").unwrap()));
        for bad in ["", "yesterday", "12", "1960-01-01", "2026-13-01", "400d", "-1h"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
