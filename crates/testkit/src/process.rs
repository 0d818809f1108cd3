//! Ragstone's own binaries as child processes: started, watched, killed.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// A process that does not stop within this time after SIGTERM has hung.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// Lines of a log that are shown when something went wrong.
const SHOWN_LINES: usize = 60;

/// One of the workspace's binaries, beside the test that is running.
///
/// # Errors
/// When it has not been built: `cargo build --workspace --all-targets` does.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("own path")?;
    let profile = test.ancestors().nth(2).context("a test lies in target/<profile>/deps")?;
    let path = profile.join(name);
    if !path.is_file() {
        bail!("{} is not there: `cargo build --workspace --all-targets` builds it", path.display());
    }
    Ok(path)
}

/// A program of the system, as the path finds it.
///
/// # Errors
/// When it is not installed: scripts/test-tools.sh does that from this package.
pub fn installed(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed: it is in the package {package} (scripts/test-tools.sh)"))
}

/// A running child; killed when dropped. Its standard error goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `args` and, beside `PATH` and `HOME`, exactly the variables of `env`; logs to `<log_dir>/<name>.log`
    /// (appended, so that a restart keeps the earlier part).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[OsString],
        env: &[(String, String)],
        log_dir: &Path,
    ) -> Result<Self> {
        let log = log_dir.join(format!("{name}.log"));
        let stderr = File::options().create(true).append(true).open(&log).context("log file")?;
        let kept = ["PATH", "HOME", "RAGSTONE_MODELS", "XDG_CACHE_HOME"];
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(kept.into_iter().filter_map(|key| Some((key, std::env::var_os(key)?))))
            .envs(env.iter().map(|(key, value)| (key, value)))
            .current_dir(log_dir)
            .stdin(std::process::Stdio::null())
            .stdout(stderr.try_clone()?)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// SIGKILL: it gets no chance to do anything any more.
    ///
    /// # Errors
    /// When it had ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        // The shell's own `kill`: the program of that name is not on every machine.
        let signal = format!("kill -TERM {}", self.id()?);
        let sent = Command::new("sh").args(["-c", &signal]).status().await.context("sh")?;
        anyhow::ensure!(sent.success(), "{} could not be signalled", self.name);
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not stop within {STOP_TIMEOUT:?}:\n{}", self.name, self.log_tail()),
        }
    }

    /// How it ended, when it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of {}'s log ---\n{}\n", self.name, self.log_tail());
        }
    }
}
