//! The part of Qdrant's REST API that takes snapshots of shards, serves them and brings them in.

use std::io;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::{Code, Status};

use super::archive;
use super::errors::{bad_input, bad_request, not_found, service, unsupported};
use super::replica::Engine;
use super::server::Peer;
use super::shard::Shard;
use super::state::PemPair;

/// Serves on `listener` for as long as the runtime lives.
pub(super) async fn serve(peer: Peer, listener: TcpListener) -> Result<()> {
    let tls = peer.state.config.tls.as_ref().map(acceptor).transpose()?;
    let router = router(peer);
    match tls {
        None => axum::serve(listener, router).await?,
        Some(acceptor) => axum::serve(Tls { listener, acceptor }, router).await?,
    }
    Ok(())
}

fn router(peer: Peer) -> Router {
    const SNAPSHOTS: &str = "/collections/{collection}/shards/{shard}/snapshots";
    Router::new()
        .route("/cluster", get(cluster))
        .route(SNAPSHOTS, post(create).get(list))
        .route(&format!("{SNAPSHOTS}/upload"), post(upload))
        .route(&format!("{SNAPSHOTS}/{{snapshot}}"), get(download).delete(remove))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(peer.clone(), admit))
        .with_state(peer)
}

/// Is as late as told, and checks the key.
async fn admit(State(peer): State<Peer>, request: Request, next: Next) -> Response {
    peer.state.faults(peer.index).reach().await;
    match refusal(peer.state.config.api_key.as_deref(), request.headers()) {
        Some(text) => (StatusCode::UNAUTHORIZED, text).into_response(),
        None => next.run(request).await,
    }
}

fn refusal(expected: Option<&str>, headers: &HeaderMap) -> Option<&'static str> {
    let given = headers.get("api-key").and_then(|value| value.to_str().ok());
    match (expected?, given) {
        (expected, Some(given)) if given == expected => None,
        (_, Some(_)) => Some("Invalid API key or JWT"),
        (_, None) => Some("Must provide an API key or an Authorization bearer token"),
    }
}

/// An error as this API says it.
struct Failed(Status);

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({"time": 0.0, "status": {"error": self.0.message()}, "result": null}))).into_response()
    }
}

type Answer<T> = Result<T, Failed>;

fn done(result: Value) -> Json<Value> {
    Json(json!({"time": 0.0, "status": "ok", "result": result}))
}

async fn cluster(State(peer): State<Peer>) -> Json<Value> {
    if !peer.state.config.distributed {
        return done(json!({"status": "disabled"}));
    }
    done(json!({"status": "enabled", "peer_id": peer.state.peer_id(peer.index)}))
}

impl Peer {
    /// A shard of which this peer has a replica, and where that one's snapshots lie.
    async fn local_shard(&self, collection: &str, id: u32) -> Answer<(Arc<Shard>, PathBuf)> {
        let collection = self.state.collection(collection).await?;
        let shard = collection.shards().into_iter().find(|shard| shard.id == id);
        let here = |shard: &Arc<Shard>| shard.replicas().iter().any(|replica| replica.peer == self.index);
        let shard = shard.filter(here).ok_or_else(|| not_found(format!("Shard {id} not found")))?;
        let directory = self.state.snapshots(&collection.name).join(format!("{}-{id}", self.index));
        Ok((shard, directory))
    }

    async fn snapshot(&self, path: &(String, u32, String)) -> Answer<PathBuf> {
        let (_, directory) = self.local_shard(&path.0, path.1).await?;
        let name = path.2.as_str();
        let plain = FilePath::new(name).file_name().is_some_and(|file| file == name);
        let file = directory.join(name);
        if plain && file.exists() { Ok(file) } else { Err(not_found(format!("Snapshot {name} not found")).into()) }
    }
}

