//! Real Redis servers on free loopback ports: one alone, a primary with a replica behind Sentinels, a cluster.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::ports::free_port;
use crate::process::{Process, installed};
use crate::tls::ServerCertificate;

/// How long a server, or a set of them, may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(25);
/// What the Sentinels call the primary.
pub const SERVICE: &str = "ragstone";

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// The default user's password.
    pub password: Option<String>,
    /// With it the server speaks TLS, and nothing else.
    pub tls: Option<ServerCertificate>,
    /// Further arguments of the program.
    pub args: Vec<String>,
}

/// One running server; stopped when dropped.
#[derive(Debug)]
pub struct RedisServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    process: Process,
    options: RedisOptions,
    args: Vec<OsString>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When Debian's package `redis-server` is not installed, or the server does not start.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        Self::start_on(free_port()?, options).await
    }

    async fn start_on(port: u16, options: RedisOptions) -> Result<Self> {
        let dir = TempDir::new()?;
        let mut args = vec!["--bind".to_owned(), "127.0.0.1".to_owned(), "--save".to_owned(), String::new()];
        args.extend(["--dir", &dir.path().display().to_string(), "--daemonize", "no"].map(str::to_owned));
        match &options.tls {
            Some(tls) => {
                let file = |path: &Path| path.display().to_string();
                args.extend(["--port", "0", "--tls-auth-clients", "no", "--tls-port"].map(str::to_owned));
                args.extend([port.to_string(), "--tls-cert-file".to_owned(), file(&tls.certificate)]);
                args.extend([
                    "--tls-key-file".to_owned(),
                    file(&tls.key),
                    "--tls-ca-cert-file".to_owned(),
                    file(&tls.ca),
                ]);
            }
            None => args.extend(["--port".to_owned(), port.to_string()]),
        }
        if let Some(password) = &options.password {
            args.extend(["--requirepass", password, "--masterauth", password].map(str::to_owned));
        }
        args.extend(options.args.iter().cloned());
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let process = launch(&args, dir.path())?;
        let mut server = Self { port, process, options, args, dir };
        server.ready().await?;
        Ok(server)
    }

    /// SIGKILL: connections are reset, nothing is said.
    ///
    /// # Errors
    /// When it had ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again, empty, on the same port. It does not wait until the server answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = launch(&self.args, self.dir.path())?;
        Ok(())
    }

    /// SIGSTOP: connections stay, nothing is answered.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn stall(&self) -> Result<()> {
        self.signal("STOP").await
    }

    /// SIGCONT: ends [`RedisServer::stall`].
    ///
    /// # Errors
    /// When it has ended.
    pub async fn resume(&self) -> Result<()> {
        self.signal("CONT").await
    }

    async fn signal(&self, name: &str) -> Result<()> {
        // The shell's own `kill`: the program of that name is not on every machine.
        let command = format!("kill -{name} {}", self.process.id()?);
        ensure!(Command::new("sh").args(["-c", &command]).status().await?.success(), "{command} failed");
        Ok(())
    }

    /// What `redis-cli` prints for this command.
    ///
    /// # Errors
    /// When the server does not answer or answers with an error.
    pub async fn cli(&self, command: &[&str]) -> Result<String> {
        cli(self.port, &self.options, command).await
    }

    async fn ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while self.cli(&["PING"]).await.ok().as_deref() != Some("PONG") {
            if let Some(status) = self.process.ended()? {
                bail!("redis-server ended with {status}:\n{}", self.process.log_tail());
            }
            ensure!(started.elapsed() < START_TIMEOUT, "redis-server did not start:\n{}", self.process.log_tail());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn launch(args: &[OsString], dir: &Path) -> Result<Process> {
    Process::start("redis-server", &installed("redis-server", "redis-server")?, args, &[], dir)
}

async fn cli(port: u16, options: &RedisOptions, command: &[&str]) -> Result<String> {
    let mut cli = Command::new(installed("redis-cli", "redis-tools")?);
    cli.args(["-e", "-h", "127.0.0.1", "-p", &port.to_string()]);
    if let Some(tls) = &options.tls {
        cli.arg("--tls").arg("--cacert").arg(&tls.ca);
    }
    if let Some(password) = &options.password {
        cli.env("REDISCLI_AUTH", password);
    }
    let output = cli.args(command).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "redis-cli {command:?}: {text} {}", error.trim());
    Ok(text)
}

