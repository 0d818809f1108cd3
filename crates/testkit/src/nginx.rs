//! A real nginx before a gateway, as most installations have one: with its defaults, buffering included.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Process, installed};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Where Debian's package puts it, which is not on everybody's path.
const DEBIAN: &str = "/usr/sbin/nginx";

/// A running nginx; stopped when dropped.
#[derive(Debug)]
pub struct Nginx {
    /// What clients call, for example `http://127.0.0.1:20123`.
    pub url: String,
    process: Process,
    _dir: TempDir,
}

impl Nginx {
    /// Starts one that hands everything on to `upstream` (`http://host:port`).
    ///
    /// # Errors
    /// When nginx is not installed or does not start.
    pub async fn start(upstream: &str) -> Result<Self> {
        let (dir, port) = (TempDir::new()?, free_port()?);
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, configuration(upstream, port, dir.path()))?;
        let args: Vec<OsString> =
            ["-c".into(), file.into(), "-p".into(), dir.path().into(), "-e".into(), "stderr".into()].into();
        let process = Process::start("nginx", &program()?, &args, &[], dir.path())?;
        let mut nginx = Self { url: format!("http://127.0.0.1:{port}"), process, _dir: dir };
        nginx.ready(port).await?;
        Ok(nginx)
    }

    async fn ready(&mut self, port: u16) -> Result<()> {
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = self.process.ended()? {
                bail!("nginx ended with {status}:\n{}", self.process.log_tail());
            }
            anyhow::ensure!(started.elapsed() < START_TIMEOUT, "nginx does not answer:\n{}", self.process.log_tail());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }
}

fn program() -> Result<PathBuf> {
    let debian = Path::new(DEBIAN);
    if debian.is_file() { Ok(debian.to_owned()) } else { installed("nginx", "nginx-light") }
}

/// Only what it needs to run here as anybody; how it hands requests on is nginx's default.
fn configuration(upstream: &str, port: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; worker_rlimit_nofile 1024;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {upstream}; }}
  }}
}}
"
    )
}
