//! Qdrant's REST API, for the one thing its gRPC API does not have: snapshots of single shards, streamed to and from files.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use ragstone_core::{Error, ErrorCode, Result};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Certificate, Client, ClientBuilder, Method, Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::config::QdrantConfig;
use super::error::{says_full, tls_trouble};
use super::saved::unusable;

/// The longest one silence may last: a large shard takes a while to be copied or taken in.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The most bytes read of what an answer says.
const MOST_SAID: usize = 64 << 10;
/// The setting that says where this API is.
const SETTING: &str = "retrieval.qdrant.rest_urls";

/// The peers, numbered as those of the gRPC API.
pub(crate) struct Rest(Vec<Peer>);

struct Peer {
    /// Host and port, for messages.
    label: String,
    url: String,
    http: Client,
}

/// A snapshot that lies on a peer's disk.
#[derive(Debug, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    /// SHA-256 of the file, in hexadecimal digits.
    checksum: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answer<T> {
    result: T,
}

#[derive(Debug, Default, Deserialize)]
struct Cluster {
    peer_id: Option<u64>,
}

/// A shard on a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the peer.
    pub(crate) peer: usize,
    /// Qdrant's number of the shard.
    pub(crate) shard: u32,
}

impl Rest {
    /// Prepares the connections.
    ///
    /// # Errors
    /// `InvalidArgument`, with the setting, for what cannot be.
    pub(crate) async fn new(config: &QdrantConfig) -> Result<Self> {
        let mut peers = Vec::new();
        for url in config.rest_addresses()? {
            peers.push(Peer::new(&url, config).await?);
        }
        Ok(Self(peers))
    }

    /// Makes sure that this API belongs to the peer with this number of Qdrant's.
    ///
    /// # Errors
    /// `InvalidArgument`, with the setting to correct; `Unavailable` when it does not answer.
    pub(crate) async fn check(&self, peer: usize, id: u64) -> Result<()> {
        // Without cluster mode a peer does not tell its number.
        if self.check_answers(peer).await?.is_none_or(|found| found == id) {
            return Ok(());
        }
        let label = &self.peer(peer)?.label;
        Err(Error::invalid(format!(
            "Qdrant's REST API at {label} is another peer's than retrieval.qdrant.urls[{peer}]: correct {SETTING}"
        )))
    }

    /// Makes sure that Qdrant's REST API answers there; the peer's number, where it tells it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) async fn check_answers(&self, peer: usize) -> Result<Option<u64>> {
        let api = self.peer(peer)?;
        let response = api.send(Method::GET, "/cluster", |request| request).await?;
        let cluster: Cluster = api.answer(response).await?;
        Ok(cluster.peer_id)
    }

    /// Has a peer make a snapshot of its replica of a shard.
    pub(crate) async fn take(&self, collection: &str, place: Place) -> Result<Snapshot> {
        let api = self.peer(place.peer)?;
        let response = api.send(Method::POST, &path(collection, place, "?wait=true"), |request| request).await?;
        api.answer(response).await
    }

    /// Copies a snapshot into a new file; its length and checksum.
    ///
    /// # Errors
    /// `Unavailable` when it arrives otherwise than Qdrant says.
    pub(crate) async fn fetch(
        &self,
        collection: &str,
        place: Place,
        snapshot: &Snapshot,
        to: &Path,
    ) -> Result<(u64, String)> {
        let api = self.peer(place.peer)?;
        let part = format!("/{}", snapshot.name);
        let mut body = api.send(Method::GET, &path(collection, place, &part), |request| request).await?.bytes_stream();
        let io = |error| unusable(to, error);
        let mut file = File::create(to).await.map_err(io)?;
        let (mut length, mut hasher) = (0, Sha256::new());
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| api.failed(error))?;
            hasher.update(&bytes);
            length += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(io)?;
        }
        file.sync_all().await.map_err(io)?;
        let hash = hex::encode(hasher.finalize());
        if snapshot.checksum.as_ref().is_some_and(|expected| !expected.eq_ignore_ascii_case(&hash)) {
            let (label, name) = (&api.label, &snapshot.name);
            return Err(Error::unavailable(format!("snapshot {name} arrived damaged from Qdrant at {label}")));
        }
        Ok((length, hash))
    }

    /// Removes a snapshot from the peer's disk.
    pub(crate) async fn forget(&self, collection: &str, place: Place, snapshot: &Snapshot) -> Result<()> {
        let api = self.peer(place.peer)?;
        let part = format!("/{}?wait=true", snapshot.name);
        api.send(Method::DELETE, &path(collection, place, &part), |request| request).await.map(drop)
    }

    /// Lets a snapshot take the place of what a peer's replica of a shard holds; the other replicas stay as they are.
    ///
    /// # Errors
    /// Where the peer finds another checksum, among others.
    pub(crate) async fn bring(&self, collection: &str, place: Place, file: &Path, sha256: &str) -> Result<()> {
        let api = self.peer(place.peer)?;
        let io = |error| unusable(file, error);
        let opened = File::open(file).await.map_err(io)?;
        let length = opened.metadata().await.map_err(io)?.len();
        let body = Body::wrap_stream(ReaderStream::with_capacity(opened, 1 << 20));
        let part = Part::stream_with_length(body, length).file_name("shard.snapshot");
        let form = Form::new().part("snapshot", part);
        let query = format!("/upload?wait=true&priority=no_sync&checksum={sha256}");
        let path = path(collection, place, &query);
        api.send(Method::POST, &path, |request| request.multipart(form)).await.map(drop)
    }

    fn peer(&self, peer: usize) -> Result<&Peer> {
        self.0.get(peer).ok_or_else(|| Error::internal("there is no such peer"))
    }
}

