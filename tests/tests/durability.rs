//! The order of fsync and acknowledgement, read from a trace of the system calls: SIGKILL cannot show it, as the page
//! cache survives the process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::ffi::OsString;
use std::path::Path;

use ragstone_testkit::client::Client;
use ragstone_testkit::ports::free_port;
use ragstone_testkit::process::{Process, binary};

const CALLS: &str =
    "--trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,rename,renameat,renameat2,link,linkat";
/// The document's id: how its row is recognised in the catalog's log.
const ID: &str = "durable-document-7";
/// How its bytes are recognised.
const BODY: &str = "These bytes must be on disk before anyone is told.";

/// Runs `ragstone up` under strace, stores one document, and returns the trace.
async fn traced_upload(dir: &Path) -> Vec<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trace = dir.join("trace");
    let (listen, admin) = (free_port().unwrap(), free_port().unwrap());
    let args: Vec<OsString> = [
        // The program is our child, and strace its tracer in the background: signals reach the program itself.
        "--daemonize=grandchild",
        "--follow-forks",
        "--decode-fds=path",
        "--string-limit=8192",
        "--quiet=attach,personality",
        CALLS,
        &format!("--output={}", trace.display()),
        binary("ragstone").unwrap().to_str().unwrap(),
        "up",
        "--data-dir",
        dir.join("data").to_str().unwrap(),
        "--listen",
        &format!("127.0.0.1:{listen}"),
        "--admin-listen",
        &format!("127.0.0.1:{admin}"),
    ]
    .into_iter()
    .map(OsString::from)
    .collect();
    let mut process = Process::start("traced", Path::new("strace"), &args, &[], dir)
        .unwrap_or_else(|error| panic!("strace (package strace) is needed: {error:#}"));
    let readyz = format!("http://127.0.0.1:{admin}/readyz");
    while !reqwest::get(&readyz).await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(process.ended().unwrap().is_none(), "{}", process.log_tail());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let client = Client::new(&format!("http://127.0.0.1:{listen}"));
    client.ingest(ID, "text/plain", BODY).await.unwrap();
    let pid = process.id().unwrap().to_string();
    process.terminate().await.unwrap();
    loop {
        let lines: Vec<String> = std::fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect();
        if lines.iter().any(|line| line.starts_with(&pid) && line.ends_with("+++ exited with 0 +++")) {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Index of the first line from `from` on that has all of `parts`.
fn find(lines: &[String], from: usize, parts: &[&str]) -> usize {
    let found = lines[from..].iter().position(|line| parts.iter().all(|part| line.contains(part)));
    from + found.unwrap_or_else(|| panic!("after line {from} of the trace there is no line with {parts:?}"))
}

/// Index of the line where the sync begun at or after `from` on `file` has returned. strace splits a call that others
/// interrupt in two: `fsync(3</path> <unfinished ...>` and `<... fsync resumed>`.
fn synced(lines: &[String], from: usize, file: &str) -> usize {
    let begun = from
        + lines[from..]
            .iter()
            .position(|line| (line.contains("fsync(") || line.contains("fdatasync(")) && line.contains(file))
            .unwrap_or_else(|| panic!("after line {from} of the trace {file} is never synced"));
    if !lines[begun].contains("unfinished") {
        return begun;
    }
    let thread = lines[begun].split_whitespace().next().unwrap();
    begun
        + lines[begun..]
            .iter()
            .position(|line| line.starts_with(thread) && line.contains("sync resumed"))
            .unwrap_or_else(|| panic!("the sync at line {begun} of the trace never returned"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_name_and_job_are_on_disk_before_the_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let lines = traced_upload(dir.path()).await;
    let acknowledged = find(&lines, 0, &["HTTP/1.1 202"]);

    let body_written = find(&lines, 0, &["write", "/data/blobs/", BODY]);
    let body_synced = synced(&lines, body_written, "/data/blobs/");
    let named = find(&lines, body_written, &["/data/blobs/", "rename"]);
    let name_synced = synced(&lines, named, "/data/blobs");
    let job_written = find(&lines, 0, &["pwrite64", "catalog.db-wal", ID]);
    let job_synced = synced(&lines, job_written, "catalog.db-wal");

    assert!(body_synced < named, "the blob got its name before its bytes were synced");
    for (what, line) in [("body", body_synced), ("name", name_synced), ("job", job_synced)] {
        assert!(line < acknowledged, "the {what} was synced at line {line}, acknowledged at {acknowledged}");
    }
    assert!(name_synced < job_written, "the job was recorded before its body was durable");
}