/// Waits until `done` says so; `what` is for the failure.
async fn until<F: Future<Output = Result<bool>>>(what: &str, done: impl Fn() -> F) -> Result<()> {
    let started = Instant::now();
    loop {
        match done().await {
            Ok(true) => return Ok(()),
            outcome => ensure!(started.elapsed() < START_TIMEOUT, "{what}: {outcome:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A primary with one replica, watched by three Sentinels that need half a second to notice a failure.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The first primary.
    pub primary: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    /// The Sentinels' ports on 127.0.0.1.
    pub ports: Vec<u16>,
    _sentinels: Vec<(Process, TempDir)>,
}

impl RedisSentinels {
    /// Starts them all and waits until the Sentinels agree.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn start(password: &str) -> Result<Self> {
        let options = |args: &[&str]| RedisOptions {
            password: Some(password.to_owned()),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..RedisOptions::default()
        };
        let quick = ["--repl-diskless-sync-delay", "0"];
        let primary = RedisServer::start(options(&quick)).await?;
        let follow = ["--replicaof", "127.0.0.1", &primary.port.to_string()];
        let replica = RedisServer::start(options(&follow)).await?;
        until("the replica does not follow", || async {
            Ok(replica.cli(&["INFO", "replication"]).await?.contains("master_link_status:up"))
        })
        .await?;
        let mut sentinels = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let port = free_port()?;
            sentinels.push(start_sentinel(port, primary.port, password)?);
            ports.push(port);
        }
        for port in &ports {
            until("the Sentinels do not agree", || sentinel_agrees(*port)).await?;
        }
        Ok(Self { primary, replica, ports, _sentinels: sentinels })
    }
}

fn start_sentinel(port: u16, primary: u16, password: &str) -> Result<(Process, TempDir)> {
    let dir = TempDir::new()?;
    let file = dir.path().join("sentinel.conf");
    let lines = [
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", dir.path().display()),
        format!("sentinel monitor {SERVICE} 127.0.0.1 {primary} 2"),
        format!("sentinel auth-pass {SERVICE} {password}"),
        format!("sentinel down-after-milliseconds {SERVICE} 500"),
        format!("sentinel failover-timeout {SERVICE} 3000"),
    ];
    std::fs::write(&file, lines.join("\n"))?;
    Ok((launch(&[file.into(), "--sentinel".into()], dir.path())?, dir))
}

async fn sentinel_agrees(port: u16) -> Result<bool> {
    let options = RedisOptions::default();
    // Both others and the replica are known: only then can they vote for it.
    let known = cli(port, &options, &["INFO", "sentinel"]).await?;
    Ok(known.contains("slaves=1,sentinels=3") && known.contains("status=ok"))
}

/// A cluster of three primaries without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the servers, divides the slots among them and waits until all know.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn start(password: Option<&str>) -> Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let bus = free_port()?.to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
            let args = args.map(str::to_owned).to_vec();
            let options = RedisOptions { password: password.map(str::to_owned), args, ..RedisOptions::default() };
            servers.push(RedisServer::start(options).await?);
        }
        let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let mut command = vec!["--cluster", "create"];
        command.extend(addresses.iter().map(String::as_str));
        command.push("--cluster-yes");
        servers[0].cli(&command).await?;
        for server in &servers {
            until("the cluster is not whole", || async {
                Ok(server.cli(&["CLUSTER", "INFO"]).await?.contains("cluster_state:ok"))
            })
            .await?;
        }
        Ok(Self { servers })
    }
}
