//! Moving documents to other shards, killed at any point.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ragstone_core::ports::VectorStore;
use ragstone_core::{ErrorCode, SearchMode, place};
use ragstone_vector::EdgeStore;

use crate::contract::{document, hits, point, put, query, tenant};
use crate::embedded::{index_directory, open};

const CHILD_DIRECTORY: &str = "RAGSTONE_TEST_MOVING_DIRECTORY";
const DOCUMENTS: u64 = 12;
const CHUNKS: u32 = 2;

fn shards(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("s{n}")).collect()
}

/// The shards there are after the ones there are now.
async fn next(store: &EdgeStore) -> Vec<String> {
    let topology = store.topology().await.unwrap();
    topology.moving_to.unwrap_or_else(|| shards(if topology.shards.len() == 2 { 3 } else { 2 }))
}

async fn put_whole(store: &EdgeStore, name: &str, version: u64) {
    put(store, (0..CHUNKS).map(|chunk| point("t", name, version, chunk, "apple")).collect()).await;
}

async fn move_all(store: &EdgeStore) {
    let target = next(store).await;
    store.begin_reshard(&target).await.unwrap();
    for n in 0..DOCUMENTS {
        store.move_document(&tenant("t"), &document(&format!("d{n}"))).await.unwrap();
    }
    store.finish_reshard().await.unwrap();
}

/// Runs in the child process: moves documents to and fro for ever, and replaces some between.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn child_moves_until_killed() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
        return;
    };
    let store = open(Path::new(&directory)).await;
    let mut version = store.all_points().await.unwrap().iter().map(|point| point.version).max().unwrap();
    loop {
        let target = next(&store).await;
        // One that is written before it has to leave, and flushed afterwards.
        let now = store.topology().await.unwrap().shards;
        let leaves = |name: &String| place(&now, "t", name) != place(&target, "t", name);
        let name = (0..DOCUMENTS).map(|n| format!("d{n}")).find(leaves).unwrap();
        version += 1;
        put_whole(&store, &name, version).await;
        store.begin_reshard(&target).await.unwrap();
        store.flush(&tenant("t"), &document(&name)).await.unwrap();
        println!("flushed {name} {version}");
        for n in 0..DOCUMENTS {
            let name = format!("d{n}");
            if n % 3 == 0 {
                version += 1;
                put_whole(&store, &name, version).await;
                store.flush(&tenant("t"), &document(&name)).await.unwrap();
                println!("flushed {name} {version}");
            }
            store.move_document(&tenant("t"), &document(&name)).await.unwrap();
            println!("flushed -");
        }
        store.finish_reshard().await.unwrap();
    }
}

