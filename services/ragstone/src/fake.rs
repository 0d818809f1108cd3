//! A gateway for tests: real HTTP on a loopback port, answers as the tests want them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::{Session, commands};

/// What a command wrote to standard output.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Serves `router` for as long as the test runs.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An address nobody listens on.
pub(crate) async fn nobody() -> SocketAddr {
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A problem answer.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Response {
    let body = json!({ "type": "about:blank", "title": code, "status": status, "detail": detail, "code": code });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "0")];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_string()).into_response()
}

/// Runs a command line against `server`: what it wrote, and how it ended.
pub(crate) async fn ragstone(server: SocketAddr, arguments: &[&str]) -> (String, Result<(), Failure>) {
    until(CancellationToken::new(), server, arguments).await
}

/// The same, with Ctrl-C when `interrupt` is cancelled.
pub(crate) async fn until(
    interrupt: CancellationToken,
    server: SocketAddr,
    arguments: &[&str],
) -> (String, Result<(), Failure>) {
    use clap::Parser;
    let url = format!("http://{server}");
    let line = ["ragstone"].iter().chain(arguments).copied().chain(["--url", &url]);
    let Command::Task(task) = Cli::try_parse_from(line).unwrap().command else { unreachable!("`up` is no task") };
    let written = Written::default();
    let mut session = Session { out: Output::new(written.clone()), interrupt };
    let end = commands::run(task, &mut session).await;
    let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    (written, end)
}

/// The exit code that `end` leads to.
pub(crate) fn exit(end: &Result<(), Failure>) -> Exit {
    end.as_ref().map_or_else(|failure| failure.exit, |()| Exit::Done)
}