fn path(collection: &str, place: Place, rest: &str) -> String {
    format!("/collections/{collection}/shards/{}/snapshots{rest}", place.shard)
}

impl Peer {
    async fn new(url: &str, config: &QdrantConfig) -> Result<Self> {
        let not_a_url = |error| Error::invalid(format!("{SETTING} holds what is not a URL")).with_source(error);
        let mut url = Url::parse(url).map_err(|error| not_a_url(error.to_string()))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let label = format!("{host}:{port}");
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .read_timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .default_headers(credential(config)?);
        if url.scheme() == "https" {
            if let Some(path) = &config.ca_file {
                builder = builder.tls_certs_only(authorities(path)?);
            }
            if let Some(name) = &config.server_name {
                builder = named(builder, name, &label).await?;
                url.set_host(Some(name)).map_err(|error| not_a_url(error.to_string()))?;
            }
        }
        let unusable = |error: reqwest::Error| Error::internal("the HTTP client cannot be built").with_source(error);
        let http = builder.build().map_err(unusable)?;
        Ok(Self { label, url: url.as_str().trim_end_matches('/').to_owned(), http })
    }

    /// Sends a request; the answer, when it is a good one.
    async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Response> {
        let request = with(self.http.request(method, format!("{}{path}", self.url)));
        let response = request.send().await.map_err(|error| self.failed(error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    async fn answer<T: for<'a> Deserialize<'a>>(&self, response: Response) -> Result<T> {
        let said = said(response).await;
        let answer: Answer<T> = serde_json::from_slice(&said).map_err(|error| {
            let label = &self.label;
            Error::invalid(format!("what answers at {label} is not Qdrant's REST API: correct {SETTING}"))
                .with_source(error)
        })?;
        Ok(answer.result)
    }

    async fn refused(&self, response: Response) -> Error {
        let (status, label) = (response.status(), &self.label);
        let said = String::from_utf8_lossy(&said(response).await).into_owned();
        let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let reason = json["status"]["error"].as_str().unwrap_or("no reason given").to_owned();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let message = format!("Qdrant at {label} refuses the API key: correct retrieval.qdrant.api_key");
            return Error::invalid(message);
        }
        if says_full(&said) || status == StatusCode::INSUFFICIENT_STORAGE {
            return Error::new(ErrorCode::StorageFull, format!("the disk of Qdrant at {label} is full"));
        }
        if !json["status"].is_object() {
            let message = format!("what answers at {label} ({status}) is not Qdrant's REST API: correct {SETTING}");
            return Error::invalid(message);
        }
        let code = if status.is_server_error() { ErrorCode::Unavailable } else { ErrorCode::Internal };
        Error::new(code, format!("Qdrant at {label} refused a snapshot: {reason}"))
    }

    fn failed(&self, error: reqwest::Error) -> Error {
        let (label, error) = (&self.label, error.without_url());
        if let Some(said) = tls_trouble(label, SETTING, Some(&error)) {
            return Error::invalid(said).with_source(error);
        }
        let message = if error.is_connect() || error.is_request() {
            format!("Qdrant's REST API at {label} cannot be reached: correct {SETTING} where that is not its address")
        } else {
            format!("Qdrant's REST API at {label} broke off")
        };
        Error::unavailable(message).with_source(error)
    }
}

fn credential(config: &QdrantConfig) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if !config.api_key.expose().is_empty() {
        let wrong = |_| Error::invalid("api_key may hold visible ASCII characters only");
        let mut value = HeaderValue::from_str(config.api_key.expose()).map_err(wrong)?;
        value.set_sensitive(true);
        headers.insert("api-key", value);
    }
    Ok(headers)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let wrong = |why: &str| Error::invalid(format!("retrieval.qdrant.ca_file: {} {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong("cannot be read").with_source(error))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| wrong("holds no PEM certificate").with_source(error))
}

/// Calls the peer at `label` by the name in its certificate.
async fn named(builder: ClientBuilder, name: &str, label: &str) -> Result<ClientBuilder> {
    let unknown = |error| Error::unavailable(format!("the host of {label} is not known")).with_source(error);
    let addresses: Vec<_> = tokio::net::lookup_host(label).await.map_err(unknown)?.collect();
    Ok(builder.resolve_to_addrs(name, &addresses))
}

/// The beginning of what an answer says; less where it breaks off.
async fn said(response: Response) -> Vec<u8> {
    let (mut said, mut body) = (Vec::new(), response.bytes_stream());
    while let Some(Ok(part)) = body.next().await {
        said.extend_from_slice(&part);
        if said.len() >= MOST_SAID {
            break;
        }
    }
    said
}