/// Lets the child say `lines` things and kills it. The highest flushed version of each document.
fn run_and_kill(test: &str, directory: &Path, lines: usize) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD_DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (mut flushed, mut told) = (BTreeMap::new(), 0);
    for line in output.lines() {
        let line = line.unwrap();
        let Some((_, rest)) = line.split_once("flushed ") else {
            continue;
        };
        if let Some((name, version)) = rest.split_once(' ') {
            flushed.insert(name.to_owned(), version.parse().unwrap());
        }
        told += 1;
        if told == lines {
            // SIGKILL on Unix; the lines already in the pipe are read to the end.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told >= lines, "the child ended early");
    flushed
}

async fn every_document_is_whole_and_alone(store: &EdgeStore, flushed: &BTreeMap<String, u64>) {
    assert!(store.unhealthy_shards().await.is_empty());
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword] {
        let found = hits(store, query("t", "apple", mode, 200)).await;
        let mut documents: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
        for (name, version, chunk) in found {
            documents.entry(name).or_default().push((version, chunk));
        }
        assert_eq!(documents.len() as u64, DOCUMENTS, "{mode:?}");
        for (name, chunks) in &mut documents {
            chunks.sort_unstable();
            assert_eq!(*chunks, [(chunks[0].0, 0), (chunks[0].0, 1)], "{name}, {mode:?}");
            assert!(flushed.get(name).is_none_or(|version| chunks[0].0 >= *version), "{name}: {chunks:?}");
        }
    }
    assert_eq!(store.live_documents().await.unwrap(), DOCUMENTS);
    // Searches hide an older version behind a newer one; but it must not be there.
    let mut live = BTreeMap::new();
    for point in store.all_points().await.unwrap().into_iter().filter(|point| point.live) {
        let version = *live.entry(point.document_id.clone()).or_insert(point.version);
        assert_eq!(point.version, version, "{} is live in two versions", point.document_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_survives_kill_9_at_any_point() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..DOCUMENTS {
        put_whole(&store, &format!("d{n}"), 1).await;
    }
    store.close().await.unwrap();
    drop(store);
    let mut flushed = BTreeMap::new();
    // Different numbers of lines: the kill lands at different steps.
    for lines in [1, 4, 9, 15, 22, 36, 57] {
        flushed.append(&mut run_and_kill("moves::child_moves_until_killed", directory.path(), lines));
        let store = open(directory.path()).await;
        every_document_is_whole_and_alone(&store, &flushed).await;
        if lines % 2 == 1 {
            move_all(&store).await;
            every_document_is_whole_and_alone(&store, &flushed).await;
            // Of two equal copies one was removed.
            let live = store.all_points().await.unwrap().into_iter().filter(|point| point.live).count();
            assert_eq!(live as u64, DOCUMENTS * u64::from(CHUNKS));
        }
        drop(store);
    }
}

/// Runs in the child process: moves everything, removes it, and waits to be killed.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn child_removes_what_it_moved() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
        return;
    };
    let store = open(Path::new(&directory)).await;
    move_all(&store).await;
    for n in 0..DOCUMENTS {
        let name = document(&format!("d{n}"));
        store.remove_versions(&tenant("t"), &name, 2).await.unwrap();
        store.flush(&tenant("t"), &name).await.unwrap();
    }
    loop {
        println!("flushed -");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_of_a_moved_document_comes_back_after_its_removal() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..DOCUMENTS {
        put_whole(&store, &format!("d{n}"), 1).await;
    }
    store.close().await.unwrap();
    drop(store);
    run_and_kill("moves::child_removes_what_it_moved", directory.path(), 1);
    let store = open(directory.path()).await;
    assert_eq!(store.topology().await.unwrap().shards, shards(3));
    assert_eq!(store.all_points().await.unwrap(), []);
}

#[tokio::test]
async fn shards_that_are_no_longer_used_leave_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..DOCUMENTS {
        put(&*store, vec![point("t", &format!("d{n}"), 1, 0, "apple")]).await;
    }
    let index = index_directory(directory.path());
    move_all(&store).await;
    assert!(index.join("s2").exists());
    move_all(&store).await;
    assert!(!index.join("s2").exists());
    // All of them can be replaced by others.
    let others = ["a".to_owned(), "b-1".to_owned()];
    store.begin_reshard(&others).await.unwrap();
    assert_eq!(store.finish_reshard().await.unwrap_err().code, ErrorCode::Conflict);
    for n in 0..DOCUMENTS {
        assert!(store.move_document(&tenant("t"), &document(&format!("d{n}"))).await.unwrap());
    }
    store.finish_reshard().await.unwrap();
    assert!(!index.join("s0").exists() && !index.join("s1").exists());
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 50)).await.len() as u64, DOCUMENTS);
    // What a crash left between the manifest and the directories goes at the next start.
    store.close().await.unwrap();
    drop(store);
    let manifest = index.join("manifest.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    value["retired"] = serde_json::json!(["s0"]);
    std::fs::write(&manifest, value.to_string()).unwrap();
    std::fs::create_dir_all(index.join("s0/segments")).unwrap();
    let store = open(directory.path()).await;
    assert!(!index.join("s0").exists());
    assert_eq!(hits(&*store, query("t", "apple", SearchMode::Hybrid, 50)).await.len() as u64, DOCUMENTS);
}

#[tokio::test]
async fn chunks_staged_before_documents_move_are_not_lost_and_leftovers_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..DOCUMENTS {
        let name = format!("d{n}");
        put(&*store, vec![point("t", &name, 1, 0, "apple")]).await;
        put(&*store, vec![point("t", &name, 2, 0, "apple")]).await;
        store.upsert_staged(vec![point("t", &name, 3, 0, "apple")]).await.unwrap();
        store.upsert_staged(vec![point("t", &format!("staged{n}"), 1, 0, "apple")]).await.unwrap();
    }
    store.begin_reshard(&shards(3)).await.unwrap();
    for n in 0..DOCUMENTS {
        store.publish(&tenant("t"), &document(&format!("d{n}")), 3, 1).await.unwrap();
    }
    // These were never published: nobody asks for them to be moved.
    store.finish_reshard().await.unwrap();
    let found = hits(&*store, query("t", "apple", SearchMode::Hybrid, 50)).await;
    assert_eq!(found.len() as u64, DOCUMENTS);
    assert!(found.iter().all(|hit| hit.1 == 3), "{found:?}");
    for n in 0..DOCUMENTS {
        store.remove_versions(&tenant("t"), &document(&format!("d{n}")), 4).await.unwrap();
    }
    let left = store.all_points().await.unwrap();
    let staged: Vec<String> = (0..DOCUMENTS).map(|n| format!("staged{n}")).collect();
    assert!(left.len() < staged.len(), "{left:?}");
    let topology = store.topology().await.unwrap();
    for name in staged {
        let stays = topology.place("t", &name) == place(&shards(2), "t", &name);
        assert_eq!(left.iter().any(|point| point.document_id == name), stays, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_counted_once_while_they_move() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for n in 0..DOCUMENTS {
        put_whole(&store, &format!("d{n}"), 1).await;
    }
    let counting = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for _ in 0..100 {
                assert_eq!(store.live_documents().await.unwrap(), DOCUMENTS);
            }
        }
    });
    while !counting.is_finished() {
        move_all(&store).await;
    }
    counting.await.unwrap();
}
