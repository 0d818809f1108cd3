//! A whole Ragstone in child processes: all in one, or the five services apart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::client::Client;
use crate::ports::free_port;
use crate::process::{Process, binary};

/// How long a start may take on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// What signs tokens where authentication is required.
pub const SECRET: &str = "only a test would have such a secret as this";

/// The services that can stand alone, callees before callers.
pub const SERVICES: [&str; 5] = ["embedding", "retrieval", "generation", "ingestion", "gateway"];

/// Which processes make up the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `ragstone up`.
    AllInOne,
    /// One process for each service.
    FiveProcesses,
}

/// A running Ragstone with its data in a temporary directory.
#[derive(Debug)]
pub struct Stack {
    form: Form,
    dir: TempDir,
    env: Vec<(String, String)>,
    ports: HashMap<String, u16>,
    processes: HashMap<String, Process>,
}

impl Stack {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When a process ends or does not become ready; the message carries its log.
    pub async fn start(form: Form) -> Result<Self> {
        let mut stack = Self::prepare(form)?;
        stack.run().await?;
        Ok(stack)
    }

    /// Chooses ports and directory but starts nothing yet, so that addresses can be used before.
    ///
    /// # Errors
    /// When no port or directory can be had.
    pub fn prepare(form: Form) -> Result<Self> {
        // The HTTP client insists on a provider even for plain HTTP; another stack may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut ports = HashMap::new();
        for service in SERVICES {
            ports.insert(service.to_owned(), free_port()?);
            ports.insert(format!("{service}-admin"), free_port()?);
        }
        let mut stack = Self { form, dir: tempfile::tempdir()?, env: Vec::new(), ports, processes: HashMap::new() };
        stack.env = stack.own_env();
        Ok(stack)
    }

    /// Sets an environment variable of every process started from now on.
    pub fn env(&mut self, key: &str, value: &str) {
        self.env.push((key.to_owned(), value.to_owned()));
    }

    /// Every process started from now on wants credentials: tokens signed with [`SECRET`] or API keys. Nothing is limited, and
    /// a revoked key works for a second at most.
    pub fn require_authentication(&mut self) {
        for (key, value) in [
            ("AUTH__MODE", "required"),
            ("AUTH__JWT__HS256_SECRET", SECRET),
            ("AUTH__API_KEY_TTL_SECONDS", "1"),
            ("LIMITS__QUERIES_PER_HOUR", "0"),
        ] {
            self.env(&format!("RAGSTONE__GATEWAY__{key}"), value);
        }
    }

    /// Starts every process and waits until all are ready.
    ///
    /// # Errors
    /// As `start`.
    pub async fn run(&mut self) -> Result<()> {
        for name in self.names() {
            self.spawn(name)?;
        }
        self.ready().await
    }

