//! A real PostgreSQL server on a free loopback port, in a temporary directory, gone when the test process is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};

use crate::ports::free_port;
use crate::tls::ServerCertificate;

/// How long the server may take to start or stop, in seconds.
const PATIENCE: &str = "30";
/// How long a replica may take to have caught up.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(20);
/// How long processes may take to be gone after SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(25);
/// The name and the password of the user that owns everything.
pub const USER: &str = "ragstone";
/// See [`USER`].
pub const PASSWORD: &str = "correct-horse";
/// The system user that the server runs as when the tests run as root, which it refuses to do itself.
const SYSTEM_USER: &str = "postgres";

/// A running server with a directory of its own; stopped and removed when dropped, and when the process ends in whatever way.
#[derive(Debug)]
pub struct PostgresServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    bin: PathBuf,
    dir: PathBuf,
    databases: AtomicU32,
    /// Dropping it lets the guard know.
    _alive: ChildStdin,
    _guard: Child,
}

impl PostgresServer {
    /// Starts a server that takes passwords only, and waits until it answers.
    ///
    /// # Errors
    /// When Debian's package `postgresql` is not installed, or the server does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// The same with TLS, which clients may use or not.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub async fn start_with_tls(certificate: &ServerCertificate) -> Result<Self> {
        Self::start_with(Some(certificate)).await
    }

    async fn start_with(tls: Option<&ServerCertificate>) -> Result<Self> {
        let server = Self::prepare()?;
        let password = server.dir.join("password");
        std::fs::write(&password, PASSWORD)?;
        let data = server.data();
        let mut initdb = server.program("initdb");
        initdb.arg("-D").arg(&data).args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
        initdb.args(["--no-locale", "--no-instructions", "--pwfile"]).arg(&password);
        run(initdb).await?;
        let mut settings = server.settings();
        if let Some(tls) = tls {
            let key = server.dir.join("server.key");
            std::fs::copy(&tls.key, &key)?;
            let certificate = server.dir.join("server.pem");
            std::fs::copy(&tls.certificate, &certificate)?;
            settings +=
                &format!("ssl = on\nssl_key_file = '{}'\nssl_cert_file = '{}'\n", key.display(), certificate.display());
            server.own(&[&key, &certificate]).await?;
        }
        server.configure(&settings)?;
        server.launch().await?;
        Ok(server)
    }

    /// A directory, and the guard that ends server and directory when this process ends.
    fn prepare() -> Result<Self> {
        let bin = binaries()?;
        let dir = TempDir::new()?.keep();
        if is_root()? {
            let owned = std::process::Command::new("chown").arg(SYSTEM_USER).arg(&dir).status()?;
            ensure!(owned.success(), "{} cannot be given to {SYSTEM_USER}", dir.display());
        }
        // A server that a test has stalled must go on before it can stop.
        let script = "trap '' INT TERM HUP; cat >/dev/null; \
                      pid=$(head -n 1 \"$0/data/postmaster.pid\") && kill -CONT $pid $(cat /proc/$pid/task/$pid/children); \
                      shift; \"$@\" stop -D \"$0/data\" -m immediate; rm -rf -- \"$0\"";
        let mut guard = Command::new("sh");
        guard.args(["-c", script]).arg(&dir).arg("guard").args(as_user()?).arg(bin.join("pg_ctl"));
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let mut guard = guard.spawn().context("the guard of the PostgreSQL server")?;
        let alive = guard.stdin.take().context("the guard's standard input")?;
        Ok(Self { port: free_port()?, bin, dir, databases: AtomicU32::new(0), _alive: alive, _guard: guard })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn settings(&self) -> String {
        format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nmax_connections = 300\n\
             shared_buffers = '64MB'\nlog_lock_waits = on\n",
            self.port
        )
    }

    fn configure(&self, settings: &str) -> Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).open(self.data().join("postgresql.conf"))?;
        Ok(file.write_all(settings.as_bytes())?)
    }

    async fn own(&self, files: &[&Path]) -> Result<()> {
        for file in files {
            let mut chmod = Command::new("chmod");
            chmod.arg("600").arg(file);
            run(chmod).await?;
            if is_root()? {
                let mut chown = Command::new("chown");
                chown.arg(SYSTEM_USER).arg(file);
                run(chown).await?;
            }
        }
        Ok(())
    }

    /// One of PostgreSQL's own programs, as the user that may run it.
    fn program(&self, name: &str) -> Command {
        let mut words = as_user().unwrap_or_default().into_iter();
        let program = self.bin.join(name);
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env("PGPASSWORD", PASSWORD).current_dir("/").kill_on_drop(true);
        command
    }

    async fn launch(&self) -> Result<()> {
        let mut start = self.program("pg_ctl");
        start.args(["start", "-w", "-t", PATIENCE, "-D"]).arg(self.data()).arg("-l").arg(self.dir.join("server.log"));
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(start.status().await?.success(), "the PostgreSQL server did not start:\n{}", self.log());
        Ok(())
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_else(|error| error.to_string())
    }

    /// The URL of a database, with the owner's password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a new empty database; returns its name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn create_database(&self) -> Result<String> {
        self.create_database_from("template0").await
    }

    /// Makes a new database that is a copy of another, which nobody may use meanwhile.
    ///
    /// # Errors
    /// When the server does not answer or the other database is in use.
    pub async fn create_database_from(&self, template: &str) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        Ok(name)
    }

    /// Runs SQL as the owner and returns what it prints: rows by line, columns separated by `|`.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]).arg(self.url(database)).args(["-c", sql]);
        run(psql).await
    }

    /// Stops it in good order; connections are closed.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(&self) -> Result<()> {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "-w", "-t", PATIENCE, "-m", "fast", "-D"]).arg(self.data());
        run(stop).await.map(|_| ())
    }

    /// SIGKILL: it gets no chance to do anything any more.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn kill(&self) -> Result<()> {
        let killed = self.signal("KILL").await?;
        // Dead, or waiting for whoever adopted it to take notice, which in a container may be never: the next start would
        // take that for a running server.
        let started = Instant::now();
        while killed.iter().any(|pid| is_alive(pid)) {
            ensure!(started.elapsed() < STOP_TIMEOUT, "the PostgreSQL server does not end");
            tokio::time::sleep(POLL).await;
        }
        Ok(std::fs::remove_file(self.data().join("postmaster.pid"))?)
    }

    /// SIGSTOP to the server and all that serve a connection: connections stay, nothing is answered.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn stall(&self) -> Result<()> {
        self.signal("STOP").await.map(|_| ())
    }

    /// SIGCONT: ends [`Self::stall`].
    ///
    /// # Errors
    /// When it has ended.
    pub async fn resume(&self) -> Result<()> {
        self.signal("CONT").await.map(|_| ())
    }

    /// Sends a signal to the server and to all that serve a connection; returns their process ids.
    async fn signal(&self, name: &str) -> Result<Vec<String>> {
        let pid = self.pid()?;
        // The others are known before for a server that ends, and after for one that only stops.
        let before = children(&pid);
        send(name, &pid).await?;
        let mut all = vec![pid.clone()];
        for child in before.into_iter().chain(children(&pid)) {
            if !all.contains(&child) {
                // It may have ended by itself.
                let _ = send(name, &child).await;
                all.push(child);
            }
        }
        Ok(all)
    }

    fn pid(&self) -> Result<String> {
        let file = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&file).context("the PostgreSQL server has ended")?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Starts it again on the same port with what is on disk.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&self) -> Result<()> {
        self.launch().await
    }

    /// A streaming replica of this server, which takes reads only.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub async fn replica(&self) -> Result<Self> {
        let replica = Self::prepare()?;
        let mut backup = replica.program("pg_basebackup");
        let port = self.port.to_string();
        backup.args(["-h", "127.0.0.1", "-U", USER, "-p", &port, "-c", "fast", "-R", "-D"]).arg(replica.data());
        run(backup).await?;
        replica.configure(&replica.settings())?;
        replica.launch().await?;
        Ok(replica)
    }

    /// Waits until a replica has what this server has now.
    ///
    /// # Errors
    /// When it does not catch up.
    pub async fn wait_for(&self, replica: &Self) -> Result<()> {
        let here = self.sql("postgres", "SELECT pg_current_wal_lsn()").await?;
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{here}'");
        let started = Instant::now();
        while replica.sql("postgres", &question).await? != "t" {
            ensure!(started.elapsed() < REPLICA_TIMEOUT, "the replica does not catch up:\n{}", replica.log());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn children(pid: &str) -> Vec<String> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

async fn send(name: &str, pid: &str) -> Result<()> {
    // The shell's own `kill`: the program of that name is not on every machine.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("kill -{name} {pid}")]);
    run(shell).await.map(|_| ())
}

/// Whether the process still does something: what has ended and is only not yet taken notice of does not count.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']) && !rest.is_empty())
}

/// The newest PostgreSQL that Debian's packages have put here, or the one on the path.
fn binaries() -> Result<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| (0, dir));
    let all =
        installed.chain(on_path).filter(|(_, dir)| ["initdb", "pg_ctl", "psql"].iter().all(|p| dir.join(p).is_file()));
    let newest = all.max_by_key(|(version, _)| *version);
    let (_, bin) = newest.context(
        "PostgreSQL's initdb, pg_ctl and psql are not installed: they are in the package postgresql (scripts/test-tools.sh)",
    )?;
    Ok(bin)
}

