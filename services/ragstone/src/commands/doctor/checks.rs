//! The checks of `ragstone doctor`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ragstone_config::Sources;
use ragstone_models::ModelState;
use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::Check;
use crate::client::{Client, RequestError};
use crate::commands::models;
use crate::failure::Failure;
use crate::stack::Config;

/// Less free disk than this, in bytes, and the services refuse new documents before long;
const LITTLE_DISK: u64 = 512 * 1024 * 1024;
/// less than this is worth a word.
const MODEST_DISK: u64 = 4 * 1024 * 1024 * 1024;
/// How long Python may take to say its version.
const PYTHON: Duration = Duration::from_secs(20);

/// Whether the configuration that `up` would run with is usable; what it is.
pub(super) fn configuration(file: Option<PathBuf>) -> (Check, Option<Config>) {
    let name = file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let sources = Sources { file, env: ragstone_config::environment(), overrides: Vec::new() };
    match Config::load(sources, &|key| std::env::var(key).ok()) {
        Ok(config) => {
            (Check::ok("configuration", format!("{name}, environment and defaults are usable")), Some(config))
        }
        Err(error) => (Check::fail("configuration", error.to_string(), "Correct the key it names."), None),
    }
}

/// Whether the model `id` in `folder`, or where the environment says, is there and whole; where it is absent, whether
/// pip is there to fetch it.
pub(super) async fn model(id: &str, folder: Option<PathBuf>) -> Vec<Check> {
    let pull = format!("Fetch it with `ragstone models pull {id}`");
    let status = match models::open(folder) {
        Ok(store) => store.verify(id).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match status {
        Err(failure) => vec![Check::fail("model", failure.message, "Correct embedding.model or RAGSTONE_MODELS.")],
        Ok(model) => match model.state {
            ModelState::Present => {
                vec![Check::ok("model", format!("{id} in {} is whole", model.path.display()))]
            }
            ModelState::Absent | ModelState::Corrupt => {
                vec![Check::fail("model", format!("{id}: {}", model.problems.join("; ")), pull), pip().await]
            }
        },
    }
}

/// Whether `folder` can be written to, and how much room there is.
pub(super) fn data_dir(folder: &Path) -> Vec<Check> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // A folder that is not there yet is made inside the nearest one that is.
    let Some(existing) = absolute.ancestors().find(|path| path.exists()) else {
        return vec![Check::fail("data directory", format!("{} has no parent", folder.display()), "Name another one.")];
    };
    let shown = absolute.display();
    let writable = match tempfile::tempfile_in(existing) {
        Ok(_) if existing == absolute => Check::ok("data directory", format!("{shown} is writable")),
        Ok(_) => Check::ok("data directory", format!("{shown} can be created")),
        Err(error) => Check::fail(
            "data directory",
            format!("{}: {error}", existing.display()),
            "Give this user the right to write there, or name another directory with --data-dir.",
        ),
    };
    vec![writable, disk(existing)]
}

fn disk(folder: &Path) -> Check {
    let advice = "Free some space, or name a directory on another disk with --data-dir.";
    match fs4::available_space(folder) {
        Err(error) => Check::warn("free disk", error.to_string(), advice),
        Ok(free) => {
            let found = format!("{:.1} GiB", free as f64 / f64::from(1 << 30));
            match free {
                _ if free < LITTLE_DISK => Check::fail("free disk", found, advice),
                _ if free < MODEST_DISK => Check::warn("free disk", found, advice),
                _ => Check::ok("free disk", found),
            }
        }
    }
}