    fn names(&self) -> Vec<&'static str> {
        match self.form {
            Form::AllInOne => vec!["up"],
            Form::FiveProcesses => SERVICES.to_vec(),
        }
    }

    /// Starts the process `name`: a service's name, or `up`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, name: &str) -> Result<()> {
        let (program, args) = match name {
            "up" => (binary("ragstone")?, vec!["up".into()]),
            service => (binary(&format!("ragstone-{service}"))?, Vec::new()),
        };
        let process = Process::start(name, &program, &args, &self.env, self.dir.path())?;
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// Starts one more process of `service`, called `name`, on ports of its own, and waits until it is ready. Its admin
    /// port is found under `name`.
    ///
    /// # Errors
    /// As `start`.
    pub async fn replica(&mut self, service: &'static str, name: &str) -> Result<()> {
        let (port, admin) = (free_port()?, free_port()?);
        self.ports.insert(name.to_owned(), port);
        self.ports.insert(format!("{name}-admin"), admin);
        let section = service.to_uppercase();
        let mut env = self.env.clone();
        env.push((format!("RAGSTONE__{section}__LISTEN"), format!("127.0.0.1:{port}")));
        env.push((format!("RAGSTONE__{section}__ADMIN_LISTEN"), format!("127.0.0.1:{admin}")));
        let program = binary(&format!("ragstone-{service}"))?;
        let process = Process::start(name, &program, &[], &env, self.dir.path())?;
        self.processes.insert(name.to_owned(), process);
        self.wait_for(name).await
    }

    fn own_env(&self) -> Vec<(String, String)> {
        let at = |name: &str| format!("127.0.0.1:{}", self.ports[name]);
        let data = self.dir.path().join("data");
        let mut env = vec![
            ("RAGSTONE__INGESTION__DATA_DIR".to_owned(), data.display().to_string()),
            ("RAGSTONE__RETRIEVAL__EDGE__PATH".to_owned(), data.join("index").display().to_string()),
            ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        ];
        // A busy machine is no fault: tests of slowness set these themselves.
        for limit in ["RETRIEVAL__EDGE__SHARD_TIMEOUT_MS", "GATEWAY__EMBED_TIMEOUT_MS", "GATEWAY__SEARCH_TIMEOUT_MS"] {
            env.push((format!("RAGSTONE__{limit}"), "20000".to_owned()));
        }
        for service in SERVICES {
            let section = service.to_uppercase();
            env.push((format!("RAGSTONE__{section}__LISTEN"), at(service)));
            env.push((format!("RAGSTONE__{section}__ADMIN_LISTEN"), at(&format!("{service}-admin"))));
        }
        for (section, peers) in [
            ("GATEWAY", &["embedding", "retrieval", "generation", "ingestion"][..]),
            ("INGESTION", &["embedding", "retrieval"][..]),
        ] {
            for peer in peers {
                let url = format!("http://{}", at(peer));
                env.push((format!("RAGSTONE__{section}__{}_URL", peer.to_uppercase()), url));
            }
        }
        env
    }

    /// Waits until every process says it is ready.
    ///
    /// # Errors
    /// When one ends, or it takes too long.
    pub async fn ready(&mut self) -> Result<()> {
        let admins: Vec<&str> = match self.form {
            Form::AllInOne => vec!["gateway"],
            Form::FiveProcesses => SERVICES.to_vec(),
        };
        for service in admins {
            self.wait_for(service).await?;
        }
        Ok(())
    }

    async fn wait_for(&mut self, service: &str) -> Result<()> {
        let until = Instant::now() + READY_TIMEOUT;
        while !self.is_ready(service).await {
            self.all_alive()?;
            if Instant::now() > until {
                let logs: Vec<_> = self.processes.values().map(Process::log_tail).collect();
                bail!("{service} is not ready after {READY_TIMEOUT:?}:\n{}", logs.join("\n---\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The environment of its processes, for commands that read the same configuration.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.env
    }

    fn all_alive(&mut self) -> Result<()> {
        for (name, process) in &mut self.processes {
            if let Some(status) = process.ended()? {
                bail!("{name} ended with {status}:\n{}", process.log_tail());
            }
        }
        Ok(())
    }

    async fn is_ready(&self, service: &str) -> bool {
        match reqwest::get(format!("{}/readyz", self.admin_url(service))).await {
            Ok(answer) => answer.status().is_success(),
            Err(_) => false,
        }
    }

    /// The gateway's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports["gateway"])
    }

    /// A service's own gRPC URL (only the gateway's is served when all is one process).
    #[must_use]
    pub fn service_url(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports[service])
    }

    /// A service's admin URL; all in one process: the gateway's stands for all.
    #[must_use]
    pub fn admin_url(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports[&format!("{service}-admin")])
    }

    /// A client of the gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// Where data and logs are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The process `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes.get_mut(name).with_context(|| format!("there is no process '{name}'"))
    }

    /// SIGTERM for every process, callers first; each must end with exit code 0.
    ///
    /// # Errors
    /// When one does not.
    pub async fn stop(mut self) -> Result<()> {
        for name in self.names().into_iter().rev() {
            let process = self.process(name)?;
            let status = process.terminate().await?;
            anyhow::ensure!(status.success(), "{name} ended with {status}:\n{}", process.log_tail());
        }
        Ok(())
    }
}
