//! A real server of a real language model with the OpenAI API: llama.cpp, through llama-cpp-python, with SmolLM2-135M.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::Process;

/// The model's name at the server.
pub const MODEL: &str = "smollm2";
/// The key the server wants.
pub const API_KEY: &str = "test-key";
/// Length of the model's embeddings.
pub const DIMENSION: usize = 576;

/// Its id in the model manifest.
const MODEL_ID: &str = "smollm2-135m-instruct";
/// Its file in the model store.
const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// How long the server may take to start: Python imports a lot, then the weights are mapped.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Tokens of prompt and answer together.
const CONTEXT: &str = "2048";
/// The model is made for chat and says nothing about pooling: the mean over a text's tokens is its embedding.
const POOLING: &str = "llama.pooling_type=int:1";

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct ModelServer {
    process: Process,
    /// What a client calls its base URL, for example `http://127.0.0.1:20123/v1`.
    pub base_url: String,
    _dir: TempDir,
}

impl ModelServer {
    /// A server on a free loopback port, ready to answer.
    ///
    /// # Errors
    /// When the program or the model is not there, naming the command that installs it, or the server does not start.
    pub async fn start() -> Result<Self> {
        let (python, model) = (python()?, model()?);
        let (dir, port) = (TempDir::new()?, free_port()?);
        let mut args: Vec<OsString> = ["-m", "llama_cpp.server", "--host", "127.0.0.1"].map(Into::into).to_vec();
        for (name, value) in [
            ("--port", port.to_string().into()),
            ("--model", model.into_os_string()),
            ("--model_alias", MODEL.into()),
            ("--api_key", API_KEY.into()),
            ("--n_ctx", CONTEXT.into()),
            ("--embedding", "true".into()),
            ("--kv_overrides", POOLING.into()),
            ("--verbose", "false".into()),
        ] {
            args.extend([OsString::from(name), value]);
        }
        let process = Process::start("model-server", &python, &args, &[], dir.path())?;
        let mut server = Self { process, base_url: format!("http://127.0.0.1:{port}/v1"), _dir: dir };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Result<()> {
        // The first to install a provider wins; any is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let started = Instant::now();
        loop {
            let answer = http.get(format!("{}/models", self.base_url)).bearer_auth(API_KEY).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.process.ended()? {
                bail!("the model server ended with {status}:\n{}", self.process.log_tail());
            }
            let late = started.elapsed() >= START_TIMEOUT;
            ensure!(!late, "the model server did not start:\n{}", self.process.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Python of the virtual environment that `scripts/test-python.sh` makes; `RAGSTONE_TEST_PYTHON` names another one.
fn python() -> Result<PathBuf> {
    let environment = std::env::var_os("RAGSTONE_TEST_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/test-python"), PathBuf::from);
    let installed = std::fs::read_dir(environment.join("lib")).is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|v| v.path().join("site-packages/llama_cpp/server").is_dir()))
    });
    let place = environment.display();
    ensure!(installed, "llama-cpp-python is not in {place}: scripts/test-python.sh installs it");
    Ok(environment.join("bin/python"))
}

/// The model in the store of models.
fn model() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let models = set("RAGSTONE_MODELS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("ragstone/models")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/ragstone/models")))
        .context("set RAGSTONE_MODELS to the directory where models are kept")?;
    let file = models.join(MODEL_ID).join(FILE);
    ensure!(file.is_file(), "{} is not there: `ragstone models pull {MODEL_ID}` fetches it", file.display());
    Ok(file)
}
