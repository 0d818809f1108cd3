//! Snapshots of collections: a directory with a copy of each shard.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use ::qdrant_client::qdrant::snapshots_server::Snapshots;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::errors::{not_found, service, unsupported};
use super::server::Peer;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Snapshots for Peer {
    async fn create(&self, request: Request<CreateSnapshotRequest>) -> Answer<CreateSnapshotResponse> {
        let start = Instant::now();
        let collection = self.state.collection(&request.get_ref().collection_name).await?;
        let name = format!("{}-{}.snapshot", collection.name, self.state.next_number());
        let directory = self.state.snapshots(&collection.name).join(&name);
        fs::create_dir_all(&directory).map_err(service)?;
        for shard in collection.shards() {
            shard.copy_to(directory.join(shard.id.to_string())).await?;
        }
        let snapshot_description = Some(describe(&directory, name)?);
        Ok(Response::new(CreateSnapshotResponse { snapshot_description, time: start.elapsed().as_secs_f64() }))
    }

    async fn list(&self, request: Request<ListSnapshotsRequest>) -> Answer<ListSnapshotsResponse> {
        let start = Instant::now();
        let collection = self.state.collection(&request.get_ref().collection_name).await?;
        let directory = self.state.snapshots(&collection.name);
        let mut snapshot_descriptions = Vec::new();
        if directory.exists() {
            for entry in fs::read_dir(&directory).map_err(service)? {
                let entry = entry.map_err(service)?;
                snapshot_descriptions.push(describe(&entry.path(), entry.file_name().to_string_lossy().into_owned())?);
            }
        }
        Ok(Response::new(ListSnapshotsResponse { snapshot_descriptions, time: start.elapsed().as_secs_f64() }))
    }

    async fn delete(&self, request: Request<DeleteSnapshotRequest>) -> Answer<DeleteSnapshotResponse> {
        let start = Instant::now();
        let request = request.into_inner();
        let collection = self.state.collection(&request.collection_name).await?;
        let name = &request.snapshot_name;
        let directory = self.state.snapshots(&collection.name).join(name);
        let is_plain_name = Path::new(name).file_name().is_some_and(|file| file == name.as_str());
        if !is_plain_name || !directory.exists() {
            return Err(not_found(format!("Snapshot {name} not found")));
        }
        fs::remove_dir_all(&directory).map_err(service)?;
        Ok(Response::new(DeleteSnapshotResponse { time: start.elapsed().as_secs_f64() }))
    }

    async fn create_full(&self, _: Request<CreateFullSnapshotRequest>) -> Answer<CreateSnapshotResponse> {
        Err(unsupported("Snapshots/CreateFull"))
    }

    async fn list_full(&self, _: Request<ListFullSnapshotsRequest>) -> Answer<ListSnapshotsResponse> {
        Err(unsupported("Snapshots/ListFull"))
    }

    async fn delete_full(&self, _: Request<DeleteFullSnapshotRequest>) -> Answer<DeleteSnapshotResponse> {
        Err(unsupported("Snapshots/DeleteFull"))
    }
}

fn describe(directory: &Path, name: String) -> Result<SnapshotDescription, Status> {
    let created = fs::metadata(directory).and_then(|metadata| metadata.modified()).map_err(service)?;
    let created = created.duration_since(SystemTime::UNIX_EPOCH).map_err(service)?;
    let seconds = i64::try_from(created.as_secs()).map_err(service)?;
    Ok(SnapshotDescription {
        name,
        creation_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        size: i64::try_from(size(directory).map_err(service)?).map_err(service)?,
        checksum: None,
    })
}

fn size(directory: &Path) -> std::io::Result<u64> {
    fs::read_dir(directory)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        Ok(sum + if metadata.is_dir() { size(&entry.path())? } else { metadata.len() })
    })
}