async fn create(State(peer): State<Peer>, Path((collection, id)): Path<(String, u32)>) -> Answer<Json<Value>> {
    let (shard, directory) = peer.local_shard(&collection, id).await?;
    let copy = peer.state.new_directory();
    shard.copy_replica_to(peer.index, copy.clone()).await?;
    let name = format!("{collection}-shard-{id}-{}.snapshot", peer.state.next_number());
    let file = directory.join(&name);
    let packing = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&directory)?;
        archive::pack(&copy, &file)?;
        std::fs::remove_dir_all(&copy)?;
        std::fs::read(&file)
    });
    let bytes = packing.await.map_err(service)?.map_err(service)?;
    let checksum = hex::encode(Sha256::digest(&bytes));
    Ok(done(json!({"name": name, "creation_time": null, "size": bytes.len(), "checksum": checksum})))
}

async fn list(State(peer): State<Peer>, Path((collection, id)): Path<(String, u32)>) -> Answer<Json<Value>> {
    let (_, directory) = peer.local_shard(&collection, id).await?;
    let mut found = Vec::new();
    if directory.exists() {
        for entry in std::fs::read_dir(&directory).map_err(service)? {
            found.push(json!({"name": entry.map_err(service)?.file_name().to_string_lossy()}));
        }
    }
    Ok(done(Value::Array(found)))
}

async fn download(State(peer): State<Peer>, Path(path): Path<(String, u32, String)>) -> Answer<Vec<u8>> {
    let mut bytes = tokio::fs::read(peer.snapshot(&path).await?).await.map_err(service)?;
    if peer.state.faults(peer.index).damages_snapshots()
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 1;
    }
    Ok(bytes)
}

async fn remove(State(peer): State<Peer>, Path(path): Path<(String, u32, String)>) -> Answer<Json<Value>> {
    tokio::fs::remove_file(peer.snapshot(&path).await?).await.map_err(service)?;
    Ok(done(json!(true)))
}

#[derive(Deserialize)]
struct Upload {
    #[serde(default)]
    priority: String,
    checksum: Option<String>,
}

async fn upload(
    State(peer): State<Peer>,
    Path((collection, id)): Path<(String, u32)>,
    Query(query): Query<Upload>,
    form: Multipart,
) -> Answer<Json<Value>> {
    let file = peer.state.new_directory().with_extension("upload");
    let hash = receive(form, &file).await?;
    if query.checksum.is_some_and(|expected| expected != hash) {
        return Err(bad_input("Snapshot checksum mismatch").into());
    }
    let (shard, _) = peer.local_shard(&collection, id).await?;
    let path = peer.state.new_directory();
    let opening = tokio::task::spawn_blocking(move || {
        archive::unpack(&file, &path).map_err(|error| bad_request(format!("Invalid snapshot: {error}")))?;
        std::fs::remove_file(&file).map_err(service)?;
        Engine::open(path)
    });
    let engine = Arc::new(opening.await.map_err(service)??);
    match query.priority.as_str() {
        "" | "no_sync" => shard.replace(peer.index, engine).await,
        other => return Err(unsupported(format!("snapshots with priority '{other}'")).into()),
    }
    Ok(done(json!(true)))
}

/// Writes the field `snapshot` into a file; its checksum.
async fn receive(mut form: Multipart, to: &FilePath) -> Answer<String> {
    while let Some(mut field) = form.next_field().await.map_err(bad_request)? {
        if field.name() != Some("snapshot") {
            continue;
        }
        let (mut file, mut hasher) = (tokio::fs::File::create(to).await.map_err(service)?, Sha256::new());
        while let Some(bytes) = field.chunk().await.map_err(bad_request)? {
            hasher.update(&bytes);
            file.write_all(&bytes).await.map_err(service)?;
        }
        file.flush().await.map_err(service)?;
        return Ok(hex::encode(hasher.finalize()));
    }
    Err(bad_request("Field 'snapshot' is missing").into())
}

fn acceptor(pem: &PemPair) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).context("private key")?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain?, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections under TLS; one whose handshake fails is passed over.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
