//! `ragstone up`: everything in this process, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use ragstone_config::Sources;
use ragstone_rpc::{Admin, ServiceConfig as _, bind, serve_admin, stop_signal};
use tokio_util::sync::CancellationToken;

use crate::stack::{Config, Stack, stored_in};

/// How to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TOML file; every key is in docs/configuration.md
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG")]
    config: Option<PathBuf>,
    /// Where documents and index are kept [default: ./.ragstone]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the gateway listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where /healthz, /readyz and /metrics are served [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Print the merged configuration, secrets redacted, and leave
    #[arg(long)]
    dump_config: bool,
}

/// Runs until SIGTERM or SIGINT, or until a service fails.
pub(crate) fn run(args: Args) -> ExitCode {
    ragstone_rpc::exit_code(start(args))
}

fn start(args: Args) -> anyhow::Result<()> {
    let dump = args.dump_config;
    let env = |key: &str| std::env::var(key).ok();
    let config = Config::load(sources(args), &env)?;
    if dump {
        let text = ragstone_config::dump(&config)?;
        return std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).context("standard output");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio")?;
    runtime.block_on(async {
        let telemetry = ragstone_telemetry::init("up", &config.telemetry, &env)?;
        let listener = bind(config.gateway.listen()).await?;
        let admin_listener = bind(config.gateway.admin_listen()).await?;
        let stop = stop_signal()?;
        let mut stack = Stack::start(config, listener).await?;
        let admin = Admin { services: stack.healths(), metrics: telemetry.metrics() };
        let admin_stop = CancellationToken::new();
        let admin = serve_admin(admin_listener, admin, admin_stop.clone());
        let outcome = tokio::select! {
            outcome = until_stopped(&mut stack, &stop) => outcome,
            () = stop.cancelled() => Ok(()),
        };
        let stopped = stack.stop().await;
        admin_stop.cancel();
        admin.ended().await?;
        drop(telemetry);
        outcome.and(stopped)
    })
}

async fn until_stopped(stack: &mut Stack, stop: &CancellationToken) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    stack.ready().await?;
    let address = format!("http://{}", stack.address);
    tracing::info!(address, milliseconds = started.elapsed().as_millis(), "ready");
    tokio::select! {
        outcome = stack.first_to_end() => outcome,
        () = stop.cancelled() => Ok(()),
    }
}

/// The command line's own values above all others.
fn sources(args: Args) -> Sources {
    let mut overrides = args.data_dir.as_deref().map(stored_in).unwrap_or_default();
    for (key, address) in [("gateway.listen", args.listen), ("gateway.admin_listen", args.admin_listen)] {
        overrides.extend(address.map(|address| (key.to_owned(), address.to_string())));
    }
    Sources { file: args.config, env: ragstone_config::environment(), overrides }
}