fn is_root() -> Result<bool> {
    let output = std::process::Command::new("id").arg("-u").output().context("id -u")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// What goes in front of a command that the server's user must run.
fn as_user() -> Result<Vec<String>> {
    if !is_root()? {
        return Ok(Vec::new());
    }
    let words = ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups"];
    Ok(words.map(str::to_owned).to_vec())
}

async fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn nothing_is_left_of_a_server_also_when_it_was_stalled_or_killed() {
        let server = PostgresServer::start().await.unwrap();
        let database = server.create_database().await.unwrap();
        server.sql(&database, "CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
        server.kill().await.unwrap();
        assert!(server.sql(&database, "SELECT 1").await.is_err());
        server.start_again().await.unwrap();
        assert_eq!(server.sql(&database, "SELECT n FROM kept").await.unwrap(), "7");
        server.stop().await.unwrap();
        server.start_again().await.unwrap();
        server.stall().await.unwrap();
        let (pid, dir) = (server.pid().unwrap(), server.dir.clone());
        assert!(is_alive(&pid));
        drop(server);
        let started = Instant::now();
        while is_alive(&pid) || dir.exists() {
            assert!(started.elapsed() < STOP_TIMEOUT, "{pid} {}", dir.display());
            tokio::time::sleep(POLL).await;
        }
    }
}
