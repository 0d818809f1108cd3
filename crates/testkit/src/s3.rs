//! An S3-compatible server: moto from PyPI, which checks keys and signatures and forgets everything when it stops.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::Process;
use crate::tls::{ServerCertificate, server_certificate};

/// The bucket that is there from the start.
pub const BUCKET: &str = "ragstone-test";
/// The server's region.
pub const REGION: &str = "us-east-1";

/// How long the server may take to start: Python imports a lot.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests the server takes without a valid key: three that make a user, one that makes the bucket.
const UNSIGNED_REQUESTS: &str = "4";

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct S3Server {
    process: Process,
    /// Where it serves, for example `http://127.0.0.1:20123`.
    pub endpoint: String,
    /// A key that may do everything.
    pub access_key_id: String,
    /// The secret of that key.
    pub secret_access_key: String,
    /// The authority to trust, when it serves over TLS.
    pub ca: Option<PathBuf>,
    _dir: TempDir,
}

impl S3Server {
    /// A server without TLS.
    ///
    /// # Errors
    /// When moto is not installed (`scripts/test-python.sh` does that) or does not start.
    pub async fn start() -> Result<Self> {
        Self::launch(TempDir::new()?, None).await
    }

    /// A server with a certificate for `localhost`, and for nothing else.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub async fn start_tls() -> Result<Self> {
        let dir = TempDir::new()?;
        let certificate = server_certificate(dir.path(), &["localhost"])?;
        Self::launch(dir, Some(certificate)).await
    }

    async fn launch(dir: TempDir, tls: Option<ServerCertificate>) -> Result<Self> {
        let port = free_port()?;
        let mut args: Vec<OsString> = ["-H", "127.0.0.1", "-p"].map(Into::into).to_vec();
        args.push(port.to_string().into());
        if let Some(tls) = &tls {
            args.extend(["-s".into(), "-c".into(), tls.certificate.clone().into()]);
            args.extend(["-k".into(), tls.key.clone().into()]);
        }
        let env = [("INITIAL_NO_AUTH_ACTION_COUNT".to_owned(), UNSIGNED_REQUESTS.to_owned())];
        let mut process = Process::start("moto", &program()?, &args, &env, dir.path())?;
        let endpoint = match &tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let http = client(tls.as_ref())?;
        ready(&http, &endpoint, &mut process).await?;
        let (access_key_id, secret_access_key) = make_user(&http, &endpoint).await?;
        make_bucket(&http, &endpoint).await?;
        let ca = tls.map(|tls| tls.ca);
        Ok(Self { process, endpoint, access_key_id, secret_access_key, ca, _dir: dir })
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it had ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}

/// Moto's program in the virtual environment that `scripts/test-python.sh` makes; `RAGSTONE_TEST_PYTHON` names another
/// environment.
fn program() -> Result<PathBuf> {
    let environment = std::env::var_os("RAGSTONE_TEST_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/test-python"), PathBuf::from);
    let program = environment.join("bin/moto_server");
    ensure!(program.is_file(), "{} is not there: scripts/test-python.sh installs it", program.display());
    Ok(program)
}

fn client(tls: Option<&ServerCertificate>) -> Result<reqwest::Client> {
    // The first to install a provider wins; any is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
    if let Some(tls) = tls {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&tls.ca)?)?;
        builder = builder.tls_certs_only([ca]);
    }
    Ok(builder.build()?)
}

async fn ready(http: &reqwest::Client, endpoint: &str, process: &mut Process) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = http.get(format!("{endpoint}/moto-api/")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = process.ended()? {
            bail!("moto ended with {status}:\n{}", process.log_tail());
        }
        ensure!(started.elapsed() < START_TIMEOUT, "moto did not start:\n{}", process.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Moto finds the service by the scope of the signature, which it does not check yet.
fn unsigned(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=none/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

async fn make_user(http: &reqwest::Client, endpoint: &str) -> Result<(String, String)> {
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    iam(http, endpoint, "CreateUser", &[]).await?;
    iam(http, endpoint, "PutUserPolicy", &[("PolicyName", "all"), ("PolicyDocument", policy)]).await?;
    let answer = iam(http, endpoint, "CreateAccessKey", &[]).await?;
    let field = |name: &str| {
        let rest = answer.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        let value = rest.and_then(|rest| rest.split_once("</")).map(|(value, _)| value.to_owned());
        value.with_context(|| format!("no {name} in {answer}"))
    };
    Ok((field("AccessKeyId")?, field("SecretAccessKey")?))
}

async fn iam(http: &reqwest::Client, endpoint: &str, action: &str, fields: &[(&str, &str)]) -> Result<String> {
    let mut query = vec![("Action", action), ("Version", "2010-05-08"), ("UserName", "tester")];
    query.extend(fields);
    let request = http.post(endpoint).query(&query).header("authorization", unsigned("iam"));
    let answer = request.send().await?.error_for_status().with_context(|| format!("moto refuses {action}"))?;
    Ok(answer.text().await?)
}

async fn make_bucket(http: &reqwest::Client, endpoint: &str) -> Result<()> {
    let request = http.put(format!("{endpoint}/{BUCKET}")).header("authorization", unsigned("s3"));
    request.send().await?.error_for_status().context("moto refuses the bucket")?;
    Ok(())
}