/// Whether pip is there, which fetches models where the Hugging Face hub cannot be reached.
async fn pip() -> Check {
    let advice = "Install Python's pip (Debian: apt-get install python3-pip), unless the Hugging Face hub is in reach.";
    let mut command = Command::new("python3");
    let command = command.args(["-m", "pip", "--version"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
    match timeout(PYTHON, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            Check::ok("pip", version.split(" from ").next().unwrap_or_default().trim())
        }
        Ok(Ok(output)) => Check::warn("pip", String::from_utf8_lossy(&output.stderr).trim().to_owned(), advice),
        Ok(Err(error)) => Check::warn("pip", format!("python3: {error}"), advice),
        Err(_) => Check::warn("pip", "python3 does not answer", advice),
    }
}

/// Whether the gateway answers, and takes the credential.
pub(super) async fn gateway(client: &Client) -> Check {
    let url = client.url(&[]);
    let request = client.request(Method::GET, &["documents"]).query(&[("limit", 1)]);
    match client.json::<Value>(request).await {
        Ok(_) => Check::ok("gateway", format!("{url} answers")),
        Err(error @ RequestError::Unreachable { .. }) => {
            Check::warn("gateway", error.to_string(), "Start it with `ragstone up`, or name it with --url.")
        }
        Err(error) if error.is_fatal() => {
            Check::fail("gateway", error.to_string(), "Give a valid token with --token or RAGSTONE_TOKEN.")
        }
        Err(error) => Check::fail("gateway", error.to_string(), "See the server's log."),
    }
}

/// What the admin port says of the server and its dependencies.
pub(super) async fn readiness(admin: &Client) -> Vec<Check> {
    let readiness = match admin.readiness().await {
        Ok(readiness) => readiness,
        Err(error @ RequestError::Unreachable { .. }) => {
            return vec![Check::warn("readiness", error.to_string(), "Name the admin port with --admin-url.")];
        }
        Err(error) => return vec![Check::fail("readiness", error.to_string(), "Check --admin-url.")],
    };
    let mut checks = vec![if readiness.status == "ready" {
        Check::ok("readiness", "ready")
    } else {
        Check::fail("readiness", readiness.status, "See which dependency is down below, and the server's log.")
    }];
    checks.extend(readiness.checks.into_iter().map(|dependency| {
        let name = format!("  {}", dependency.name);
        let found = dependency.detail.unwrap_or_else(|| dependency.state.clone());
        match (dependency.state.as_str(), dependency.critical) {
            ("up", _) => Check::ok(name, found),
            (_, true) => Check::fail(name, found, "The server is not ready without it."),
            (_, false) => Check::warn(name, found, "Answers are degraded without it."),
        }
    }));
    checks
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::State;
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_fine_and_one_that_cannot_be_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let checks = data_dir(&folder.path().join("a/b"));
        assert_eq!(checks[0].state, State::Ok);
        assert!(checks[0].found.ends_with("a/b can be created"));
        assert!(!folder.path().join("a").exists(), "a check creates nothing");
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(data_dir(&folder.path().join("file/b"))[0].state, State::Fail);
    }

    #[tokio::test]
    async fn a_model_that_is_absent_is_named_with_what_fetches_it() {
        let folder = tempfile::tempdir().unwrap();
        let checks = model(ragstone_models::DEFAULT_EMBEDDER, Some(folder.path().to_owned())).await;
        assert_eq!((checks[0].name.as_str(), checks[0].state), ("model", State::Fail));
        assert!(checks[0].advice.as_deref().unwrap().contains("ragstone models pull"));
        assert_eq!(checks[1].name, "pip");
        assert!(model("gpt-9", Some(folder.path().to_owned())).await[0].found.contains("gpt-9"));
    }

    #[tokio::test]
    async fn a_dependency_that_is_down_is_named() {
        use axum::http::StatusCode;
        use axum::{Json, Router, routing::get};
        let answer = serde_json::json!({"status": "not_ready", "checks": [
            {"name": "index", "critical": true, "state": "down", "detail": "disk full"},
            {"name": "model", "critical": false, "state": "down"},
            {"name": "catalog", "critical": true, "state": "up"}]});
        let route = get(|| async { (StatusCode::SERVICE_UNAVAILABLE, Json(answer)) });
        let server = crate::fake::serve(Router::new().route("/readyz", route)).await;
        let client = Client::with_base(format!("http://{server}").parse().unwrap(), None).unwrap();
        let checks = readiness(&client).await;
        let found: Vec<_> = checks.iter().map(|check| (check.name.trim(), check.state)).collect();
        let expected =
            [("readiness", State::Fail), ("index", State::Fail), ("model", State::Warn), ("catalog", State::Ok)];
        assert_eq!(found, expected);
        assert_eq!(checks[1].found, "disk full");
    }
}
