//! The Hugging Face hub, or any HTTP server with the same paths, as a source; downloads resume.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
};

use super::source::{SourceError, checked, partial};
use crate::{manifest::FileSpec, progress::Progress};

/// Sites without a way out to the hub must not wait long for the next source.
const CONNECT: Duration = Duration::from_secs(3);
const HEADERS: Duration = Duration::from_secs(4);
/// Longest silence within a download.
const IDLE: Duration = Duration::from_secs(30);

/// Downloads `url` into the file's `.part` beside its place in `dir`, going on where an earlier pull stopped.
pub(super) async fn fetch(
    url: &str,
    spec: &FileSpec,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, SourceError> {
    let client = client()?;
    let part = partial(dir, spec);
    let had = match tokio::fs::metadata(&part).await {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if had > 0 {
        match attempt(&client, url, &part, had.min(spec.size), spec, progress).await {
            // The earlier bytes were of something else, or of nothing the server knows: start again.
            Err(SourceError::Mismatch(_) | SourceError::Status(416)) => {}
            other => return other,
        }
    }
    attempt(&client, url, &part, 0, spec, progress).await
}

/// One download, the first `had` bytes of which are in `part` already.
async fn attempt(
    client: &Client,
    url: &str,
    part: &Path,
    had: u64,
    spec: &FileSpec,
    progress: &dyn Progress,
) -> Result<PathBuf, SourceError> {
    if had == spec.size {
        progress.advanced(&spec.name, had);
        return checked(part.to_owned(), spec).await;
    }
    let mut request = client.get(url);
    if had > 0 {
        request = request.header(RANGE, format!("bytes={had}-"));
    }
    let answer = tokio::time::timeout(HEADERS, request.send()).await;
    let mut response = answer.map_err(|_| SourceError::Late(HEADERS.as_secs()))??;
    if !response.status().is_success() {
        return Err(SourceError::Status(response.status().as_u16()));
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(part).await?;
    let mut length = if continues(&response, had) { had } else { 0 };
    file.set_len(length).await?;
    tokio::io::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(length)).await?;
    progress.advanced(&spec.name, length);
    let received = receive(&mut response, &mut file, &mut length, spec, progress).await;
    // Also after a failure: what has arrived is kept for the next try.
    file.flush().await?;
    drop(file);
    received?;
    checked(part.to_owned(), spec).await
}

async fn receive(
    response: &mut Response,
    file: &mut File,
    length: &mut u64,
    spec: &FileSpec,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    while let Some(bytes) = response.chunk().await? {
        *length += bytes.len() as u64;
        file.write_all(&bytes).await?;
        if *length > spec.size {
            // `checked` sees the wrong size; reading on could fill the disk.
            return Ok(());
        }
        progress.advanced(&spec.name, bytes.len() as u64);
    }
    Ok(())
}

/// Whether the body goes on at byte `had`.
fn continues(response: &Response, had: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {had}-")))
}

fn client() -> Result<Client, SourceError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(Client::builder().connect_timeout(CONNECT).read_timeout(IDLE).build()?)
}
