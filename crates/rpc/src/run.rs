//! A service's life: configuration, telemetry, ports, work, stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use ragstone_config::{ConfigError, Sources};
use ragstone_core::ErrorCode;
use ragstone_telemetry::TelemetryConfig;
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Admin, Health, ServerConfig, ServiceConfig, serve_admin};

/// Exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub const CONFIG_EXIT: u8 = 78;

/// Connections that may wait to be accepted: the usual 128 overflow when many clients come back at once.
const BACKLOG: u32 = 4_096;

/// Every section a configuration may have: one file serves all services, each reads its own part.
pub const SECTIONS: [&str; 7] = ["server", "telemetry", "gateway", "embedding", "retrieval", "generation", "ingestion"];

/// What a service's `serve` gets beside its configuration.
pub struct Runtime {
    /// The service's name.
    pub name: &'static str,
    /// Where it serves, already bound.
    pub listener: TcpListener,
    /// Fires when it must stop.
    pub shutdown: CancellationToken,
    /// Its readiness; `serve` registers the dependencies.
    pub health: Health,
    /// How it treats connections and stops.
    pub server: ServerConfig,
}

#[derive(Debug, Parser)]
#[command(version, about = "One of Ragstone's services.")]
struct Args {
    /// TOML file; every key is in docs/configuration.md.
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG")]
    config: Option<PathBuf>,
    /// Where to serve.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Print the merged configuration, secrets redacted, and leave.
    #[arg(long)]
    dump_config: bool,
}

#[derive(Serialize)]
struct Dump<'a, C> {
    server: &'a ServerConfig,
    telemetry: &'a TelemetryConfig,
    #[serde(flatten)]
    own: HashMap<&'static str, &'a C>,
}

/// Runs one service as a process: the whole of its `main`.
pub fn run<C, F, S>(name: &'static str, serve: S) -> ExitCode
where
    C: ServiceConfig,
    S: FnOnce(C, Runtime) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    exit_code(start(name, serve))
}

/// Prints what went wrong on standard error and turns it into an exit code: 78 for the configuration, else 1.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    if error.is::<ConfigError>() { ExitCode::from(CONFIG_EXIT) } else { ExitCode::FAILURE }
}

/// How the failure to open what `section` configures is told: a setting that cannot be right, such as a wrong password or
/// a bucket that is not there, is a fault of the configuration (exit code 78).
pub fn unusable(section: &'static str) -> impl Fn(ragstone_core::Error) -> anyhow::Error {
    move |error| match error.code {
        ErrorCode::InvalidArgument | ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => {
            // What lies underneath may be pages long; the sentence names the setting.
            tracing::error!(error = error.chain(), section, "the configuration cannot be used");
            let problem = error.message.trim_start_matches(&format!("{section}.")).to_owned();
            ConfigError::Invalid { section: section.to_owned(), problem }.into()
        }
        _ => anyhow::anyhow!("{section}: {}", error.chain()),
    }
}

/// A section with the standard variables applied, checked.
///
/// # Errors
/// Names the section and the key.
pub fn load<C: ServiceConfig>(
    merged: &ragstone_config::Merged,
    name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<C, ConfigError> {
    let mut config: C = merged.section(name)?;
    config.apply_env(env);
    config.check().map_err(|problem| ConfigError::Invalid { section: name.to_owned(), problem })?;
    Ok(config)
}

/// The sections `server` and `telemetry`, checked.
///
/// # Errors
/// Names the section and the key.
pub fn load_shared(merged: &ragstone_config::Merged) -> Result<(ServerConfig, TelemetryConfig), ConfigError> {
    let (server, telemetry): (ServerConfig, TelemetryConfig) =
        (merged.section("server")?, merged.section("telemetry")?);
    for (section, checked) in [("server", server.check()), ("telemetry", telemetry.check())] {
        checked.map_err(|problem| ConfigError::Invalid { section: section.to_owned(), problem })?;
    }
    Ok((server, telemetry))
}

fn start<C, F, S>(name: &'static str, serve: S) -> anyhow::Result<()>
where
    C: ServiceConfig,
    S: FnOnce(C, Runtime) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let args = Args::parse();
    let overrides = [("listen", args.listen), ("admin_listen", args.admin_listen)]
        .into_iter()
        .filter_map(|(key, value)| Some((format!("{name}.{key}"), value?.to_string())))
        .collect();
    let merged = Sources { file: args.config, env: ragstone_config::environment(), overrides }.merge(&SECTIONS)?;
    let env = |key: &str| std::env::var(key).ok();
    let config: C = load(&merged, name, &env)?;
    let (server, telemetry) = load_shared(&merged)?;
    if args.dump_config {
        let own = HashMap::from([(name, &config)]);
        let text = ragstone_config::dump(&Dump { server: &server, telemetry: &telemetry, own })?;
        return std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).context("standard output");
    }
    // With two providers in the tree rustls would refuse to choose; a second call means that one is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio")?;
    runtime.block_on(async {
        let telemetry = ragstone_telemetry::init(name, &telemetry, &env)?;
        crate::client::check(&server).map_err(unusable("server"))?;
        let listener = bind(config.listen()).await?;
        let admin_listener = bind(config.admin_listen()).await?;
        let shutdown = stop_signal()?;
        let health = Health::default();
        let admin = Admin { services: vec![(name, health.clone())], metrics: telemetry.metrics() };
        let admin_stop = CancellationToken::new();
        let admin = serve_admin(admin_listener, admin, admin_stop.clone());
        let outcome = serve(config, Runtime { name, listener, shutdown, health, server }).await;
        // Last, so that probes could see the drain.
        admin_stop.cancel();
        admin.ended().await?;
        drop(telemetry);
        outcome
    })
}

/// Binds `address`.
///
/// # Errors
/// Names the address: a port clash is the most common one.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| format!("cannot listen on {address}"))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As any server does, to start again while connections of its predecessor fade away.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A token that fires at SIGTERM or SIGINT; a second signal ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_signal() -> anyhow::Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("SIGINT")?;
    let token = CancellationToken::new();
    let fired = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        tracing::info!("stopping; a second signal ends at once");
        fired.cancel();
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        std::process::exit(130);
    });
    Ok(token)
}
